"""A consumer without outboxd: confluent-kafka, and PyMySQL for a store of its own."""

import os
from typing import Any

import pymysql
from confluent_kafka import Consumer

store = pymysql.connect(
    host=os.environ["MYSQL_HOST"],
    port=int(os.environ["MYSQL_PORT"]),
    user=os.environ["MYSQL_USER"],
    database=os.environ["MYSQL_DATABASE"],
)


# docs:begin
def consume(bootstrap: str, group: str, topic: str) -> None:
    """Apply each message once: commit its effect together with the fact that it was applied, then the offset."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe([topic])
    while True:
        record = consumer.poll(1.0)
        if record is None or record.error():
            continue
        apply(dict(record.headers() or []), record.key().decode())
        consumer.store_offsets(record)


def apply(headers: dict[str, Any], key: str) -> None:
    """The effect of a message, unless it has had it: source and id say which message it is."""
    source, event = headers["ce_source"].decode(), headers["ce_id"].decode()
    with store.cursor() as cursor:
        if cursor.execute("INSERT IGNORE INTO inbox (source, id) VALUES (%s, %s)", (source, event)):
            cursor.execute("INSERT INTO effects (message, message_key) VALUES (%s, %s)", (event, key))
    store.commit()


# docs:end

consume(os.environ["BOOTSTRAP"], os.environ["GROUP"], os.environ["TOPIC"])
