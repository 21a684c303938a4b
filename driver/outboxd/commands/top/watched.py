"""A database that `outboxd top` watches: what it saw last and before, and whether MySQL answers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mysql.connector

from outboxd.commands.top.sample import Sample, look
from outboxd.mysql.procedures import MonitorProcedures
from outboxd.retry import Unavailable
from outboxd.settings import Settings


class Watched:
    """One database, on a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.label
        self.sample: Sample | None = None
        self.before: Sample | None = None
        self.away = ""
        """Since when it does not answer, and why; empty: it does."""
        self.took_seconds = 0.0
        self._database = MonitorProcedures(settings)

    @contextmanager
    def connected(self) -> Iterator["Watched"]:
        """Close the connection at the end."""
        with self._database:
            yield self

    def look(self) -> None:
        """Look once. Raises Unavailable, and errors of MySQL."""
        began = time.monotonic()
        now = look(self._database)
        self.before, self.sample, self.away = self.sample, now, ""
        self.took_seconds = time.monotonic() - began

    def try_to_look(self, *, is_one_of_several: bool) -> None:
        """Look once; Unavailable is kept. Of several databases, any error of MySQL is."""
        began = time.strftime("%H:%M:%S")
        try:
            self.look()
        except Unavailable as error:
            self._keep(f"away since {began}", error)
        except mysql.connector.Error as error:
            if not is_one_of_several:
                raise
            self._keep(f"not readable since {began}", error)

    def _keep(self, since: str, error: Exception) -> None:
        self.away = f"{self.away.partition(':  ')[0] or since}:  {error}"
        self.took_seconds = 0.0

    def to_json(self) -> dict[str, Any]:
        """What it saw last."""
        return {"database": self.name, **(self.sample.to_json() if self.sample else {"error": self.away})}
