"""`outboxd doctor` on a cluster of three brokers: topics without enough replicas, and a broker that is away."""

from collections.abc import Iterator

import pytest
from confluent_kafka.cimpl import NewTopic

from tests.kit.command import Invoke
from tests.kit.kafka import admin
from tests.kit.waiting import eventually
from tests.servers import kafka_install
from tests.servers.kafka_cluster import KafkaCluster

# Replicas, min.insync.replicas; the mark, state and hint; and those with a broker away that has a replica of each.
TOPICS = {
    "alone": (1, 1, "warn", "1 replicas on 3 brokers", "kafka-reassign-partitions.sh adds replicas"),
    "risky": (3, 1, "warn", "min.insync.replicas: 1, replicas: 3, in sync: 3", "min.insync.replicas=2"),
    "strict": (3, 3, "warn", "min.insync.replicas: 3, replicas: 3, in sync: 3", "min.insync.replicas=2"),
    "good": (3, 2, "ok", "min.insync.replicas: 2, replicas: 3, in sync: 3", ""),
}


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three brokers with the topics."""
    cluster = KafkaCluster(kafka_install.find(), tmp_path_factory.mktemp("three"), nodes=3)
    cluster.start()
    new = [
        NewTopic(name, 1, replicas, config={"min.insync.replicas": str(least)})
        for name, (replicas, least, *_) in TOPICS.items()
    ]
    client = admin(cluster.bootstrap)
    for made in client.create_topics(new).values():
        made.result(30)
    yield cluster
    cluster.stop()


@pytest.mark.kafka
def test_topics_without_enough_replicas_are_found(invoke: Invoke, three: KafkaCluster) -> None:
    def lines(topic: str) -> list[str]:
        return invoke("doctor", kafka_bootstrap=three.bootstrap, topics=topic).output.splitlines()

    for topic, (_, _, mark, state, to_do) in TOPICS.items():
        told = lines(topic)
        place = told.index(f"{mark:4}  {f'topic {topic}':18}  {state}")
        assert to_do in told[place + 1]
    three.kill(next(node for node in three.nodes if node != three.controller))
    short = "FIX   topic strict        min.insync.replicas: 3, replicas: 3, in sync: 2"
    eventually(lambda: short in lines("strict"), seconds=60)
    told = lines("strict")
    assert "Kafka takes no record: start the brokers that are away" in told[told.index(short) + 1]
    assert "ok    topic good          min.insync.replicas: 2, replicas: 3, in sync: 2" in lines("good")
