"""What `outboxd doctor` examines of the consumer group: who is in it, and whether it gets on."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from outboxd.commands.doctor.finding import PATIENCE_SECONDS, Finding, error, error_if
from outboxd.settings import Settings

WATCH_SECONDS = 5
"""For how long a group with records to read must commit nothing to be called stuck; consumers commit each second."""
_Offsets = Mapping[tuple[str, int], int]


def findings(kafka: Any, settings: Settings) -> Iterator[Finding]:
    """Whether other installations, or other programs, take partitions of the group, and whether records are read."""
    if not settings.group or "client.id" in settings.kafka_options:
        return
    answer = kafka.describe_consumer_groups([settings.group], request_timeout=PATIENCE_SECONDS)[settings.group]
    try:
        members = [member.client_id for member in answer.result().members]
    except KafkaException as wrong:
        yield Finding("consumer group", f"{settings.group}: Kafka does not tell its members: {wrong.args[0].str()}")
        return
    installation = settings.client_id.rpartition("-")[2]
    others = sorted({member for member in members if not member.endswith(f"-{installation}")})
    yield error_if(
        bool(others),
        "consumer group",
        f"{settings.group}: {len(members)} members" + (f", not of this outbox: {', '.join(others)}" if others else ""),
        "each installation needs a group of its own: unset the setting group, or set another one",
    )
    try:
        yield _progress(kafka, settings.group, sorted(set(members)))
    except KafkaException as wrong:
        yield Finding("records to read", f"Kafka does not tell: {wrong.args[0].str()}")


def _progress(kafka: Any, group: str, members: Sequence[str]) -> Finding:
    before = _committed(kafka, group)
    ends = _ends(kafka, before)
    behind = sum(max(ends[place] - offset, 0) for place, offset in before.items())
    state = f"{behind} in {len(before)} partitions"
    if behind and not members:
        return error("records to read", f"{state}, and nobody is in the group", "start a consumer: outboxd run")
    until = time.monotonic() + WATCH_SECONDS
    while behind and time.monotonic() < until:
        time.sleep(0.5)
        now = _committed(kafka, group)
        if any(now.get(place, 0) > offset for place, offset in before.items()):
            return Finding("records to read", f"{state}, and they are being read")
    return error_if(
        behind > 0,
        "records to read",
        f"{state}; within {WATCH_SECONDS} s nothing was committed" if behind else state,
        f"the consumers ({', '.join(members)}) are stuck: their logs say at what (a handler that hangs, a lock); what"
        " hangs for ever ends with KILL of its session, or a restart of the daemon",
    )


def _committed(kafka: Any, group: str) -> _Offsets:
    """Where the group is, of each partition that it has ever committed."""
    (answer,) = kafka.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=PATIENCE_SECONDS
    ).values()
    places = answer.result().topic_partitions
    return {(place.topic, place.partition): place.offset for place in places if place.offset >= 0}


def _ends(kafka: Any, places: _Offsets) -> _Offsets:
    if not places:
        return {}
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(topic, partition): latest for topic, partition in places}
    answers = kafka.list_offsets(wanted, request_timeout=PATIENCE_SECONDS)
    return {(place.topic, place.partition): answer.result().offset for place, answer in answers.items()}
