"""The consumer: polls records, lets them take effect by outbox_consume_v1, and commits their offsets after that."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outboxd.kafka.client import Outage, connect
from outboxd.kafka.records import ForeignRecord, parse
from outboxd.messages import Arrival, Outcome
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.observe import metrics, tracing
from outboxd.observe.health import Pulse
from outboxd.retry import Unavailable, until_available
from outboxd.settings import Settings

log = structlog.get_logger()
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
}
_POLL_SECONDS = 0.5
_FOREIGN_LOGGED = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A record that claims to be of this outbox, and of which message."""

    record: Any
    arrival: Arrival


class _TooLarge(Exception):
    """A call was for more messages than the server takes in one transaction."""


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
        self._outage = Outage()
        callbacks = {"error_cb": self._outage.on_error, "on_commit": self._on_commit}
        self._kafka = connect(KafkaConsumer, settings, {**_PROPERTIES, "group.id": settings.group, **callbacks})
        self._waiting: list[_Entry] = []
        # Messages in a call: less after one whose transaction was more than max_binlog_cache_size.
        self._most = settings.batch_size

    def run(self) -> None:
        """Consume until stop is set, then leave the group.

        Raises mysql.connector.Error where the procedure fails for good, and KafkaException for a fatal error.
        """
        with self._database:
            try:
                self._kafka.subscribe(self._settings.topics)
                while not self._stop.is_set():
                    self._round()
            except Unavailable:
                pass  # stopped while MySQL was away: the offsets stay where they were
            finally:
                self._kafka.close()  # commits what is stored

    def _round(self) -> None:
        self._pulse.holds(len(self._kafka.assignment()))
        records = self._poll()
        entries = self._waiting + list(_own(records, self._settings.source))
        if entries or records:
            self._waiting = self._consume(entries)
            self._store([entry.record for entry in entries] + records)

    def _poll(self) -> list[Any]:
        """The records at hand, up to batch_size; waits for the first only, and not even that with others waiting."""
        limit = self._settings.batch_size - len(self._waiting)
        first = self._kafka.poll(0 if self._waiting else _POLL_SECONDS) if limit else None
        if first is None:
            return []
        records = []
        for record in [first, *self._kafka.consume(limit - 1, 0)]:
            error = record.error()
            if error is None:
                records.append(record)
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and not error.fatal():
                metrics.count_error(error)
                log.warning("unavailable", reason=f"Kafka: topic {record.topic()} does not exist yet")
            else:
                self._outage.on_error(error)
                if error.fatal():
                    raise KafkaException(error)
        if records:
            self._outage.is_over()
        return records

    def _consume(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Let the messages take effect; returns the records that the next call must take again."""
        # One record a message, because outcomes are by id: a forged copy must not hide the true one.
        batch = list({entry.arrival.id: entry for entry in reversed(entries)}.values())
        batch = sorted(batch, key=lambda entry: entry.arrival.id)[: self._most]
        self._pulse.beat()
        began_ns = time.time_ns()
        try:
            outcomes = self._call([entry.arrival for entry in batch])
        except _TooLarge:
            self._most = len(batch) // 2
            return list(entries)
        self._most = min(2 * self._most, self._settings.batch_size)
        self._pulse.moves()
        tracing.consumed(((entry.arrival.id, entry.record) for entry in batch), outcomes.values(), began_ns)
        counts = Counter(outcome.outcome for outcome in outcomes.values())
        metrics.count_outcomes(counts)
        log.debug("consumed", **counts)
        done: list[_Entry] = []
        foreign: list[tuple[Any, ForeignRecord]] = []
        for entry in batch:
            outcome = outcomes[entry.arrival.id]
            if not outcome.is_not_reached:
                done.append(entry)
            if outcome.outcome == "foreign":
                foreign.append((entry.record, ForeignRecord("row", str(outcome.error))))
            elif outcome.error and outcome.outcome != "deferred":
                # Without the error, which may quote the message: last_error has it.
                log.warning(outcome.outcome, id=outcome.id)
        _tell_foreign(foreign)
        return [entry for entry in entries if entry not in done]

    def _call(self, arrivals: Sequence[Arrival]) -> dict[int, Outcome]:
        def consume() -> list[Outcome]:
            try:
                return self._database.consume(arrivals)
            except Unavailable as error:
                if error.is_too_large and len(arrivals) > 1:
                    raise _TooLarge from error
                raise

        if not arrivals:
            return {}
        return {outcome.id: outcome for outcome in until_available(self._stop, consume, self._pulse.is_held_up)}

    def _store(self, records: Sequence[Any]) -> None:
        """Store the offsets behind the last record of each partition, but not behind one that waits."""
        ends = {(record.topic(), record.partition()): record.offset() + 1 for record in records}
        for entry in reversed(self._waiting):
            ends[entry.record.topic(), entry.record.partition()] = entry.record.offset()
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


def _own(records: Sequence[Any], source: str) -> Iterator[_Entry]:
    """The records that claim to be of this outbox. The others are foreign."""
    foreign: list[tuple[Any, ForeignRecord]] = []
    for record in records:
        try:
            yield _Entry(record, parse(record, source))
        except ForeignRecord as error:
            metrics.consumed.labels("foreign").inc()
            foreign.append((record, error))
    _tell_foreign(foreign)


def _tell_foreign(foreign: Sequence[tuple[Any, ForeignRecord]]) -> None:
    """Count foreign records by reason, and log the first of them."""
    for number, (record, error) in enumerate(foreign):
        metrics.foreign.labels(error.reason).inc()
        if number < _FOREIGN_LOGGED:
            place = f"{record.topic()}[{record.partition()}]@{record.offset()}"
            log.warning("foreign", record=place, reason=str(error))
    if len(foreign) > _FOREIGN_LOGGED:
        log.warning("more foreign records", records=len(foreign) - _FOREIGN_LOGGED)
