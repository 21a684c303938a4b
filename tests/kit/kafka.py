"""Kafka as any other client sees it: topics are made, records are put and read."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kit.names import unused

# A mock cluster takes any timeout, so that a member that was killed is missed within a second.
QUICK_GROUP = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 200, "fetch.wait.max.ms": 50}

_PATIENCE_S = 30.0
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a plain consumer gets it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int = 0
    offset: int = 0
    timestamp_ms: int = 0

    @property
    def id(self) -> int:
        """The outbox id of the message that it is, by its header ce_id. Raises KeyError where it has none."""
        return int(dict(self.headers)["ce_id"] or b"")

    @property
    def source(self) -> str:
        """Whose outbox it is from, by its header ce_source. Raises KeyError where it has none."""
        return (dict(self.headers)["ce_source"] or b"").decode()


def admin(bootstrap: str) -> AdminClient:
    """A client that makes changes."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def create_topics(
    bootstrap: str, topics: Sequence[str], partitions: int, replicas: int = 1, config: Mapping[str, str] | None = None
) -> None:
    """Make topics; they are there when this returns."""
    new = [NewTopic(topic, partitions, replicas, config=dict(config or {})) for topic in topics]
    client = admin(bootstrap)  # which must live until its answers are there
    for made in client.create_topics(new).values():
        made.result(_PATIENCE_S)


def create_topic(bootstrap: str, partitions: int = 4, **config: str) -> str:
    """Make a topic of an unused name on a real broker, and return the name."""
    name = unused("topic")
    create_topics(bootstrap, [name], partitions, config=config)
    return name


def put(bootstrap: str, topic: str, *records: Mapping[str, Any]) -> None:
    """Produce records as any client may: keyword arguments of Producer.produce()."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    errors: list[Any] = []
    for record in records:
        producer.produce(topic, on_delivery=lambda error, _: errors.append(error), **record)
    producer.flush(_PATIENCE_S)
    assert errors == [None] * len(records)


def read_back(bootstrap: str, topic: str, count: int) -> list[Record]:
    """The first records of a topic, read without a group, partition by partition in their order."""
    with _consumer(bootstrap) as consumer:
        partitions = consumer.list_topics(topic, timeout=_PATIENCE_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        records: list[Record] = []
        deadline = time.monotonic() + _PATIENCE_S
        while len(records) < count and time.monotonic() < deadline:
            record = consumer.poll(0.2)
            if record is not None and record.error() is None:
                records.append(_record(record))
        assert len(records) == count
        return records


def read_all(bootstrap: str, topics: Sequence[str]) -> list[Record]:
    """All that the topics hold. Raises TimeoutError if no record comes for some time before their ends."""
    with _consumer(bootstrap) as consumer:
        return list(_to_the_ends(consumer, topics))


def count_records(bootstrap: str, topics: Sequence[str]) -> int:
    """How many records the topics hold."""
    with _consumer(bootstrap) as consumer:
        return sum(end - begin for begin, end in _offsets(consumer, topics).values())


def members(bootstrap: str, group: str) -> list[str]:
    """The client.ids of the members of a consumer group that have partitions."""
    client = admin(bootstrap)  # which must live until its answer is there
    try:
        described = client.describe_consumer_groups([group])[group].result(_PATIENCE_S)
    except KafkaException:  # its coordinator is being found
        return []
    return [member.client_id for member in described.members if member.assignment.topic_partitions]


@contextmanager
def joined(bootstrap: str, group: str, client_id: str, topic: str) -> Iterator[None]:
    """Be a member of a consumer group, with partitions, while the block runs."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "client.id": client_id,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 2 * _PATIENCE_S
        while not consumer.assignment():
            assert time.monotonic() < deadline, "no partitions"
            consumer.poll(0.2)
        yield
    finally:
        consumer.close()


def _to_the_ends(consumer: Any, topics: Sequence[str]) -> Iterator[Record]:
    places = {place: offsets for place, offsets in _offsets(consumer, topics).items() if offsets[0] < offsets[1]}
    ends = {place: end for place, (_, end) in places.items()}
    consumer.assign([TopicPartition(*place, begin) for place, (begin, _) in places.items()])
    while ends:
        first = consumer.poll(_PATIENCE_S)
        if first is None:
            raise TimeoutError(f"no records for {_PATIENCE_S:.0f} s before the ends of {sorted(ends)}")
        for record in [first, *consumer.consume(_BATCH, 0)]:
            if record.error() is not None:
                continue
            yield _record(record)
            place = record.topic(), record.partition()
            if record.offset() + 1 >= ends.get(place, 0):
                ends.pop(place, None)


def _offsets(consumer: Any, topics: Sequence[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """Of each partition the offset of the first record, and the one behind the last."""
    known = consumer.list_topics(timeout=_PATIENCE_S).topics
    places = [(topic, number) for topic in topics for number in known[topic].partitions]
    return {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=_PATIENCE_S) for place in places}


@contextmanager
def _consumer(bootstrap: str) -> Iterator[Any]:
    """A consumer that is in no group: the name is required, and commits nothing."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": unused("reads"), "enable.auto.commit": False, "log_level": 0}
    )
    try:
        yield consumer
    finally:
        consumer.close()


def _record(message: Any) -> Record:
    headers = message.headers() or []
    where = message.topic(), message.key(), message.value(), headers, message.partition(), message.offset()
    return Record(*where, message.timestamp()[1])
