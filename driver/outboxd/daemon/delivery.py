"""The delivery: hands the records of one database to it, received and consumed, in a thread of its own."""

import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from outboxd.daemon.backlog import Backlog, Entry, Partition
from outboxd.daemon.database import Database
from outboxd.daemon.foreigners import Foreigners
from outboxd.daemon.receiver import Receiver
from outboxd.kafka.records import ForeignRecord
from outboxd.messages import Arrival, Consumption, Outcome
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.observe import metrics, tracing
from outboxd.observe.health import Pulse
from outboxd.observe.scope import working_for
from outboxd.retry import TooLarge, Unavailable, until_available

log = structlog.get_logger()
_SAID_AGAIN_SECONDS = 60
# Records polled at once where handlers are slow.
_LEAST_POLLED = 100
_FAILED_PAUSE_SECONDS = 1.0


class Delivery:
    """What one consumer worker does for one database; a database that is away keeps no other waiting.

    The consumer adds records, and asks how far they are done, while it holds `lock`, which is that of all its
    deliveries; `finished` is notified when a call is over.
    """

    def __init__(
        self,
        database: Database,
        lock: threading.RLock,
        finished: threading.Condition,
        stop: threading.Event,
        pulse: Pulse,
    ) -> None:
        self.database = database
        settings = database.given
        self._settings = settings
        self._stop = stop
        self._pulse = pulse
        self._calls = ConsumerProcedures(settings)
        self._receiver = Receiver(settings, stop, self._cannot, self._received)
        self._waiting = Backlog(settings.batch_size)
        self._to_receive: list[Any] = []
        # Of these, those whose value another database needs as well.
        self._shared: set[int] = set()
        self._added = threading.Condition(lock)
        self._finished = finished
        # Messages in a call: less after one whose transaction was more than max_binlog_cache_size.
        self._most = settings.batch_size
        self.room = settings.batch_size
        """Records polled at once: less where handlers do not get through so many."""
        self.is_away = False
        """Whether the last call was in vain, and is tried again."""
        self.is_busy = False
        """Whether there is something to hand over at once."""
        self.has_finished = False
        """Whether a call was finished since the consumer looked."""
        # When it was last said that a business type waits for a lock.
        self._told: dict[str, float] = {}
        self._foreigners = Foreigners()
        self._names = frozenset(topic for topic in settings.topics if not topic.startswith("^"))
        self._patterns = [re.compile(topic) for topic in settings.topics if topic.startswith("^")]
        self._thread = threading.Thread(target=self._run, name=f"delivers to {database.name}")

    # For the consumer, whose thread holds the lock

    def takes(self, topic: str) -> bool:
        """Whether the database wants records of this topic."""
        if topic in self._names or any(pattern.match(topic) for pattern in self._patterns):
            return True
        return self.database.inbox is not None and topic in self.database.inbox.retry_topics

    def consume(self, own: Entry) -> None:
        """Take a message of this outbox."""
        self._waiting.add([own])
        self._begin()

    def receive(self, of_others: Any, *, is_shared: bool) -> None:
        """Take a record of others; is_shared: it is received by another database as well."""
        self._to_receive.append(of_others)
        if is_shared:
            self._shared.add(id(of_others))
        self._begin()

    def _begin(self) -> None:
        self.is_busy = True
        self._added.notify()

    def starts(self) -> dict[Partition, int]:
        """The offset of the first record of each partition that is not done; partitions without one are left out."""
        starts = self._waiting.starts()
        for record in [*self._receiver.records, *self._to_receive]:
            place = record.topic(), record.partition()
            starts[place] = min(starts.get(place, record.offset()), record.offset())
        return starts

    def sizes(self) -> Counter[Partition]:
        """How many records of each partition wait."""
        sizes = self._waiting.sizes()
        sizes.update((record.topic(), record.partition()) for record in self._to_receive)
        return sizes

    def bytes_waiting(self) -> int:
        """The size of the values that wait to be received; messages of this outbox wait without theirs."""
        return sum(len(record.value() or b"") for record in self._to_receive)

    # The thread

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Let the thread see that it has to stop; with the lock held."""
        self._added.notify()

    def join(self) -> None:
        """Wait for the end, which comes after the call that is under way."""
        self._thread.join()

    def _run(self) -> None:
        with working_for(self.database.name, worker=self._pulse.worker), self._receiver, self._calls:
            while not self._stop.is_set():
                try:
                    self._receiver.begin_again()
                    while not self._stop.is_set():
                        self._round()
                except Unavailable:
                    return  # stopped while MySQL was away: the offsets stay where they were
                except Exception as error:
                    self.database.fail(self._pulse.worker, error)
                    self._cannot(str(error))
                    while self.database.failure is not None and not self._stop.wait(_FAILED_PAUSE_SECONDS):
                        self._pulse.beat()

    def _round(self) -> None:
        with self._added:
            self._take_received()
            if self._to_receive and not self._receiver.records:
                most = self._settings.batch_size
                self._receiver.start(self._to_receive[:most])
                del self._to_receive[:most]
            batch = self._waiting.batch(self._most)
            if not batch:
                self._wait()
                return
        self._consume(batch)

    def _wait(self) -> None:
        """Wait for something to hand over; without anything for a while, without a connection."""
        self.is_busy = bool(self._to_receive)
        self._finished.notify()
        rest = self._waiting.rest_seconds()
        if rest is None and not self._receiver.records:
            self._pulse.rests()
            if self._added.wait(self._settings.rest_seconds or None) or self._stop.is_set():
                return
            self._calls.close()
            self._receiver.close()
            rest = None
        self._added.wait(rest)
        self._pulse.beat()

    def _received(self) -> None:
        with self._added:
            self.is_away = False
            self._added.notify()

    def _take_received(self) -> None:
        """Let received messages wait to be consumed."""
        if not self._receiver.is_finished:
            return
        passed_over: list[tuple[Any, ForeignRecord]] = []
        for record, received in self._receiver.finish():
            if id(record) not in self._shared:
                record.set_value(None)  # nobody reads it any more, and many may wait
            self._shared.discard(id(record))
            if received.arrival:
                self._waiting.add([Entry(record, received.arrival)])
                inbox = self.database.inbox
                self.database.has_news |= inbox is None or received.arrival.topic not in inbox.retry_topics
            elif received.outcome == "ignored":
                passed_over.append((record, ForeignRecord("source", "there is no subscription for it")))
            elif received.outcome == "dead":
                log.warning("dead", id=received.id)
        self._foreigners.tell(passed_over)
        self.has_finished = True
        self._finished.notify()

    def _consume(self, batch: Sequence[Entry]) -> None:
        """Let the messages take effect; what the next call must take again stays in the backlog."""
        self._pulse.beat()
        began_ns = time.time_ns()
        try:
            done = self._call([entry.arrival for entry in batch])
        except TooLarge:
            self._most = len(batch) // 2
            return
        outcomes = {outcome.id: outcome for outcome in done.outcomes}
        self._most = min(2 * self._most, self._settings.batch_size)
        tracing.consumed(((entry.arrival.id, entry.record) for entry in batch), outcomes.values(), began_ns)
        counts = Counter(outcome.outcome for outcome in outcomes.values())
        metrics.count_outcomes(counts)
        metrics.count_handlers(done.handler_seconds)
        metrics.count_streams(
            (entry.arrival.topic, entry.arrival.biz_type, outcomes[entry.arrival.id].outcome) for entry in batch
        )
        log.debug("consumed", **counts)
        self._tell_outcomes(batch, outcomes)
        reached = len(batch) - counts["not reached"]
        with self._added:
            locked = self._waiting.settle(batch, outcomes)
            self.room = min(self._settings.batch_size, max(_LEAST_POLLED, 2 * reached))
            self.is_away, self.has_finished = False, True
            self._finished.notify()
        if reached:
            self._pulse.moves()
        self._tell_waits(batch, outcomes, locked)

    def _call(self, arrivals: Sequence[Arrival]) -> Consumption:
        return until_available(
            self._stop, lambda: self._calls.consume(arrivals), self._cannot, raises_too_large=len(arrivals) > 1
        )

    def _cannot(self, reason: str) -> None:
        self._pulse.is_held_up(reason)
        with self._added:
            self.is_away = True
            self._finished.notify()

    def _tell_outcomes(self, batch: Sequence[Entry], outcomes: Mapping[int, Outcome]) -> None:
        passed_over: list[tuple[Any, ForeignRecord]] = []
        for entry in batch:
            outcome = outcomes[entry.arrival.id]
            if outcome.outcome == "foreign":
                passed_over.append((entry.record, ForeignRecord("row", str(outcome.error))))
            elif outcome.error and not outcome.is_not_reached and outcome.outcome != "deferred":
                # Without the error, which may quote the message: last_error has it.
                log.warning(outcome.outcome, id=outcome.id)
        self._foreigners.note(passed_over)

    def _tell_waits(self, batch: Sequence[Entry], outcomes: Mapping[int, Outcome], locked: Sequence[Outcome]) -> None:
        """Log what waits for a lock: a message once, a business type once a minute."""
        for outcome in locked:
            log.warning("waits for a lock", id=outcome.id, reason=outcome.error)
        now = time.monotonic()
        for entry in batch:
            outcome = outcomes[entry.arrival.id]
            told_at = self._told.get(entry.arrival.biz_type)
            if outcome.waits_for_lock and (told_at is None or now - told_at >= _SAID_AGAIN_SECONDS):
                self._told[entry.arrival.biz_type] = now
                log.warning("waits for a lock", biz_type=entry.arrival.biz_type, id=outcome.id, reason=outcome.error)
