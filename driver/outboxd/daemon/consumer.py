"""The consumer: polls records, lets them take effect by outbox_consume_v1, and commits their offsets after that."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outboxd.daemon.backlog import Backlog, Entry, Partition
from outboxd.daemon.receiver import Receiver, Results
from outboxd.kafka.client import Outage, connect, each_second
from outboxd.kafka.records import ForeignRecord, parse
from outboxd.messages import Arrival, Consumption, Outcome
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.observe import metrics, tracing
from outboxd.observe.health import Pulse
from outboxd.retry import TooLarge, Unavailable, until_available
from outboxd.settings import Settings

log = structlog.get_logger()
_Result = TypeVar("_Result")
# Offsets are stored by hand, and committed by the client: at intervals, before it gives partitions away, and at the
# end. A commit by hand fails in the middle of a rebalance. And little memory for records fetched ahead.
_PROPERTIES = {
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1_000,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    # Also how long a request to join the group is waited for on a connection that is half-open.
    "max.poll.interval.ms": 60_000,
    "socket.timeout.ms": 15_000,
    "topic.metadata.refresh.interval.ms": 2_000,
    "allow.auto.create.topics": True,
    "fetch.wait.max.ms": 500,
    # How long it stops fetching once it has enough; a second by default, in which a backlog's consumer runs dry.
    "fetch.queue.backoff.ms": 20,
    "queued.min.messages": 5_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 262_144,
    # Kafka's own topics, which no pattern means.
    "topic.blacklist": "^__",
}
_OF_THE_CLASSIC_PROTOCOL = {"partition.assignment.strategy", "session.timeout.ms"}
_POLL_SECONDS = 0.5
_REFUSED_SECONDS = 10
_FOREIGN_LOGGED = 20
_SAID_AGAIN_SECONDS = 60
# Of a partition, before it is paused; and polled at once, where handlers are slow.
_MOST_WAITING = 5_000
_LEAST_POLLED = 100


def _properties(settings: Settings) -> dict[str, Any]:
    """The brokers set what the new rebalance protocol (KIP-848) needs: the client refuses the properties of the old."""
    if settings.kafka_options.get("group.protocol") != "consumer":
        return _PROPERTIES
    return {name: value for name, value in _PROPERTIES.items() if name not in _OF_THE_CLASSIC_PROTOCOL}


class Consumer:
    """One consumer worker, a member of the setting `group`.

    A crash between the procedure's commit and that of the offset, up to a second later, makes Kafka deliver records
    again, and the procedure finds their messages consumed.
    """

    def __init__(self, settings: Settings, stop: threading.Event, pulse: Pulse) -> None:
        self._settings = settings
        self._stop = stop
        self._pulse = pulse
        self._database = ConsumerProcedures(settings)
        self._receiver = Receiver(settings, stop, pulse.is_held_up)
        self._outage = Outage()
        self._kafka = self._connect()
        # Held while the client is used; during a call the heartbeats use it.
        self._in_use = threading.Lock()
        self._polled_meanwhile: list[Any] = []
        self._waiting = Backlog(settings.batch_size)
        # Messages in a call: less after one whose transaction was more than max_binlog_cache_size.
        self._most = settings.batch_size
        # Records polled at once: less where handlers do not get through so many.
        self._room = settings.batch_size
        # When it was last said that a business type waits for a lock.
        self._told: dict[str, float] = {}
        self._foreigners = _Foreigners()
        self._paused: set[Partition] = set()
        self._ends: dict[Partition, int] = {}

    def run(self) -> None:
        """Consume until stop is set, then leave the group.

        Raises mysql.connector.Error where the procedure fails for good, and KafkaException for a fatal error.
        """
        with self._receiver, self._database, self._in_use, each_second(self._heartbeat):
            try:
                # Before the first subscription: another one makes the member join again.
                self._look_at_inbox()
                self._subscribe()
                while not self._stop.is_set():
                    self._round()
            except Unavailable:
                pass  # stopped while MySQL was away: the offsets stay where they were
            finally:
                self._kafka.close()  # commits what is stored

    def _connect(self) -> Any:
        callbacks = {"error_cb": self._outage.on_error, "on_commit": self._on_commit}
        properties = {**_properties(self._settings), "group.id": self._settings.group, **callbacks}
        return connect(KafkaConsumer, self._settings, properties)

    def _heartbeat(self) -> None:
        """Poll during a long call, so that the group keeps its member; what comes is for the next round."""
        # Without MySQL the partitions should go to members that reach it.
        if self._database.is_connected and self._in_use.acquire(blocking=False):
            try:
                record = self._kafka.poll(0)
                if record is not None:
                    self._polled_meanwhile.append(record)
            finally:
                self._in_use.release()

    def _round(self) -> None:
        if self._outage.needs_new_client(self._kafka):
            self._rejoin()
        assigned = self._kafka.assignment()
        self._pulse.holds(len(assigned), is_member=bool(assigned or self._kafka.memberid()))
        self._tell_whether_it_waits(bool(assigned))
        self._pause({(partition.topic, partition.partition) for partition in assigned})
        records = self._poll()
        self._ends |= {_partition(record): record.offset() + 1 for record in records}
        moved = {_partition(record) for record in [*records, *self._receiver.records]}
        # What was received in the last round is consumed while the next is received.
        self._take(self._meanwhile(self._receiver.finish))
        if self._look_at_inbox():
            self._subscribe()
        self._sort(records)
        batch = self._waiting.batch(self._most)
        if batch:
            self._consume(batch)
            moved |= {entry.partition for entry in batch}
        if moved:
            self._store(moved)

    def _rejoin(self) -> None:
        """Join the group with a new client. What waits is polled again, which lets it take effect but once."""
        self._kafka.close()
        self._kafka = self._connect()
        self._subscribe()
        self._paused.clear()

    def _look_at_inbox(self) -> bool:
        return self._meanwhile(lambda: self._receiver.look(self._database))

    def _subscribe(self) -> None:
        self._kafka.subscribe([*self._settings.topics, *sorted(self._receiver.retry_topics - {*self._settings.topics})])

    def _tell_whether_it_waits(self, is_assigned: bool) -> None:
        """A member without partitions is held up while errors come; without errors, others have them all."""
        reason = self._outage.last_reason(_REFUSED_SECONDS)
        if reason is not None and not is_assigned:
            self._pulse.is_held_up(f"Kafka: {reason}")
        elif self._waiting.rest_seconds() is None:
            self._pulse.moves()

    def _pause(self, assigned: set[Partition]) -> None:
        """Fetch no more of partitions of which enough waits, so that a slow lane keeps no other from being fetched."""
        self._paused &= assigned
        pause = {partition for partition in assigned - self._paused if self._waiting.size(partition) >= _MOST_WAITING}
        resume = {partition for partition in self._paused if self._waiting.size(partition) < _MOST_WAITING // 2}
        if pause:
            self._kafka.pause([TopicPartition(*partition) for partition in pause])
        if resume:
            self._kafka.resume([TopicPartition(*partition) for partition in resume])
        self._paused = self._paused - resume | pause

    def _poll(self) -> list[Any]:
        """The records at hand, up to a limit; waits for the first only, and not even that with others to hand over."""
        rest = 0.0 if self._receiver.records else self._waiting.rest_seconds()
        first = self._kafka.poll(_POLL_SECONDS if rest is None else min(rest, _POLL_SECONDS))
        limit = self._room
        polled = [] if first is None else [first, *self._kafka.consume(limit - 1, 0)]
        polled = self._polled_meanwhile + polled
        self._polled_meanwhile = []
        records = []
        for record in polled:
            error = record.error()
            if error is None:
                records.append(record)
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and not error.fatal():
                metrics.count_error(error)
                if record.topic() in self._receiver.retry_topics:
                    continue  # nothing has failed yet
                reason = f"topic {record.topic()} does not exist yet"
                self._outage.note(reason)
                log.warning("unavailable", reason=f"Kafka: {reason}")
            else:
                self._outage.on_error(error)
        if self._outage.fatal:
            raise KafkaException(self._outage.fatal)
        if records:
            self._outage.is_over()
        return records

    def _sort(self, records: Sequence[Any]) -> None:
        """Records of this outbox wait to be consumed, those of others are received; the rest is passed over."""
        own: list[Entry] = []
        of_others: list[Any] = []
        passed_over: list[tuple[Any, ForeignRecord]] = []
        for record in records:
            try:
                own.append(Entry(record, parse(record, self._settings.source)))
            except ForeignRecord as error:
                if error.reason == "source" and self._receiver.is_open:
                    of_others.append(record)
                    continue
                passed_over.append((record, error))
            record.set_value(None)  # nobody reads it any more, and many may wait
        self._waiting.add(own)
        if of_others:
            self._receiver.start(of_others)
        self._pass_over(passed_over)

    def _take(self, results: Results) -> None:
        """Let received messages wait to be consumed."""
        passed_over: list[tuple[Any, ForeignRecord]] = []
        for record, received in results:
            record.set_value(None)
            if received.arrival:
                self._waiting.add([Entry(record, received.arrival)])
            elif received.outcome == "ignored":
                passed_over.append((record, ForeignRecord("source", "there is no subscription for it")))
            elif received.outcome == "dead":
                log.warning("dead", id=received.id)
        self._pass_over(passed_over)

    def _pass_over(self, records: Sequence[tuple[Any, ForeignRecord]]) -> None:
        metrics.consumed.labels("foreign").inc(len(records))
        self._foreigners.tell(records)

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
        passed_over: list[tuple[Any, ForeignRecord]] = []
        for entry in batch:
            outcome = outcomes[entry.arrival.id]
            if outcome.outcome == "foreign":
                passed_over.append((entry.record, ForeignRecord("row", str(outcome.error))))
            elif outcome.error and not outcome.is_not_reached and outcome.outcome != "deferred":
                # Without the error, which may quote the message: last_error has it.
                log.warning(outcome.outcome, id=outcome.id)
        self._foreigners.tell(passed_over)
        self._tell_waits(batch, outcomes, self._waiting.settle(batch, outcomes))
        reached = len(batch) - counts["not reached"]
        if reached:
            self._pulse.moves()
        self._room = min(self._settings.batch_size, max(_LEAST_POLLED, 2 * reached))

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

    def _call(self, arrivals: Sequence[Arrival]) -> Consumption:
        return until_available(
            self._stop,
            lambda: self._meanwhile(lambda: self._database.consume(arrivals)),
            self._pulse.is_held_up,
            raises_too_large=len(arrivals) > 1,
        )

    def _meanwhile(self, call: Callable[[], _Result]) -> _Result:
        """Make a call of MySQL, during which the heartbeats use the client."""
        self._in_use.release()
        try:
            return call()
        finally:
            self._in_use.acquire()

    def _store(self, partitions: set[Partition]) -> None:
        """Store the offsets behind what was polled of these partitions, but not behind what waits or is received."""
        received: dict[Partition, int] = {}
        for record in self._receiver.records:
            received.setdefault(_partition(record), record.offset())
        ends: dict[Partition, int] = {}
        for partition in partitions:
            starts = (self._waiting.start(partition), received.get(partition))
            ends[partition] = min((start for start in starts if start is not None), default=self._ends[partition])
        try:
            self._kafka.store_offsets(
                offsets=[TopicPartition(*partition, offset) for partition, offset in ends.items()]
            )
        except KafkaException as error:
            # All of their partitions have been given to other consumers meanwhile, which read the records again.
            if error.args[0].code() not in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
                raise

    def _on_commit(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None:
            self._outage.on_error(error)


def _partition(record: Any) -> Partition:
    return record.topic(), record.partition()


class _Foreigners:
    """Counts foreign records by reason, and logs the first of them; then, each minute, how many there were."""

    def __init__(self) -> None:
        self._logged = 0
        self._unlogged: Counter[str] = Counter()
        self._told_at = time.monotonic()

    def tell(self, records: Sequence[tuple[Any, ForeignRecord]]) -> None:
        """Count these; an empty list gives those of before their line, once the minute is over."""
        for record, error in records:
            metrics.foreign.labels(error.reason).inc()
            if self._logged < _FOREIGN_LOGGED:
                self._logged += 1
                place = f"{record.topic()}[{record.partition()}]@{record.offset()}"
                log.warning("foreign", record=place, reason=str(error))
            else:
                self._unlogged[error.reason] += 1
        if self._unlogged and time.monotonic() - self._told_at >= _SAID_AGAIN_SECONDS:
            self._told_at = time.monotonic()
            log.warning("more foreign records", **self._unlogged)
            self._unlogged.clear()
