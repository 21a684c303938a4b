"""The recovery: sends messages again that were published and that nobody has consumed for too long."""

import threading

import structlog

from outboxd.mysql.procedures import RelayProcedures
from outboxd.observe import metrics
from outboxd.observe.health import Pulse
from outboxd.retry import Unavailable, until_available
from outboxd.settings import Settings

log = structlog.get_logger()


class Recovery:
    """Calls outbox_recover_published_v1 ten times in stale_seconds.

    Every daemon with a relay does so: what one has recovered, the next one finds pending.
    """

    def __init__(self, settings: Settings, stop: threading.Event, pulse: Pulse) -> None:
        self._settings = settings
        self._stop = stop
        self._pulse = pulse
        self._database = RelayProcedures(settings)

    def run(self) -> None:
        """Recover until stop is set; raises mysql.connector.Error where the procedure fails for good."""
        pause_seconds = self._settings.stale_seconds / 10
        with self._database:
            self._pulse.beat(idle_seconds=pause_seconds)
            while not self._stop.wait(pause_seconds):
                try:
                    recovered = until_available(self._stop, self._recover, self._pulse.is_held_up)
                except Unavailable:
                    return  # stopped while waiting
                self._pulse.beat(idle_seconds=pause_seconds)
                self._pulse.moves()
                metrics.recovered.inc(recovered)
                if recovered:
                    stale_seconds = self._settings.stale_seconds
                    log.warning("recovered", messages=recovered, published_before_seconds=stale_seconds)

    def _recover(self) -> int:
        self._pulse.beat()
        return self._database.recover_published(self._settings.stale_seconds, self._settings.batch_size)
