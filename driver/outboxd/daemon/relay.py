"""The relay: claim, publish, mark, and again. Each worker has slots of its own."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import structlog

from outboxd.daemon.publisher import Publisher
from outboxd.kafka.producer import ProducerHandle
from outboxd.messages import Message, Round
from outboxd.mysql.procedures import RelayProcedures
from outboxd.observe import metrics
from outboxd.observe.health import Pulse
from outboxd.retry import Unavailable, until_available
from outboxd.settings import Settings

log = structlog.get_logger()


class Relay:
    """One relay worker; `name` is the owner of its slots in outbox_slots.

    A message that is not marked, for whatever reason, stays pending and is claimed again: it may reach Kafka twice,
    and outbox_consume_v1 lets it take effect once.
    """

    def __init__(self, settings: Settings, name: str, stop: threading.Event, pulse: Pulse) -> None:
        self._settings = settings
        self._name = name
        self._stop = stop
        self._pulse = pulse
        self._database = RelayProcedures(settings, waits_for_work=True)
        # A connection of their own: on the other one rows of the claim may still be under way.
        self._heartbeats = RelayProcedures(settings)
        self._producer = ProducerHandle(settings)
        self._publisher = Publisher(settings, self._producer, stop, pulse, self._renew_lease)

    def run(self) -> None:
        """Relay until stop is set, then give the slots back.

        Raises mysql.connector.Error where a procedure fails for good.
        """
        with self._database, self._heartbeats:
            try:
                while not self._stop.is_set():
                    until_available(self._stop, self._round, self._pulse.is_held_up)
            except Unavailable:
                pass  # stopped while waiting
            finally:
                self._producer.close()
                with suppress(Unavailable):
                    self._database.leave(self._name)

    def _round(self) -> None:
        self._pulse.beat()
        done = self._publisher.publish(self._claim())
        metrics.count_round(done)
        self._mark(done)
        if done.unanswered and not self._stop.is_set():
            raise Unavailable(f"Kafka: {done.unanswered}", announced=self._producer.outage.is_on)

    def _claim(self) -> Iterator[Message]:
        settings = self._settings
        return self._database.claim(self._name, settings.batch_size, settings.lease_seconds, settings.wait_ms)

    def _mark(self, done: Round) -> None:
        marked = (
            self._database.mark_published_batch(self._name, done.published)
            + self._database.mark_failed_batch(self._name, done.failed)
            + self._database.mark_dead_batch(self._name, done.dead)
        )
        if marked or not done.answered:
            self._pulse.moves()
        else:
            self._pulse.is_held_up("no mark has changed a message")
        if marked < done.answered and self._database.slots_owned(self._name) == 0:
            metrics.fenced.inc(done.answered - marked)
        if done.claimed:
            log.debug("round", claimed=done.claimed, answered=done.answered, marked=marked)
        for receipt, reason in done.failed + done.dead:
            log.warning("refused", id=receipt.id, reason=reason)

    def _renew_lease(self) -> None:
        with suppress(Unavailable):  # the lease runs out, and the fence holds
            self._heartbeats.heartbeat(self._name, self._settings.lease_seconds)
