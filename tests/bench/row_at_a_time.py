"""The legacy way: everything message by message, relay and consumer each a process of its own."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from tests.bench.measurement import Measurement, rate
from tests.bench.stage import DATABASE, BenchError, Stage
from tests.kit.server import Server

_LIST = 100
_STALLED_AFTER_S = 60.0


def _sample(stage: Stage) -> float:
    """Messages per second, from the relay's first call to the last row of chat_histories."""
    messages = stage.sizes.row_at_a_time_messages
    stage.clear()
    topic = stage.new_topic()
    stage.fill(messages, topic)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool, stage.connect() as session:
        consuming = pool.submit(_consume, stage.server, stage.kafka.bootstrap, topic, messages)
        relaying = pool.submit(_relay, stage.server, stage.kafka.bootstrap)
        seconds = consuming.result() - relaying.result()
        written = session.value("SELECT COUNT(*) FROM chat_histories")
    if written != messages:
        raise BenchError(f"row at a time made {written} rows of {messages} messages")
    return messages / seconds


def _relay(server: Server, bootstrap: str) -> float:
    """List, and for each message get, produce, wait and mark, until nothing is due; returns when it began."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 0, "log_level": 2}
    )
    with server.connect(DATABASE) as session:
        producer.list_topics(timeout=30)
        began = time.monotonic()
        while due := session.call("outbox_list_due_v1", _LIST):
            for row in due:
                (message,) = session.call("outbox_get_v1", row["id"])
                producer.produce(
                    message["topic"],
                    key=message["message_key"],
                    value=message["payload"],
                    headers=[("id", str(message["id"]))],
                    on_delivery=_raise_error,
                )
                producer.flush()
                session.call("outbox_mark_published_v1", message["id"])
    return began


def _consume(server: Server, bootstrap: str, topic: str, messages: int) -> float:
    """Persist record by record and commit each offset, without waiting for that; returns when the last was written."""
    consumer: Any = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 500,
        }
    )
    consumer.subscribe([topic])
    try:
        with server.connect(DATABASE) as session:
            for _ in range(messages):
                record = consumer.poll(_STALLED_AFTER_S)
                if record is None or record.error():
                    raise BenchError(f"no record: {record and record.error()}")
                message_id = dict(record.headers())["id"].decode()
                session.call("outbox_persist_chat_history_v1", message_id, record.value().decode())
                consumer.commit(message=record, asynchronous=True)
        return time.monotonic()
    finally:
        consumer.close()


def _raise_error(error: KafkaError | None, _: Any) -> None:
    if error is not None:
        raise KafkaException(error)


MEASUREMENT = Measurement(
    keys=("row_at_a_time_per_s",),
    title="the legacy way: row at a time",
    sample=_sample,
    summarise=rate(
        "row_at_a_time_per_s", "list 100, then get, produce, ack, mark each; a second process persists each; no pauses"
    ),
)
