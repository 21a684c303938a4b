"""What a cluster says of topics, and how topics are set up otherwise; each question is asked by a client of its own.

A client from before a fault may hang on a broker that the fault has taken away.
"""

from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    PartitionMetadata,
    ResourceType,
)

from tests.kit.kafka import admin

_ASK_S = 5.0
_CHANGE_S = 30.0

Places = dict[tuple[str, int], int]
"""A number for each partition of some topics."""


def leaders(bootstrap: str, topics: Sequence[str]) -> Places:
    """The node that leads each partition; -1 where none does."""
    return {place: partition.leader for place, partition in _partitions(bootstrap, topics).items()}


def in_sync(bootstrap: str, topics: Sequence[str]) -> Places:
    """How many replicas of each partition are in sync."""
    return {place: len(partition.isrs) for place, partition in _partitions(bootstrap, topics).items()}


def are_all_in_sync(bootstrap: str, topics: Sequence[str], replicas: int) -> bool:
    """Whether each partition has so many replicas in sync; not where the cluster cannot answer at the moment."""
    return answers(lambda: min(in_sync(bootstrap, topics).values()) == replicas)


def ends(bootstrap: str, places: Iterable[tuple[str, int]]) -> Places:
    """The offset behind the last record that is acknowledged in each partition."""
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": "asks for ends", "log_level": 0})
    try:
        return {place: client.get_watermark_offsets(TopicPartition(*place), timeout=_ASK_S)[1] for place in places}
    finally:
        client.close()


def answers(condition: Callable[[], bool]) -> bool:
    """Whether it holds; not where the cluster cannot answer at the moment."""
    try:
        return condition()
    except KafkaException:
        return False


def change_topics(bootstrap: str, topics: Iterable[str], setting: str, value: int | None) -> None:
    """Give topics a setting; None takes it back."""
    _change(bootstrap, ResourceType.TOPIC, topics, setting, value)


def change_brokers(bootstrap: str, nodes: Iterable[int], setting: str, value: int | None) -> None:
    """Give brokers a setting; None takes it back."""
    _change(bootstrap, ResourceType.BROKER, map(str, nodes), setting, value)


def delete_topics(bootstrap: str, topics: Sequence[str]) -> None:
    """With all that is in them."""
    client = admin(bootstrap)
    for deleted in client.delete_topics(list(topics)).values():
        deleted.result(_CHANGE_S)


def add_partitions(bootstrap: str, topics: Sequence[str], partitions: int) -> None:
    """Let topics have so many; their records stay where they are."""
    client = admin(bootstrap)
    for made in client.create_partitions([NewPartitions(topic, partitions) for topic in topics]).values():
        made.result(_CHANGE_S)


def set_to_beginning(bootstrap: str, group: str, topics: Sequence[str]) -> None:
    """Let a group that has no members take all that is in the topics once more."""
    offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(*place, 0) for place in leaders(bootstrap, topics)])
    client = admin(bootstrap)
    for altered in client.alter_consumer_group_offsets([offsets]).values():
        altered.result(_CHANGE_S)


def _change(bootstrap: str, kind: ResourceType, names: Iterable[str], setting: str, value: int | None) -> None:
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    client = admin(bootstrap)
    for name in names:
        entry = ConfigEntry(setting, None if value is None else str(value), incremental_operation=operation)
        resource = ConfigResource(kind, name, incremental_configs=[entry])
        for changed in client.incremental_alter_configs([resource]).values():
            changed.result(_CHANGE_S)


def _partitions(bootstrap: str, topics: Sequence[str]) -> dict[tuple[str, int], PartitionMetadata]:
    known = admin(bootstrap).list_topics(timeout=_ASK_S).topics
    return {(topic, number): partition for topic in topics for number, partition in known[topic].partitions.items()}
