"""The relay: claim, produce, wait for the acknowledgements, mark, and again. One worker, one set of slots."""

import threading
from contextlib import suppress

import structlog

from outboxd import health, metrics
from outboxd.database import Database
from outboxd.publisher import Publisher
from outboxd.retry import Unavailable, until_available
from outboxd.settings import Settings

log = structlog.get_logger()


def run(settings: Settings, relay: str, stop: threading.Event) -> None:
    """Relay until stop is set, then give the slots back.

    Whatever happens between two lines here, a message that is not marked stays pending and is claimed again: it may
    reach Kafka twice, and the consumer's procedure makes one effect of it. Raises mysql.connector.Error where a
    procedure fails for good.
    """
    # The second connection is for heartbeats: the first may be in the middle of a batch.
    with Database(settings) as database, Database(settings) as pulse:

        def heartbeat() -> None:
            with suppress(Unavailable):  # the lease runs out, and the fence holds
                pulse.heartbeat(relay, settings.lease_seconds)

        publisher = Publisher(settings, stop, heartbeat)

        def one_round() -> None:
            health.beat()
            claim = database.claim(relay, settings.batch_size, settings.lease_seconds, settings.wait_ms)
            done = publisher.publish(claim)
            metrics.count_round(done)
            marked = 0
            if done.published:
                marked += database.mark_published(relay, done.published)
            if done.failed:
                marked += database.mark_failed(relay, done.failed)
            if done.dead:
                marked += database.mark_dead(relay, done.dead)
            answered = len(done.published) + len(done.failed) + len(done.dead)
            if marked < answered and database.slots_owned(relay) == 0:
                metrics.fenced.inc(answered - marked)
            if done.claimed:
                log.debug("round", claimed=done.claimed, answered=answered, marked=marked)
            for receipt, reason in done.failed + done.dead:
                log.warning("refused", id=receipt.id, reason=reason)
            if done.unanswered and not stop.is_set():
                raise Unavailable(f"Kafka: {done.unanswered}", announced=publisher.outage.is_on)

        try:
            while not stop.is_set():
                until_available(stop, one_round)
        except Unavailable:
            pass  # stopped while waiting
        finally:
            publisher.close()
            with suppress(Unavailable):
                database.leave(relay)
