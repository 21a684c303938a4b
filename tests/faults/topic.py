"""What the topics hold in the end, read as a consumer of another group would."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from tests.faults.ledger import Entry

_DEADLINE_S = 30.0
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an outbox."""

    id: int
    topic: str
    key: str
    value: bytes

    def is_of(self, entry: Entry) -> bool:
        """Whether this is the message that its application has enqueued."""
        chat = json.loads(self.value)
        told = (entry.id, entry.topic, entry.key, entry.user_id, entry.key, entry.role, entry.text)
        in_payload = (chat["user_id"], chat["conversation_id"], chat["role"], chat["message"])
        return told == (self.id, self.topic, self.key, *in_payload)


def read(bootstrap: str, topics: Sequence[str]) -> list[Record]:
    """Read all that the topics hold. Raises TimeoutError if no record comes for some time before their ends."""
    client = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reads all", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        return list(_records(client, topics))
    finally:
        client.close()


def _records(client: Any, topics: Sequence[str]) -> Iterator[Record]:
    known = client.list_topics(timeout=_DEADLINE_S).topics
    ends: dict[tuple[str, int], int] = {}
    begins: list[TopicPartition] = []
    for topic in topics:
        for number in known[topic].partitions:
            begin, end = client.get_watermark_offsets(TopicPartition(topic, number), timeout=_DEADLINE_S)
            if begin < end:
                ends[topic, number] = end
                begins.append(TopicPartition(topic, number, begin))
    client.assign(begins)
    while ends:
        first = client.poll(_DEADLINE_S)
        if first is None:
            raise TimeoutError(f"no records for {_DEADLINE_S:.0f} s before the ends of {sorted(ends)}")
        for record in [first, *client.consume(_BATCH, 0)]:
            if record.error() is not None:
                continue
            yield Record(int(dict(record.headers())["ce_id"]), record.topic(), record.key().decode(), record.value())
            place = record.topic(), record.partition()
            if record.offset() + 1 >= ends.get(place, 0):
                ends.pop(place, None)
