"""The consumer: polls records, hands them to outbox_consume_v1, and lets their offsets be committed after that has."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import mysql.connector
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from mysql.connector import errorcode

from outboxd import health, metrics, tracing
from outboxd.database import Database, Outcome
from outboxd.kafka import Outage, connect
from outboxd.records import parse
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
    # How long it fetches no more once it has enough; a second by default, in which a backlog's consumer runs dry.
    "fetch.queue.backoff.ms": 20,
    "queued.min.messages": 5_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 262_144,
}
_FOREIGN_TOLD = 20


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record of this outbox."""

    record: Any
    id: int
    payload: str


def run(settings: Settings, stop: threading.Event) -> None:
    """Consume until stop is set, then leave the group.

    A crash between the procedure's commit and the offset's, a second later, delivers the records again, and the
    procedure finds them consumed. Raises mysql.connector.Error where the procedure fails for good.
    """
    outage = Outage()

    def on_error(error: KafkaError) -> None:
        metrics.count_error(error)
        outage.on_error(error)

    def on_commit(error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None:
            on_error(error)

    properties = {**_PROPERTIES, "group.id": settings.group, "error_cb": on_error, "on_commit": on_commit}
    consumer = connect(Consumer, settings, properties)
    consumer.subscribe(settings.topics)
    with Database(settings) as database:
        try:
            waiting: list[_Entry] = []
            while not stop.is_set():
                health.holds(len(consumer.assignment()))
                records = _poll(consumer, settings.batch_size - len(waiting), outage, 0 if waiting else 0.5)
                entries = waiting + list(_own(records, settings.event_source))
                if entries or records:
                    waiting = _consume(database, settings, stop, entries)
                    seen = [entry.record for entry in entries] + records
                    _store(consumer, _next_offsets(seen, waiting))
        except Unavailable:
            pass  # stopped while MySQL was away: the offsets stay where they were
        finally:
            consumer.close()  # commits what is stored


def _poll(consumer: Any, limit: int, outage: Outage, wait_seconds: float) -> list[Any]:
    """The records at hand, up to limit; waits for the first only, so that a single one is not kept waiting."""
    first = consumer.poll(wait_seconds) if limit else None
    if first is None:
        return []
    records = []
    for record in [first, *consumer.consume(limit - 1, 0)]:
        error = record.error()
        if error is None:
            records.append(record)
            continue
        metrics.count_error(error)
        if error.fatal():
            raise KafkaException(error)
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning("unavailable", reason=f"Kafka: topic {record.topic()} does not exist yet")
        else:
            outage.on_error(error)
    if records:
        outage.is_over()
    return records


def _own(records: list[Any], source: str) -> Iterator[_Entry]:
    """The records of this outbox; foreign ones are left out, and logged as long as they are not too many."""
    foreign = 0
    for record in records:
        try:
            id_, payload = parse(record, source)
        except ValueError as error:
            foreign += 1
            metrics.consumed.labels("foreign").inc()
            if foreign <= _FOREIGN_TOLD:
                place = f"{record.topic()}[{record.partition()}]@{record.offset()}"
                log.warning("foreign", record=place, reason=str(error))
        else:
            yield _Entry(record, id_, payload)
    if foreign > _FOREIGN_TOLD:
        log.warning("more foreign records", records=foreign - _FOREIGN_TOLD)


def _consume(database: Database, settings: Settings, stop: threading.Event, entries: list[_Entry]) -> list[_Entry]:
    """Let the records take effect; returns those that the next call must take again."""
    waiting: set[int] = set()
    for batch in _batches(entries, settings.batch_bytes):
        health.beat()
        began_ns = time.time_ns()
        outcomes = list(_consume_batch(database, stop, batch))
        tracing.consumed(((entry.id, entry.record) for entry in entries), outcomes, began_ns)
        counts = Counter(outcome.outcome for outcome in outcomes)
        metrics.count_outcomes(counts)
        log.debug("consumed", **counts)
        waiting.update(outcome.id for outcome in outcomes if outcome.is_not_reached)
        for outcome in outcomes:
            if outcome.error and outcome.outcome != "deferred":
                # Not the error: it may quote the message. last_error has it, for those who may read messages.
                log.warning(outcome.outcome, id=outcome.id)
    return [entry for entry in entries if entry.id in waiting]


def _consume_batch(database: Database, stop: threading.Event, batch: list[tuple[int, str]]) -> Iterator[Outcome]:
    """One call; or a call for each, where one is larger than the server takes. That one is its message's failure.

    Each call is tried again by itself: those before it have counted their failures already.
    """
    try:
        yield from until_available(stop, partial(database.consume, batch))
    except mysql.connector.Error as error:
        if error.errno != errorcode.ER_NET_PACKET_TOO_LARGE:
            raise
        if len(batch) > 1:
            for record in batch:
                yield from _consume_batch(database, stop, [record])
        else:
            ((id_, payload),) = batch
            reason = f"MySQL takes no record of {len(payload.encode())} bytes: {error.msg}"
            yield until_available(stop, partial(database.refuse, id_, reason))


def _batches(entries: list[_Entry], most_bytes: int) -> Iterator[list[tuple[int, str]]]:
    """Ids and payloads, in calls of at most so many bytes; a single payload may be larger."""
    batch: list[tuple[int, str]] = []
    size = 0
    for entry in entries:
        size += len(entry.record.value())
        if batch and size > most_bytes:
            yield batch
            batch, size = [], len(entry.record.value())
        batch.append((entry.id, entry.payload))
    if batch:
        yield batch


def _store(consumer: Any, offsets: list[TopicPartition]) -> None:
    try:
        consumer.store_offsets(offsets=offsets)
    except KafkaException as error:
        # All of their partitions have been given to other consumers meanwhile, which read the records again.
        if error.args[0].code() not in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
            raise


def _next_offsets(records: list[Any], waiting: list[_Entry]) -> list[TopicPartition]:
    """Behind the last record of each partition, but not behind one that waits."""
    ends = {(record.topic(), record.partition()): record.offset() + 1 for record in records}
    for entry in reversed(waiting):
        ends[entry.record.topic(), entry.record.partition()] = entry.record.offset()
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
