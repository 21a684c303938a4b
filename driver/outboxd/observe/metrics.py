"""The daemon's metrics, named by the rules of https://prometheus.io/docs/practices/naming/.

Those of messages, records and a database's state have the label `database`, from `scope`. Those of calls and batches
have none: their buckets times the databases would be too many series.
"""

import collections
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

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
from outboxd.observe import scope

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody needs
registry = CollectorRegistry()
ProcessCollector(registry=registry)
Info("outboxd_build", "The version of outboxd.", registry=registry).info({"version": __version__})

_MOST_TYPES = 50
_types_seen: set[str] = set()
_streams_seen: set[tuple[str, str]] = set()
_OTHER = "other"
_OUTCOMES = ("consumed", "duplicate", "deferred", "failed", "dead", "unknown", "foreign")


_Metric = TypeVar("_Metric", Counter, Gauge)


class _OfDatabases(Generic[_Metric]):
    """A metric with series for each database; what is counted is of the one for which the calling thread works."""

    def __init__(self, kind: type[_Metric], name: str, what: str, **labels: tuple[str, ...]) -> None:
        self._metric: _Metric = kind(name, what, ["database", *labels], registry=registry)
        self._known = [dict(zip(labels, values, strict=True)) for values in itertools.product(*labels.values())]
        _of_databases.append(self)

    def labels(self, *values: str) -> _Metric:
        """The series with these values of the other labels."""
        return self._metric.labels(scope.database(), *values)

    def inc(self, amount: float = 1) -> None:
        """Add to the only series of the database."""
        self.labels().inc(amount)

    def begin(self, database: str) -> None:
        """Let the series whose labels are known begin at 0, so that Prometheus sees the first increase."""
        for labels in self._known:
            self._metric.labels(database=database, **labels)

    def end(self, database: str) -> None:
        """Drop the series of a database."""
        self._metric.remove_by_labels({"database": database})


_of_databases: list[_OfDatabases[Any]] = []


def _counter(name: str, what: str, **labels: tuple[str, ...]) -> _OfDatabases[Counter]:
    return _OfDatabases(Counter, name, what, **labels)


def _gauge(name: str, what: str, **labels: tuple[str, ...]) -> _OfDatabases[Gauge]:
    return _OfDatabases(Gauge, name, what, **labels)


def begin(database: str) -> None:
    """A database is served from now on."""
    for metric in _of_databases:
        metric.begin(database)


def end(database: str) -> None:
    """A database is served no more: its series end."""
    for metric in _of_databases:
        metric.end(database)


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
kafka_errors = Counter(
    "outboxd_kafka_errors_total", "Errors of librdkafka and the brokers, by name.", ["error"], registry=registry
)
procedure_errors = Counter(
    "outboxd_procedure_errors_total", "Calls of procedures that raised an error.", ["procedure"], registry=registry
)
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
served = _gauge("outboxd_served", "1 where this daemon serves the database; 0: it is away, or its schema does not fit.")
slots_owned = _gauge("outboxd_slots_owned", "Slots of the 64 that this daemon's relays own.")
resting = _gauge("outboxd_resting", "1 where the database has had no message for rest_seconds, and its relays rest.")
partitions_assigned = Gauge(
    "outboxd_partitions_assigned", "Partitions that the consumer group gave to a worker.", ["worker"], registry=registry
)
partitions_paused = Gauge(
    "outboxd_partitions_paused",
    "Partitions that a worker fetches no more from for now, because enough of their records wait here.",
    ["worker"],
    registry=registry,
)
lag_messages = _gauge(
    "outboxd_lag_messages",
    "Messages of the whole outbox that are not consumed, by status; counted up to 100000.",
    status=("pending", "published"),
)
lag_seconds = _gauge(
    "outboxd_lag_seconds",
    "How long ago the oldest message that is not consumed was enqueued, by status; 0 if there is none.",
    status=("pending", "published"),
)
overdue_seconds = _gauge(
    "outboxd_overdue_seconds",
    "How long the pending message that was due first has been waiting; 0 if none is due.",
)
dead_letters = _gauge("outboxd_dead_letters", "Dead messages of the whole outbox; counted up to 100000.")
failing_messages = _gauge(
    "outboxd_failing_messages",
    "Messages of the whole outbox that have failed and wait for their retry; counted up to 100 for each slot.",
)
failing_seconds = _gauge(
    "outboxd_failing_seconds",
    "How long ago the message first failed that has been failing longest; its topic and key stand still.",
)
paused = _gauge("outboxd_paused", "Topics and business types that operators have paused.")
paused_seconds = _gauge(
    "outboxd_paused_seconds", "How long ago the first of these pauses began; 0 if nothing is paused."
)
topics_unavailable = _gauge(
    "outboxd_topics_unavailable",
    "Topics that Kafka takes no records for at the moment; their messages wait.",
)
held_up_seconds = _gauge(
    "outboxd_held_up_seconds",
    "How long a worker has had messages and moved none, though it tries; 0 where all moves.",
    worker=(),
)
sampled_at = _gauge(
    "outboxd_sampled_timestamp_seconds",
    "When lag and slots were last looked up, in seconds since 1970; they are not newer than that.",
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
    overdue_seconds.labels().set(max(0.0, -float(lag["next_due_seconds"] or 0)))
    dead_letters.labels().set(lag["dead"])
    topics_unavailable.labels().set(lag["topics_unavailable"])
    failing_messages.labels().set(lag["failing"])
    failing_seconds.labels().set(lag["failing_seconds"] or 0)
    paused.labels().set(lag["paused"])
    paused_seconds.labels().set(lag["paused_seconds"] or 0)
    sampled_at.labels().set_to_current_time()
