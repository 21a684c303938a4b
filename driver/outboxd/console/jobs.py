"""What a person has begun: many messages are changed in parts, in a thread, and its page shows how far it is."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import mysql.connector

from outboxd.mysql import roles
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.retry import Unavailable

_MOST_KEPT = 50
_MOST_RUNNING = 4
JOB = "job"
"""The name of the threads that work."""


class TooMany(Exception):
    """There are as many jobs under way as a session may have."""


class Job:
    """One steering action under way, or what became of it."""

    def __init__(self, title: str, total: int, done_word: str, back: str) -> None:
        """total: how many messages are to be changed; done_word: what they are then; back: where it was begun."""
        self.title = title
        self.total = total
        self.done_word = done_word
        self.back = back
        self.done = 0
        self.remarks: list[str] = []
        self.error = ""
        self.refusal: roles.Refusal | None = None
        self.is_over = threading.Event()
        self.is_stopped = threading.Event()

    @property
    def is_whole(self) -> bool:
        """Whether it has changed all that it was to change."""
        return not self.error and self.done >= self.total


class Jobs:
    """The jobs of one session; the latest ones are kept when they are over."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str) -> Job | None:
        """The job of this name."""
        return self._jobs.get(name)

    def stop(self) -> None:
        """Stop all behind the parts that are under way."""
        with self._lock:
            for job in self._jobs.values():
                job.is_stopped.set()

    def start(self, job: Job, database: OperatorProcedures, work: Callable[[Job, OperatorProcedures], None]) -> str:
        """Work in a thread, on a connection that is closed at the end; returns the job's name.

        Raises TooMany where others of the session are still under way.
        """
        name = secrets.token_urlsafe(9)
        with self._lock:
            if sum(not other.is_over.is_set() for other in self._jobs.values()) >= _MOST_RUNNING:
                raise TooMany
            self._jobs[name] = job
            for old in [other for other, kept in self._jobs.items() if kept.is_over.is_set()][:-_MOST_KEPT]:
                del self._jobs[old]
        threading.Thread(target=_run, args=(job, database, work), name=JOB, daemon=True).start()
        return name


def _run(job: Job, database: OperatorProcedures, work: Callable[[Job, OperatorProcedures], None]) -> None:
    try:
        with database:
            work(job, database)
    except Unavailable as error:
        job.error = f"cut off: {error}"
    except mysql.connector.Error as error:
        job.refusal = roles.refusal(error)
        job.error = job.refusal.in_words if job.refusal else error.msg or str(error)
    except Exception as error:
        job.error = f"cut off by a fault of the console: {error!r}"
        raise
    finally:
        with suppress(Exception):
            database.close()
        job.is_over.set()
