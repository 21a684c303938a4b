"""A database of the daemon: its settings, who it is, what is known of its inbox, whether it works, whether it rests."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from outboxd.messages import Inbox
from outboxd.observe import metrics
from outboxd.observe.scope import working_for
from outboxd.settings import Settings

log = structlog.get_logger()
_NO_INBOX = Inbox(0, frozenset())


class Failure(NamedTuple):
    """Why a database is not served: what failed for good, and when (time.monotonic)."""

    worker: str
    error: Exception
    at: float


class Database:
    """One database, for all threads that work on it."""

    def __init__(self, settings: Settings, relays: Sequence[str], changed: threading.Event, *, is_named: bool) -> None:
        """`relays` are the names of its relays here, and is_named says that it is one of several, or could be.

        `changed` is set whenever the supervisor should look.
        """
        self.name = settings.label
        self.relays = relays
        self.is_named = is_named
        self.given = settings
        """Its settings as the configuration has them."""
        self.settings = settings
        """The same, once it is known with its source and group."""
        self.inbox: Inbox | None = None if settings.receives else _NO_INBOX
        """None: not looked at yet."""
        self.has_news = False
        """Whether the inbox should be looked at again, now."""
        self.is_known = False
        """Whether it has the right schema, and has said who it is."""
        self.is_tried = False
        """Whether it has answered, or it is clear that it does not."""
        self.is_away = False
        """Whether it did not answer when it was asked last."""
        self.failure: Failure | None = None
        self.stop = threading.Event()
        """Set when its relays must end: it is given up, or has failed."""
        self._changed = changed
        self._working = threading.Condition()
        self._resting: set[str] = set()

    @property
    def is_resting(self) -> bool:
        """Whether a relay waits until there is something to do."""
        return bool(self._resting)

    @property
    def is_served(self) -> bool:
        """Whether it answers, and its schema is one that this daemon knows."""
        return self.is_known and self.failure is None and not self.is_away

    def identify(self, settings: Settings) -> None:
        """It fits, and has said who it is."""
        self.settings = settings
        self.is_known = self.is_tried = True
        self._changed.set()

    def answers(self, *, is_away: bool) -> None:
        """Whether it did, when it was asked."""
        self.is_away = is_away
        if not self.is_tried:
            self.is_tried = True
            self._changed.set()

    def fail(self, worker: str, error: Exception) -> None:
        """It cannot be worked with for now, and trying at once helps nobody: its relays end."""
        if self.failure is None:
            self.failure = Failure(worker, error, time.monotonic())
            self.is_tried = True
            self.stop.set()
            self._changed.set()
            self.wake()

    def begin_again(self) -> None:
        """Try once more after a failure, from the beginning."""
        self.stop = threading.Event()
        self.is_known, self.failure = False, None

    def give_up(self) -> None:
        """Let its relays end."""
        self.stop.set()
        self.wake()

    def rest(self, relay: str) -> None:
        """Let a relay wait until there is something to do, or it must end."""
        with self._working:
            self._resting.add(relay)
            self._show_rest()
            log.debug("rests", relay=relay)
            self._working.wait_for(lambda: self.stop.is_set() or relay not in self._resting)
            self._resting.discard(relay)
            self._show_rest()

    def wake(self) -> None:
        """There is something to do."""
        with self._working:
            self._resting.clear()
            self._working.notify_all()

    def _show_rest(self) -> None:
        with working_for(self.name):
            metrics.resting.labels().set(bool(self._resting))
