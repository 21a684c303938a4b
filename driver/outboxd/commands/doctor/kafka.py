"""What `outboxd doctor` examines in Kafka: the brokers, the topics, and whether their records fit into MySQL."""

import re
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from outboxd.commands.doctor.finding import Finding, fix_if
from outboxd.kafka.client import connect
from outboxd.settings import Settings

_PATIENCE_SECONDS = 3


def findings(settings: Settings, max_allowed_packet: int | None) -> Iterator[Finding]:
    """Examine everything; max_allowed_packet is MySQL's, None where it is not known."""
    errors: list[KafkaError] = []
    kafka = connect(AdminClient, settings, {"error_cb": errors.append})
    try:
        there = kafka.list_topics(timeout=_PATIENCE_SECONDS)
    except KafkaException as error:
        to_do = f"see that {settings.kafka_bootstrap} answers, and check kafka_options"
        kafka.poll(0)
        # The first says why, such as a certificate; later ones and the exception only that nobody answers.
        yield Finding("Kafka", (errors or error.args)[0].str(), to_do)
        return
    yield Finding("Kafka", f"brokers: {len(there.brokers)}")
    if not settings.topics:
        yield Finding("topics", "none are consumed: setting topics is empty")
    found: set[str] = set()
    for wanted in settings.topics:
        try:
            names = _matching(wanted, there.topics)
        except re.error as error:
            yield Finding(f"topic {wanted}", f"is no pattern: {error}", "correct setting topics")
            continue
        if not names:
            make = f"kafka-topics.sh --bootstrap-server {settings.kafka_bootstrap} --create --topic {wanted}"
            yield Finding(f"topic {wanted}", "is not there", make if wanted[0] != "^" else "make one that matches it")
        found.update(names)
    for name in sorted(found):
        yield _partitions(name, len(there.topics[name].partitions), settings)
    if max_allowed_packet is not None:
        yield from _record_sizes(kafka, sorted(found), max_allowed_packet)
        # Escaped, as a text inside JSON, a payload may grow to twice its size.
        yield fix_if(
            max_allowed_packet < 2 * settings.batch_bytes,
            "max_allowed_packet",
            f"{max_allowed_packet} bytes, batch_bytes is {settings.batch_bytes}",
            f"set batch_bytes to {max_allowed_packet // 2} or less, or max_allowed_packet to twice batch_bytes",
        )


def _matching(wanted: str, topics: dict[str, Any]) -> list[str]:
    if wanted.startswith("^"):
        return sorted(name for name in topics if re.search(wanted, name))
    return [wanted] if wanted in topics and topics[wanted].error is None else []


def _partitions(topic: str, partitions: int, settings: Settings) -> Finding:
    return fix_if(
        partitions < settings.consumer_workers,
        f"topic {topic}",
        f"{partitions} partitions for {settings.consumer_workers} consumer_workers of this daemon",
        "some workers have nothing to do: lower consumer_workers, or add partitions while nothing is under way",
    )


def _record_sizes(kafka: Any, topics: list[str], max_allowed_packet: int) -> Iterator[Finding]:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    answers = kafka.describe_configs(resources, request_timeout=_PATIENCE_SECONDS) if resources else {}
    for resource, answer in answers.items():
        subject = f"records of {resource.name}"
        try:
            largest = int(answer.result()["max.message.bytes"].value)
        except KafkaException as error:
            yield Finding(subject, f"how large they may be, Kafka does not tell: {error.args[0].str()}")
            continue
        yield fix_if(
            max_allowed_packet < 2 * largest,
            subject,
            f"up to {largest} bytes, MySQL's max_allowed_packet is {max_allowed_packet}",
            f"a record that Kafka takes may be too large to consume: SET PERSIST max_allowed_packet = {2 * largest}, or"
            " lower the topic's max.message.bytes",
        )
