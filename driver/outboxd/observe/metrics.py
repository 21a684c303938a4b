"""The daemon's metrics, named by the rules of https://prometheus.io/docs/practices/naming/."""

import collections
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from outboxd import __version__
from outboxd.messages import Round

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody needs
registry = CollectorRegistry()
ProcessCollector(registry=registry)
Info("outboxd_build", "The version of outboxd.", registry=registry).info({"version": __version__})

_MOST_TYPES = 50
_types_seen: set[str] = set()
_streams_seen: set[tuple[str, str]] = set()
_OTHER = "other"
_OUTCOMES = ("consumed", "duplicate", "deferred", "failed", "dead", "unknown", "foreign")


def _counter(name: str, what: str, **labels: tuple[str, ...]) -> Counter:
    """A counter whose known labels begin at 0, so that Prometheus sees the first increase."""
    made = Counter(name, what, list(labels), registry=registry)
    for label, values in labels.items():
        for value in values:
            made.labels(**{label: value})
    return made


claimed = _counter("outboxd_messages_claimed_total", "Messages that claims handed out, repeats included.")
published = _counter("outboxd_messages_published_total", "Messages that Kafka acknowledged, repeats included.")
failed = _counter(
    "outboxd_messages_failed_total",
    "Messages pending again for a retry: Kafka refused the record (relay), or the effect failed (consumer).",
    stage=("relay", "consumer"),
)
dead = _counter(
    "outboxd_messages_dead_total",
    "Messages that went dead: Kafka can never take the record (relay), or the outcome was dead (consumer).",
    stage=("relay", "consumer"),
)
deferred = _counter(
    "outboxd_messages_deferred_total",
    "Messages sent back to pending because an earlier one of their lane is not final.",
)
fenced = _counter(
    "outboxd_messages_fenced_total",
    "Messages that Kafka answered and no mark changed, because the relay had lost its slots.",
)
recovered = _counter(
    "outboxd_messages_recovered_total",
    "Published messages sent again because they were not consumed within stale_seconds.",
)
consumed = _counter(
    "outboxd_records_consumed_total",
    "Records taken from Kafka, by the outcome of outbox_consume_v1.",
    outcome=_OUTCOMES,
)
received = _counter(
    "outboxd_records_received_total",
    "Records of others while there are subscriptions, by the outcome of outbox_receive_v1.",
    outcome=("received", "duplicate", "dead", "ignored"),
)
foreign = _counter(
    "outboxd_foreign_records_total",
    "Records of other outboxes or of none, by what shows it: ce_source, other headers, or the message's row.",
    reason=("source", "headers", "row"),
)
kafka_errors = _counter("outboxd_kafka_errors_total", "Errors of librdkafka and the brokers, by name.", error=())
procedure_errors = _counter("outboxd_procedure_errors_total", "Calls of procedures that raised an error.", procedure=())
batch_messages = Histogram(
    "outboxd_batch_messages",
    "Messages in a claim that was not empty (relay), and in a call of outbox_consume_v1 (consumer).",
    ["stage"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000),
    registry=registry,
)
procedure_seconds = Histogram(
    "outboxd_procedure_duration_seconds",
    "How long a call took until its first answer; outbox_claim_v1 may wait up to wait_ms for work.",
    ["procedure"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
    registry=registry,
)
handler_seconds = _counter(
    "outboxd_handler_seconds_total",
    "How long handlers took, by business type; from the 51st type on together, as `other`.",
    biz_type=(),
)
stream_published = _counter(
    "outboxd_stream_published_total",
    "Messages that Kafka acknowledged, by topic and business type; from the 51st pair on together, as `other`.",
    topic=(),
    biz_type=(),
)
stream_records = _counter(
    "outboxd_stream_records_total",
    "Records of this outbox taken from Kafka, by topic, business type and outcome; from the 51st pair on as `other`.",
    topic=(),
    biz_type=(),
    outcome=(),
)
slots_owned = Gauge("outboxd_slots_owned", "Slots of the 64 that this daemon's relays own.", registry=registry)
partitions_assigned = Gauge(
    "outboxd_partitions_assigned", "Partitions that the consumer group gave to a worker.", ["worker"], registry=registry
)
lag_messages = Gauge(
    "outboxd_lag_messages",
    "Messages of the whole outbox that are not consumed, by status; counted up to 100000.",
    ["status"],
    registry=registry,
)
lag_seconds = Gauge(
    "outboxd_lag_seconds",
    "How long ago the oldest message that is not consumed was enqueued, by status; 0 if there is none.",
    ["status"],
    registry=registry,
)
overdue_seconds = Gauge(
    "outboxd_overdue_seconds",
    "How long the pending message that was due first has been waiting; 0 if none is due.",
    registry=registry,
)
dead_letters = Gauge(
    "outboxd_dead_letters", "Dead messages of the whole outbox; counted up to 100000.", registry=registry
)
failing_messages = Gauge(
    "outboxd_failing_messages",
    "Messages of the whole outbox that have failed and wait for their retry; counted up to 100 for each slot.",
    registry=registry,
)
failing_seconds = Gauge(
    "outboxd_failing_seconds",
    "How long ago the message first failed that has been failing longest; its topic and key stand still.",
    registry=registry,
)
paused = Gauge("outboxd_paused", "Topics and business types that operators have paused.", registry=registry)
paused_seconds = Gauge(
    "outboxd_paused_seconds", "How long ago the first of these pauses began; 0 if nothing is paused.", registry=registry
)
topics_unavailable = Gauge(
    "outboxd_topics_unavailable",
    "Topics that Kafka takes no records for at the moment; their messages wait.",
    registry=registry,
)
held_up_seconds = Gauge(
    "outboxd_held_up_seconds",
    "How long a worker has had messages and moved none, though it tries; 0 where all moves.",
    ["worker"],
    registry=registry,
)
sampled_at = Gauge(
    "outboxd_sampled_timestamp_seconds",
    "When lag and slots were last looked up, in seconds since 1970; they are not newer than that.",
    registry=registry,
)


def count_round(done: Round) -> None:
    """Count what a relay's round claimed, and what Kafka answered."""
    claimed.inc(done.claimed)
    published.inc(len(done.published))
    failed.labels("relay").inc(len(done.failed))
    dead.labels("relay").inc(len(done.dead))
    if done.claimed:
        batch_messages.labels("relay").observe(done.claimed)
    for (topic, biz_type), messages in done.streams.items():
        stream_published.labels(*_stream(topic, biz_type)).inc(messages)


def count_outcomes(outcomes: collections.Counter[str]) -> None:
    """Count the records of one call of outbox_consume_v1 by their outcome."""
    for outcome, records in outcomes.items():
        if outcome != "not reached":  # the next call decides
            consumed.labels(outcome).inc(records)
    failed.labels("consumer").inc(outcomes["failed"])
    dead.labels("consumer").inc(outcomes["dead"])
    deferred.inc(outcomes["deferred"])
    batch_messages.labels("consumer").observe(outcomes.total())


def count_received(outcomes: collections.Counter[str]) -> None:
    """Count the records of one call of outbox_receive_v1 by their outcome."""
    for outcome, records in outcomes.items():
        received.labels(outcome).inc(records)
    dead.labels("consumer").inc(outcomes["dead"])


def count_streams(records: Iterable[tuple[str, str, str]]) -> None:
    """Count records by topic, business type and outcome; not those whose names may be anybody's."""
    for (topic, biz_type, outcome), number in collections.Counter(records).items():
        if outcome not in {"not reached", "unknown", "foreign"}:
            stream_records.labels(*_stream(topic, biz_type), outcome).inc(number)


def _stream(topic: str, biz_type: str) -> tuple[str, str]:
    """The labels of a topic and a business type: their number is bounded."""
    if len(_streams_seen) < _MOST_TYPES:
        _streams_seen.add((topic, biz_type))
    return (topic, biz_type) if (topic, biz_type) in _streams_seen else (_OTHER, _OTHER)


def count_handlers(seconds: Mapping[str, float]) -> None:
    """Add the seconds that the handlers of each business type took in one call."""
    for biz_type, spent in seconds.items():
        if len(_types_seen) < _MOST_TYPES:
            _types_seen.add(biz_type)
        handler_seconds.labels(biz_type if biz_type in _types_seen else _OTHER).inc(spent)


def count_error(error: KafkaError) -> None:
    """Count an error of a Kafka client, a broker or a record by its name."""
    kafka_errors.labels(error.name()).inc()


@contextmanager
def timed(procedure: str) -> Iterator[None]:
    """Measure how long the block calls a procedure, in seconds, or count its error."""
    began = time.perf_counter()
    with procedure_errors.labels(procedure).count_exceptions():
        yield
    procedure_seconds.labels(procedure).observe(time.perf_counter() - began)


def show_lag(lag: Mapping[str, Any]) -> None:
    """Set the gauges to a row of outbox_lag_v1."""
    for status in ("pending", "published"):
        lag_messages.labels(status).set(lag[status])
        lag_seconds.labels(status).set(lag[f"{status}_seconds"] or 0)
    overdue_seconds.set(max(0.0, -float(lag["next_due_seconds"] or 0)))
    dead_letters.set(lag["dead"])
    topics_unavailable.set(lag["topics_unavailable"])
    failing_messages.set(lag["failing"])
    failing_seconds.set(lag["failing_seconds"] or 0)
    paused.set(lag["paused"])
    paused_seconds.set(lag["paused_seconds"] or 0)
    sampled_at.set_to_current_time()
