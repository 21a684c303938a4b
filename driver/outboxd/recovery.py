"""The recovery: sends published messages again that nobody has consumed for too long."""

import threading

import structlog

from outboxd import health, metrics
from outboxd.database import Database
from outboxd.retry import Unavailable, until_available
from outboxd.settings import Settings

log = structlog.get_logger()


def run(settings: Settings, stop: threading.Event) -> None:
    """Call outbox_recover_published_v1 ten times in stale_seconds, until stop is set.

    Every daemon with a relay does so; what one has recovered, the next finds pending.
    """
    with Database(settings) as database:

        def recover() -> int:
            health.beat()
            return database.recover_published(settings.stale_seconds, settings.batch_size)

        health.beat(idle_seconds=settings.stale_seconds / 10)
        while not stop.wait(settings.stale_seconds / 10):
            try:
                recovered = until_available(stop, recover)
            except Unavailable:
                return  # stopped while waiting
            health.beat(idle_seconds=settings.stale_seconds / 10)
            metrics.recovered.inc(recovered)
            if recovered:
                log.warning("recovered", messages=recovered, published_before_seconds=settings.stale_seconds)
