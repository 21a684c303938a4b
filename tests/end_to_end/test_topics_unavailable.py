"""Topics that Kafka takes no records for, on a real cluster of three brokers: the others do not wait for them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.cimpl import NewTopic

from tests.kit.account import Account
from tests.kit.command import Invoke, Setting
from tests.kit.daemon import QUICK, StartDaemon, daemons
from tests.kit.kafka import admin
from tests.kit.observing import observe
from tests.kit.session import Session
from tests.servers import kafka_install
from tests.servers.kafka_cluster import KafkaCluster

ROUNDS = 60
# On the way of a message of the healthy topic may be the first look at a topic in trouble, or one of its attempts, and
# then the id of a new producer, which a cluster that has lost a node has taken 10 s to give.
LATE_SECONDS = 1.0
MOST_LATE = 12
SLOWEST_SECONDS = 20.0

# By topic: on which of the brokers that stay (0, 1) and on the victim (2) it is, its settings, and what is said of it.
TOPICS: dict[str, tuple[list[int], dict[str, str], str]] = {
    "healthy": ([0, 1], {"min.insync.replicas": "1"}, ""),
    "without-leader": ([2], {"min.insync.replicas": "1"}, "eader"),
    "without-replicas": ([0, 1, 2], {"min.insync.replicas": "3"}, "2 of 3 replicas"),
    "with-old-times": ([0, 1], {"min.insync.replicas": "1", "message.timestamp.before.max.ms": "0"}, "timestamp"),
    "not-there": ([], {}, "Unknown topic"),
}


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three brokers with the topics, and then two."""
    cluster = KafkaCluster(kafka_install.find(), tmp_path_factory.mktemp("three"), nodes=3)
    cluster.start()
    # Without the controller no producer gets its id.
    *staying, victim = sorted(cluster.nodes, key=lambda node: node != cluster.controller)
    new = [
        NewTopic(name, 1, replica_assignment=[[[*staying, victim][place] for place in places]], config=config)
        for name, (places, config, _) in TOPICS.items()
        if places
    ]
    client = admin(cluster.bootstrap)
    for made in client.create_topics(new).values():
        made.result(30)
    cluster.kill(victim)
    yield cluster
    cluster.stop()


@pytest.fixture
def start(account: Account, three: KafkaCluster, tmp_path: Path) -> Iterator[StartDaemon]:
    """Start a relay there."""
    base: dict[str, Setting] = {"mysql_url": account.url, "kafka_bootstrap": three.bootstrap, **QUICK}
    with daemons(tmp_path, base) as start_one:
        yield start_one


@pytest.mark.kafka
def test_topics_in_trouble_are_told_and_the_others_go_on(
    start: StartDaemon, three: KafkaCluster, db: Session, invoke: Invoke, monitor_url: str
) -> None:
    broken = {topic for topic in TOPICS if topic != "healthy"}
    seen = observe(start("--only", "relay", metrics_address="127.0.0.1:0", sample_seconds=1))
    db.enqueue("first", topic="healthy", biz_type="publish-only")
    seen.daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "the healthy topic works")
    waiting = [db.enqueue(f"{n}", topic=topic, biz_type="publish-only") for topic in sorted(broken) for n in range(5)]

    def latency(key: str) -> float:
        began = time.monotonic()
        message = db.enqueue(key, topic="healthy", biz_type="publish-only")
        seen.daemon.eventually(lambda: db.message(message)["status"] == "consumed", "it is published")
        return time.monotonic() - began

    latencies = []
    for number in range(ROUNDS):
        latencies.append(latency(f"{number}"))
        time.sleep(0.2)
    assert max(latencies) < SLOWEST_SECONDS, latencies
    assert sum(latency > LATE_SECONDS for latency in latencies) <= MOST_LATE, latencies
    assert sorted(latencies)[ROUNDS // 2] < 0.2, latencies

    rows = {row["topic"]: row["reason"] for row in db.rows("SELECT topic, reason FROM outbox_topics_unavailable")}
    # Within the same millisecond a time is not old, and that topic available for a moment.
    assert rows.keys() | {"with-old-times"} == broken
    assert {topic for topic, reason in rows.items() if TOPICS[topic][2] not in reason} == set(), rows
    told = {event["topic"] for event in seen.daemon.events("topic unavailable")}
    assert told == broken
    seen.eventually(lambda now: now["outboxd_topics_unavailable"] >= len(broken) - 1, "counted")
    left = [db.message(id_) for id_ in waiting]
    assert {row["retry_count"] for row in left} == {0}
    assert {row["topic"] for row in left if row["status"] != "pending"} <= {"with-old-times"}
    shown = invoke("top", "--once", mysql_url=monitor_url).output
    shown += invoke("doctor", kafka_bootstrap=three.bootstrap).output
    assert [topic for topic in broken - {"with-old-times"} if shown.count(topic) < 2] == []

    three.start()
    client = admin(three.bootstrap)
    for made in client.create_topics([NewTopic("not-there", 1, 1)]).values():
        made.result(30)
    back = [id_ for id_ in waiting if db.message(id_)["topic"] != "with-old-times"]
    seen.daemon.eventually(lambda: {db.message(id_)["status"] for id_ in back} == {"consumed"}, "they go on")
    back_again = {event["topic"] for event in seen.daemon.events("topic available")}
    assert back_again | {"with-old-times"} == broken
