"""Avro and a schema registry: framed by its own serializer, sent by the outbox, read back by its own deserializer."""

from pathlib import Path

import pytest

from tests.clients.shop import CACHE, Shop
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topic, read_back
from tests.servers.kafka import RunningKafka


@pytest.mark.kafka
def test_avro_of_a_schema_registry_comes_back_as_it_was(
    shop: Shop, command: list[str | Path], registry: str, kafka_broker: RunningKafka, start_daemon: StartDaemon
) -> None:
    shop.clean()
    topic = create_topic(kafka_broker.bootstrap, 1)
    where = {"TOPIC": topic, "REGISTRY": registry, "BOOTSTRAP": kafka_broker.bootstrap}
    assert shop.run([*command, "Registry", "send"], CACHE, variables=where) == []
    start_daemon("--only", "relay", mysql_url=shop.url, kafka_bootstrap=kafka_broker.bootstrap, kafka_options={})

    received = shop.run([*command, "Registry", "receive"], CACHE, variables=where)
    records = read_back(kafka_broker.bootstrap, topic, 3)
    sizes = [-1 if record.value is None else len(record.value) for record in records]
    assert received == [
        {"case": "received", "key": "Ada", "order": 1 << 40, "customer": "Ada", "size": sizes[0]},
        {"case": "received", "key": "Bob 🎉", "order": 1 << 40, "customer": "Bob 🎉", "size": sizes[1]},
        {"case": "received", "key": "Ada", "order": 0, "customer": "", "size": -1},
    ]
    # A zero byte, and the schema's id in four: what every deserializer of the field expects.
    assert {record.value[:4] for record in records if record.value} == {b"\0" * 4}
    types = [dict(record.headers).get("content-type") for record in records]
    assert types == [b"application/avro"] * 3
