"""What `outboxd doctor` examines of a topic that is consumed: partitions, replicas, and its settings in Kafka."""

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

from outboxd.commands.doctor.finding import PATIENCE_SECONDS, Finding, error, warn_if
from outboxd.settings import Settings

_OUTAGE_SECONDS = 86_400
"""For how long consumers may be away: over a night and the next morning."""


def findings(kafka: Any, topic: Any, brokers: int, settings: Settings) -> Iterator[Finding]:
    """Examine one topic, by its metadata and by what the brokers tell of its settings."""
    subject = f"topic {topic.topic}"
    partitions = topic.partitions.values()
    yield warn_if(
        len(partitions) < settings.consumer_workers,
        subject,
        f"{len(partitions)} partitions for {settings.consumer_workers} consumer_workers of this daemon",
        "some workers have nothing to do: lower consumer_workers, or add partitions while nothing is under way",
    )
    replicas = min(len(partition.replicas) for partition in partitions)
    yield warn_if(
        replicas < 2 <= brokers,
        subject,
        f"{replicas} replicas on {brokers} brokers",
        "one broker holds its records alone, and is missed when it is away: kafka-reassign-partitions.sh adds replicas",
    )
    told = _settings_of(kafka, topic.topic)
    if isinstance(told, str):
        yield Finding(subject, f"Kafka does not tell its settings: {told}")
        return
    alter = f"kafka-configs.sh --bootstrap-server {settings.kafka_bootstrap} --alter --topic {topic.topic} --add-config"
    yield _in_sync(subject, partitions, int(told["min.insync.replicas"]), alter)
    kept_ms, longest = int(told["retention.ms"]), max(_OUTAGE_SECONDS, settings.stale_seconds)
    yield warn_if(
        0 <= kept_ms < longest * 1000,
        subject,
        "retention.ms: " + (f"{kept_ms / 3_600_000:.1f} hours" if kept_ms >= 0 else "for ever"),
        f"consumers that are away for longer find their records gone; each is sent again {settings.stale_seconds} s"
        f" later: {alter} retention.ms={longest * 7000}",
    )
    yield warn_if(
        "compact" in told["cleanup.policy"],
        subject,
        f"cleanup.policy: {told['cleanup.policy']}",
        "of the records of one key, compaction keeps the last: what consumers have not read by then is sent again"
        f" late, or out of order for others who read: {alter} cleanup.policy=delete",
    )


def _in_sync(subject: str, partitions: Any, least: int, alter: str) -> Finding:
    """Whether records can be produced with acks=all, also when one broker is away."""
    replicas = min(len(partition.replicas) for partition in partitions)
    in_sync = min(len(partition.isrs) for partition in partitions)
    state = f"min.insync.replicas: {least}, replicas: {replicas}, in sync: {in_sync}"
    if least > replicas:
        return error(subject, state, f"Kafka takes no record: {alter} min.insync.replicas={max(replicas - 1, 1)}")
    if least > in_sync:
        return error(subject, state, "Kafka takes no record: start the brokers that are away")
    if least == replicas > 1:
        return warn_if(
            True, subject, state, f"with one broker away nothing is sent: {alter} min.insync.replicas={replicas - 1}"
        )
    return warn_if(
        least == 1 < replicas,
        subject,
        state,
        f"a record that was acknowledged is lost with one broker: {alter} min.insync.replicas=2",
    )


def _settings_of(kafka: Any, topic: str) -> Mapping[str, str] | str:
    """The topic's settings by name, or why Kafka does not tell them."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (answer,) = kafka.describe_configs([resource], request_timeout=PATIENCE_SECONDS).values()
    try:
        return {name: entry.value for name, entry in answer.result().items()}
    except KafkaException as wrong:
        return str(wrong.args[0].str())
