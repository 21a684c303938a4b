"""What `outboxd doctor` examines in Kafka: brokers, topics, the group, and whose records are there."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import mysql.connector
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from outboxd.commands.doctor import group, topics
from outboxd.commands.doctor.finding import PATIENCE_SECONDS, Finding, error, error_if
from outboxd.kafka.client import connect
from outboxd.kafka.records import ForeignRecord, parse
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.retry import Unavailable
from outboxd.settings import Settings

_LAST_RECORDS = 20


def findings(settings: Settings, database: ConsumerProcedures | None, *, has_source: bool) -> Iterator[Finding]:
    """Examine everything; database is None where it does not answer.

    Where a source was set, it tells whether all records under it are this outbox's.
    """
    errors: list[KafkaError] = []
    kafka = connect(AdminClient, settings, {"error_cb": errors.append})
    try:
        there = kafka.list_topics(timeout=PATIENCE_SECONDS)
    except KafkaException as wrong:
        to_do = f"see that {settings.kafka_bootstrap} answers, and check kafka_options"
        kafka.poll(0)
        # The first says why, such as a certificate; later ones and the exception only that nobody answers.
        yield error("Kafka", (errors or wrong.args)[0].str(), to_do)
        return
    yield Finding("Kafka", f"brokers: {len(there.brokers)}")
    retry_topics: list[str] = []
    if database is not None:
        with suppress(Unavailable, mysql.connector.Error):  # of its rights, another finding tells
            retry_topics = sorted(database.inbox().retry_topics)
    if not settings.topics:
        yield Finding("topics", "none are consumed: setting topics is empty")
    found: set[str] = set()
    for wanted in [*settings.topics, *retry_topics]:
        names = _matching(wanted, there.topics)
        if not names:
            make = f"kafka-topics.sh --bootstrap-server {settings.kafka_bootstrap} --create --topic {wanted}"
            yield error(f"topic {wanted}", "is not there", make if wanted[0] != "^" else "make one that matches it")
        found.update(names)
    for name in sorted(found):
        yield from topics.findings(kafka, there.topics[name], len(there.brokers), settings)
    yield from group.findings(kafka, settings)
    if database is not None and has_source and found:
        yield _records(database, settings, {name: sorted(there.topics[name].partitions) for name in sorted(found)})


def _matching(wanted: str, topics: dict[str, Any]) -> list[str]:
    if wanted.startswith("^"):
        return sorted(name for name in topics if re.search(wanted, name))
    return [wanted] if wanted in topics and topics[wanted].error is None else []


def _records(database: ConsumerProcedures, settings: Settings, partitions: dict[str, list[int]]) -> Finding:
    """Whether another installation writes records under the source that was set for this one."""
    own, wrong = 0, ""
    for record in _last_records(settings, partitions):
        with suppress(ForeignRecord):
            (outcome,) = database.recognize([parse(record, settings.source)])
            own += 1
            if outcome.outcome == "foreign":
                wrong = f"{record.topic()}[{record.partition()}]@{record.offset()}: {outcome.error}"
    return error_if(
        bool(wrong),
        "source",
        f"{settings.source}: "
        + (f"not all records under it are this outbox's: {wrong}" if wrong else f"{own} records"),
        "another installation has the same setting source: unset it here, or there. After a restore of MySQL, such"
        " records are of what was lost: they change nothing",
    )


def _last_records(settings: Settings, partitions: dict[str, list[int]]) -> list[Any]:
    """The last records of each partition."""
    consumer = connect(Consumer, settings, {"group.id": "outboxd-doctor", "enable.auto.commit": False})
    try:
        starts = []
        for topic, numbers in partitions.items():
            for number in numbers:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE_SECONDS)
                if high > low:
                    starts.append(TopicPartition(topic, number, max(low, high - _LAST_RECORDS)))
        consumer.assign(starts)
        records = consumer.consume(_LAST_RECORDS * len(starts), timeout=PATIENCE_SECONDS) if starts else []
        return [record for record in records if record.error() is None]
    finally:
        consumer.close()
