"""The relay: claim, publish, mark, and again. Each worker has slots of its own."""

import math
import time
from collections.abc import Iterator
from contextlib import suppress

import structlog

from outboxd.daemon.database import Database
from outboxd.daemon.publisher import Publisher
from outboxd.kafka.client import each_second
from outboxd.kafka.producer import ProducerHandle
from outboxd.messages import Message, Receipt, Round
from outboxd.mysql.procedures import RelayProcedures
from outboxd.observe import metrics
from outboxd.observe.health import Pulse
from outboxd.retry import Unavailable, until_available

log = structlog.get_logger()
_LOCK_WAIT_SECONDS = 3
_LOCKED_PAUSE_SECONDS = 0.05
# Small batches have one mark together: a relay that is killed sends again what it has not marked yet.
_MARK_SECONDS = 0.05
_MOST_UNMARKED = 200


class Relay:
    """One relay worker; `name` is the owner of its slots in outbox_slots.

    A message that is not marked, for whatever reason, stays pending and is claimed again: it may reach Kafka twice,
    and outbox_consume_v1 lets it take effect once. While all is well, marks come a little later than Kafka's
    acknowledgements: meanwhile the relay goes on with what is new.
    """

    def __init__(self, served: Database, name: str, pulse: Pulse) -> None:
        settings, stop = served.settings, served.stop
        self._served = served
        self._settings = settings
        self._name = name
        self._stop = stop
        self._pulse = pulse
        # When the last message was claimed: a database that may rest does so until there is one.
        self._worked_at = time.monotonic() - settings.rest_seconds
        self._has_slots = False
        self._database = RelayProcedures(settings, waits_for_work=True)
        # A connection of their own: on the other one rows of the claim may still be under way.
        self._heartbeats = RelayProcedures(settings)
        self._producer = ProducerHandle(settings)
        # What Kafka has acknowledged, and is marked next, and when that is.
        self._unmarked: list[Receipt] = []
        self._mark_at = 0.0
        # Until when it waits for more to come together.
        self._lingers_until = 0.0
        # What the last mark may have passed over, and since when.
        self._acknowledged: dict[Receipt, float] = {}
        self._told: set[Receipt] = set()
        self._publisher = Publisher(settings, self._producer, stop, pulse, self._renew_lease)

    def run(self) -> None:
        """Relay until stop is set, then give the slots back.

        Raises mysql.connector.Error where a procedure fails for good.
        """
        with self._database, self._heartbeats:
            try:
                while not self._stop.is_set():
                    if self._may_rest():
                        self._rest()
                    else:
                        self._work()
            except Unavailable:
                pass  # stopped while waiting
            finally:
                self._leave()

    def _work(self) -> None:
        """Relay until stop is set, or there has been nothing to do for rest_seconds."""
        self._has_slots = True
        self._producer.open()  # at once: a new idempotent producer waits half a second for its id
        with each_second(self._producer.serve):
            try:
                while not (self._stop.is_set() or self._may_rest()):
                    until_available(self._stop, self._round, self._pulse.is_held_up)
            finally:
                self._producer.close()

    def _may_rest(self) -> bool:
        rest_seconds = self._settings.rest_seconds
        return rest_seconds > 0 and time.monotonic() - self._worked_at >= rest_seconds

    def _rest(self) -> None:
        """Keep no slots, no connection and no producer until there is something to do: whoever sees it first has it."""
        self._leave()
        self._database.close()
        self._heartbeats.close()
        self._pulse.rests()
        self._served.rest(self._name)
        self._worked_at = time.monotonic()

    def _leave(self) -> None:
        """Give the slots back, if there may be any, with nothing unmarked."""
        if self._has_slots:
            self._has_slots = False
            with suppress(Unavailable):
                self._mark(Round(), [])
                self._database.leave(self._name)

    def _round(self) -> None:
        self._pulse.beat()
        self._stop.wait(max(0.0, self._lingers_until - time.monotonic()))
        again: list[Receipt] = []
        done = self._publisher.publish(self._not_acknowledged(self._claim(), again))
        metrics.count_round(done)
        now = time.monotonic()
        if done.claimed:
            self._worked_at = now
            self._lingers_until = now + self._settings.linger_ms / 1000
        if done.published and not self._unmarked:
            self._mark_at = now + _MARK_SECONDS
        self._unmarked += done.published
        is_well = len(done.published) == done.claimed > 0 and not again and not self._stop.is_set()
        if not (is_well and now < self._mark_at and len(self._unmarked) < _MOST_UNMARKED):
            self._mark(done, again)
        self._report(done)
        if done.unanswered and not self._stop.is_set():
            raise Unavailable(f"Kafka: {done.unanswered}", announced=self._producer.outage.is_on)

    def _claim(self) -> Iterator[Message]:
        """What is new, while something is to be marked that slots must not have when they change hands; else any."""
        settings = self._settings
        if self._unmarked:
            wait_ms = math.ceil(max(0.0, self._mark_at - time.monotonic()) * 1000)
            return self._database.claim_more(self._name, settings.batch_size, min(wait_ms, settings.wait_ms))
        return self._database.claim(self._name, settings.batch_size, settings.lease_seconds, settings.wait_ms)

    def _not_acknowledged(self, claimed: Iterator[Message], again: list[Receipt]) -> Iterator[Message]:
        """What a claim hands out, without what Kafka has acknowledged already: that is put into `again`."""
        for message in claimed:
            if message.receipt in self._acknowledged:
                again.append(message.receipt)
            else:
                yield message

    def _mark(self, done: Round, again: list[Receipt]) -> None:
        """Mark what is unmarked, what the last mark has passed over, and what Kafka has refused now."""
        published = self._unmarked + again
        answered = len(self._unmarked) + len(done.failed) + len(done.dead)
        marked_published = self._database.mark_published_batch(self._name, published)
        self._unmarked = []
        self._remember(published if marked_published < len(published) else [])
        marked = (
            marked_published
            + self._database.mark_failed_batch(self._name, done.failed)
            + self._database.mark_dead_batch(self._name, done.dead)
        )
        # Nothing of it: another session has locked it, or the slots are lost, or the consumer was faster.
        is_fenced = bool(answered and not marked) and self._database.slots_owned(self._name) == 0
        if is_fenced:
            metrics.fenced.inc(answered)
        if not marked and (again or is_fenced):
            self._pulse.is_held_up("no mark has changed a message")
        else:
            self._pulse.moves()
        if published or done.claimed:
            log.debug("round", claimed=done.claimed, answered=answered, marked=marked)
        for receipt, reason in done.failed + done.dead:
            log.warning("refused", id=receipt.id, reason=reason)
        if again and not marked:
            # Nothing but what is locked: the next claim hands it out at once.
            self._stop.wait(_LOCKED_PAUSE_SECONDS)

    def _report(self, done: Round) -> None:
        """Let topics in trouble wait, in the queues of all relays. The mark of the next acknowledgement ends that."""
        if done.unavailable:
            self._database.mark_topics_unavailable(done.unavailable)
        for topic, reason in done.unavailable.items():
            log.warning("topic unavailable", topic=topic, reason=f"Kafka: {reason}")
        for topic in done.available:
            log.info("topic available", topic=topic)

    def _remember(self, receipts: list[Receipt]) -> None:
        """Keep what was acknowledged and may not be marked, because another session has locked it: no need to send it
        again. It is said once of what stays locked.
        """
        now = time.monotonic()
        self._acknowledged = {receipt: self._acknowledged.get(receipt, now) for receipt in receipts}
        self._told &= self._acknowledged.keys()
        for receipt, since in self._acknowledged.items():
            if now - since >= _LOCK_WAIT_SECONDS and receipt not in self._told:
                self._told.add(receipt)
                log.warning(
                    "waits for a lock", id=receipt.id, reason=f"another session has locked message {receipt.id}"
                )

    def _renew_lease(self) -> None:
        with suppress(Unavailable):  # the lease runs out, and the fence holds
            self._heartbeats.heartbeat(self._name, self._settings.lease_seconds)
