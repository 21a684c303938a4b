"""The watcher: asks the databases of one server who they are, who subscribes, and whether those that rest have work."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import mysql.connector

from outboxd.daemon.database import Database
from outboxd.mysql.procedures import DaemonProcedures, RelayProcedures
from outboxd.observe.health import Pulse
from outboxd.observe.scope import working_for
from outboxd.retry import Trouble, Unavailable
from outboxd.schema.compatibility import SchemaError, check_schema

_INBOX_SECONDS = 5
_RESTING_INBOX_SECONDS = 20
_DUE_SECONDS = 4
_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(slots=True)
class _Watched:
    """A database, and when it is asked what."""

    database: Database
    calls: DaemonProcedures
    looks: RelayProcedures
    ask_at: float = 0.0
    inbox_at: float = 0.0
    due_at: float = 0.0
    pause: float = _SHORTEST_PAUSE_SECONDS
    trouble: Trouble | None = None


class Watcher:
    """Watches databases of one server and account, on a connection, and another where some rest.

    relays, consumers: whether the daemon has them. What it tells of an inbox is 5 seconds old at most, 20 of one whose
    database rests; a message of such a database is seen within 4.
    """

    def __init__(
        self, relays: bool, consumers: bool, databases: Sequence[Database], stop: threading.Event, pulse: Pulse
    ) -> None:
        self._connection = DaemonProcedures.to_server(databases[0].settings)
        # One of its own for the looks: a session keeps 256 routines (stored_program_cache), and parses others anew.
        self._looking = RelayProcedures.to_server(databases[0].settings)
        self._watched = [
            _Watched(
                database,
                DaemonProcedures(database.settings, on=self._connection),
                RelayProcedures(database.settings, on=self._looking),
            )
            for database in databases
        ]
        self._relays = relays
        self._consumers = consumers
        self._stop = stop
        self._pulse = pulse

    def run(self) -> None:
        """Watch until stop is set."""
        with self._connection, self._looking:
            while not self._stop.is_set():
                self._pulse.beat(idle_seconds=_LONGEST_PAUSE_SECONDS)
                for one in self._watched:
                    if self._stop.is_set():
                        return
                    if one.database.failure is None and (one.database.has_news or time.monotonic() >= one.ask_at):
                        with working_for(one.database.name):
                            self._ask(one)
                soonest = min(one.ask_at for one in self._watched)
                self._stop.wait(min(max(soonest - time.monotonic(), 0.02), _DUE_SECONDS / 2))

    def _ask(self, one: _Watched) -> None:
        try:
            self._look(one)
        except Unavailable as error:
            one.database.answers(is_away=True)
            one.trouble = one.trouble or Trouble()
            one.trouble.tell(error)
            one.ask_at = time.monotonic() + one.pause + random.uniform(0, _SHORTEST_PAUSE_SECONDS)
            one.pause = min(2 * one.pause, _LONGEST_PAUSE_SECONDS)
            return
        except (mysql.connector.Error, SchemaError) as error:
            one.database.fail(self._pulse.worker, error)
            return
        if one.trouble is not None:
            one.trouble.is_over()
            one.trouble, one.pause = None, _SHORTEST_PAUSE_SECONDS
        one.database.answers(is_away=False)

    def _look(self, one: _Watched) -> None:
        """Ask what it is time for, and find out when that is again."""
        database, now = one.database, time.monotonic()
        if not database.is_known:
            check_schema(one.calls, database.settings.database)
            database.identify(database.given.identified(*astuple(one.calls.identity())))
        is_old = now >= one.inbox_at or database.inbox is None or database.has_news
        if self._consumers and database.given.receives and is_old:
            database.has_news = False
            database.inbox = one.calls.inbox()
            one.inbox_at = now + (_RESTING_INBOX_SECONDS if database.is_resting else _INBOX_SECONDS)
        if self._relays and database.is_resting and now >= one.due_at:
            one.due_at = now + _DUE_SECONDS
            if one.looks.is_due():
                database.wake()
        one.ask_at = min(
            one.inbox_at if self._consumers and database.given.receives else now + _INBOX_SECONDS,
            max(one.due_at, now + 1.0) if database.given.rest_seconds else now + _INBOX_SECONDS,
        )
