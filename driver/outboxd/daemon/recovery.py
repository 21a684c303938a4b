"""The recovery: sends messages again that were published and that nobody has consumed for too long."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import mysql.connector
import structlog

from outboxd.daemon.database import Database
from outboxd.mysql.procedures import RelayProcedures
from outboxd.observe import metrics
from outboxd.observe.health import Pulse
from outboxd.observe.scope import working_for
from outboxd.retry import Trouble, Unavailable

log = structlog.get_logger()
_AGAIN_SECONDS = 5.0


@dataclass(slots=True)
class _Served:
    """A database, and when it has its turn."""

    database: Database
    calls: RelayProcedures
    at: float
    trouble: Trouble | None = None

    @property
    def pause_seconds(self) -> float:
        """Between two turns."""
        return self.database.given.stale_seconds / 10


class Recovery:
    """Calls outbox_recover_published_v1 ten times in stale_seconds, for the databases of one server.

    Every daemon with a relay does so: what one has recovered, the next one finds pending.
    """

    def __init__(self, databases: Sequence[Database], stop: threading.Event, pulse: Pulse) -> None:
        self._connection = RelayProcedures.to_server(databases[0].given)
        now = time.monotonic()
        calls = [RelayProcedures(database.given, on=self._connection) for database in databases]
        # Spread, so that a hundred databases do not come all at once.
        self._served = [
            _Served(database, own, now + database.given.stale_seconds / 10 * (1 + place / len(databases)))
            for place, (database, own) in enumerate(zip(databases, calls, strict=True))
        ]
        self._stop = stop
        self._pulse = pulse

    def run(self) -> None:
        """Recover until stop is set."""
        with self._connection:
            while True:
                soonest = min(self._served, key=lambda one: one.at)
                pause = max(0.0, soonest.at - time.monotonic())
                self._pulse.beat(idle_seconds=pause)
                if self._stop.wait(pause):
                    return
                self._pulse.beat()
                soonest.at = time.monotonic() + soonest.pause_seconds
                if soonest.database.is_known and soonest.database.failure is None:
                    with working_for(soonest.database.name):
                        self._recover(soonest)

    def _recover(self, one: _Served) -> None:
        settings = one.database.given
        try:
            recovered = one.calls.recover_published(settings.stale_seconds, settings.batch_size)
        except Unavailable as error:
            one.trouble = one.trouble or Trouble()
            one.trouble.tell(error)
            one.at = time.monotonic() + _AGAIN_SECONDS
            self._pulse.is_held_up(str(error))
            return
        except mysql.connector.Error as error:
            one.database.fail(self._pulse.worker, error)
            return
        if one.trouble is not None:
            one.trouble.is_over()
            one.trouble = None
        self._pulse.moves()
        metrics.recovered.inc(recovered)
        if recovered:
            log.warning("recovered", messages=recovered, published_before_seconds=settings.stale_seconds)
