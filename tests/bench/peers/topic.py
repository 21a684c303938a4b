"""The topic that a peer writes to, as others see it: how much is in it, and when each message came."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import confluent_kafka.admin
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.bench.peers.arrived import Arrived, count
from tests.bench.stage import PARTITIONS, BenchError, Stage
from tests.kit.kafka import Record, create_topics, read_all
from tests.kit.names import unused
from tests.kit.waiting import eventually

_POLL_S = 0.02
_STALLED_AFTER_S = 60.0
_LOST_AFTER_S = 10.0
_WARM_UP = 5000
_LATEST: Any = vars(confluent_kafka.admin)["OffsetSpec"].latest()


class Topic:
    """One topic of the broker, whose records have the time of their arrival there."""

    def __init__(self, stage: Stage) -> None:
        self.name = unused("peers")
        self._bootstrap = stage.kafka.bootstrap
        self._keys = {number: chat.conversation_id for number, chat in enumerate(stage.chat, 1)}
        self._admin: Any = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        create_topics(self._bootstrap, [self.name], PARTITIONS, config={"message.timestamp.type": "LogAppendTime"})
        eventually(self._has_leaders, what=f"{self.name} has leaders")

    def size(self) -> int:
        """How many records it has."""
        places = {TopicPartition(self.name, number): _LATEST for number in range(PARTITIONS)}
        return sum(end.result().offset for end in self._admin.list_offsets(places).values())

    def _has_leaders(self) -> bool:
        with suppress(KafkaException):
            return self.size() == 0
        return False

    def wait(self, records: int, look: Callable[[int], None]) -> None:
        """Wait until it has so many records, or no more come; `look` is told at each look how many it has.

        Raises BenchError where none has come for a minute.
        """
        last, moved_at = -1, time.monotonic()
        while (now := self.size()) < records:
            look(now)
            if now != last:
                last, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > (_LOST_AFTER_S if now else _STALLED_AFTER_S):
                if now == 0:
                    raise BenchError(f"nothing was produced for {_STALLED_AFTER_S:.0f} s")
                return
            time.sleep(_POLL_S)
        look(now)

    def records(self) -> list[tuple[int, Record]]:
        """All records, with the number of the message that each is."""
        return [(_number(record.value), record) for record in read_all(self._bootstrap, [self.name])]

    def arrived(self, first: int, last: int) -> Arrived:
        """What it has of the messages of these numbers."""
        keys = {number: self._keys[number] for number in range(first, last + 1)}
        return count(keys, [one for one in self.records() if one[0] in keys])


def follow(bootstrap: str, topic: str, first: int, last: int) -> dict[int, float]:
    """Read the topic from its beginning until it has had the messages of these numbers; for a process of its own.

    Returns when each arrived here, by the wall clock. Those that never do are not in it.
    """
    consumer: Any = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
    )
    arrived: dict[int, float] = {}
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    moved_at = time.monotonic()
    try:
        while len(arrived) <= last - first and time.monotonic() - moved_at < _STALLED_AFTER_S:
            record = consumer.poll(0.1)
            if record is not None and record.error() is None:
                now, number = time.time(), _number(record.value())
                moved_at = time.monotonic()
                if first <= number <= last:
                    arrived.setdefault(number, now)
    finally:
        with suppress(RuntimeError):
            consumer.close()
    return arrived


def warm_up(stage: Stage, records: int) -> None:
    """Let the broker compile what it does for records alone and for many, which the first peer would else pay for."""
    topic = Topic(stage).name
    producer = Producer({"bootstrap.servers": stage.kafka.bootstrap, "linger.ms": 0, "log_level": 0})
    for number in range(min(records, _WARM_UP)):
        producer.produce(topic, stage.chat[0].payload.encode(), key=str(number).encode())
        producer.flush()
    for number in range(records):
        producer.produce(topic, stage.chat[number].payload.encode(), key=str(number).encode())
        producer.poll(0)
    producer.flush()
    read_all(stage.kafka.bootstrap, [topic])


def _number(value: bytes | None) -> int:
    """A message's number is the user of its chat."""
    return int(json.loads(value or b"{}")["user_id"])
