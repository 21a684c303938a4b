"""A consumer group as the brokers know it: its members, and how far it has read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

Offsets = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the group, and the topics and partitions that it reads."""

    client_id: str
    host: str
    partitions: list[tuple[str, int]]


def members(kafka: Any, group: str, seconds: float) -> list[Member]:
    """Who is in the group. Raises KafkaException, as the others here, where the brokers do not tell within seconds."""
    answer = kafka.describe_consumer_groups([group], request_timeout=seconds)[group].result()
    return [
        Member(
            one.client_id,
            one.host.removeprefix("/"),
            sorted((place.topic, place.partition) for place in one.assignment.topic_partitions)
            if one.assignment
            else [],
        )
        for one in answer.members
    ]


def committed(kafka: Any, group: str, seconds: float) -> Offsets:
    """Where the group is, of each partition that it has ever committed."""
    (answer,) = kafka.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=seconds
    ).values()
    places = answer.result().topic_partitions
    return {(place.topic, place.partition): place.offset for place in places if place.offset >= 0}


def ends(kafka: Any, places: Offsets, seconds: float) -> Offsets:
    """The offsets behind the last records of these partitions."""
    if not places:
        return {}
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(topic, partition): latest for topic, partition in places}
    answers = kafka.list_offsets(wanted, request_timeout=seconds)
    return {(place.topic, place.partition): answer.result().offset for place, answer in answers.items()}
