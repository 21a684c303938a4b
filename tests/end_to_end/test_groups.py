"""What a consumer group refuses, on real brokers: the daemon says it, and is not ready or ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topic
from tests.kit.names import unused
from tests.kit.observing import OBSERVED, observe
from tests.kit.session import Session
from tests.servers import kafka, kafka_install, process
from tests.servers.kafka import RunningKafka
from tests.servers.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


@contextmanager
def member(broker: RunningKafka, topic: str, group: str, **options: Any) -> Iterator[None]:
    """Another program's member of the group, that has partitions."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": group, "log_level": 0}
        | {name.replace("_", "."): value for name, value in options.items()}
    )
    try:
        consumer.subscribe([topic])
        while not consumer.assignment():
            consumer.poll(0.2)
        yield
    finally:
        consumer.close()


def test_member_that_is_fenced_by_another_of_its_name_ends_the_daemon(
    start_daemon: StartDaemon, kafka_broker: RunningKafka, db: Session
) -> None:
    topic, group = create_topic(kafka_broker.bootstrap, 1), unused("group")
    seen = observe(
        start_daemon(
            *("--only", "consumer"),
            **OBSERVED,
            topics=topic,
            group=group,
            kafka_bootstrap=kafka_broker.bootstrap,
            kafka_options={"group.instance.id": "one"},
        )
    )
    seen.turns("/readyz", 200, "ok")
    assert db.messages() == []
    with member(
        kafka_broker, topic, group, group_instance_id="one", partition_assignment_strategy="cooperative-sticky"
    ):
        assert seen.daemon.wait() == 1
    (failed,) = seen.daemon.events("failed")
    assert "fenced" in failed["error"].lower()


def test_group_with_another_strategy_makes_the_daemon_not_ready_and_is_said(
    start_daemon: StartDaemon, kafka_broker: RunningKafka, db: Session
) -> None:
    assert db.messages() == []
    topic, group = create_topic(kafka_broker.bootstrap, 1), unused("group")
    with member(kafka_broker, topic, group, partition_assignment_strategy="range"):
        seen = observe(
            start_daemon(
                *("--only", "consumer"),
                **OBSERVED,
                topics=topic,
                group=group,
                kafka_bootstrap=kafka_broker.bootstrap,
                kafka_options={},
            )
        )
        seen.daemon.says("Kafka error", error="INCONSISTENT_GROUP_PROTOCOL")
        seen.turns("/readyz", 503, "consumer-0 is in no consumer group")
    seen.turns("/readyz", 200, "ok", seconds=60)


@pytest.mark.parametrize("options", [{}, {"group.protocol": "consumer"}], ids=["classic", "KIP-848"])
def test_member_for_whom_there_is_no_partition_is_ready(
    start_daemon: StartDaemon, kafka_broker: RunningKafka, db: Session, options: dict[str, str]
) -> None:
    topic = create_topic(kafka_broker.bootstrap, 1)
    seen = observe(
        start_daemon(
            **OBSERVED,
            topics=topic,
            group=unused("group"),
            consumer_workers=2,
            kafka_bootstrap=kafka_broker.bootstrap,
            kafka_options=options,
        )
    )
    seen.turns("/readyz", 200, "ok", seconds=60)
    message = db.enqueue(topic=topic)
    seen.daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "it is consumed")


def test_session_timeout_that_the_brokers_refuse_is_said(
    start_daemon: StartDaemon, kafka_broker: RunningKafka, db: Session
) -> None:
    assert db.messages() == []
    topic = create_topic(kafka_broker.bootstrap, 1)
    seen = observe(
        start_daemon(
            *("--only", "consumer"),
            **OBSERVED,
            topics=topic,
            group=unused("group"),
            kafka_bootstrap=kafka_broker.bootstrap,
            kafka_options={"session.timeout.ms": 3_500_000, "max.poll.interval.ms": 3_600_000},
        )
    )
    seen.daemon.says("Kafka error", error="INVALID_SESSION_TIMEOUT")
    seen.turns("/readyz", 503, "consumer-0 is in no consumer group")


def test_one_instance_id_for_two_workers_is_refused(start_daemon: StartDaemon, db: Session) -> None:
    assert db.messages() == []
    daemon = start_daemon("--only", "consumer", consumer_workers=2, kafka_options={"group.instance.id": "one"})
    assert daemon.wait() == 1
    assert "group.instance.id names one member" in daemon.log_file.read_text()


def test_group_that_is_full_makes_the_daemon_not_ready_and_is_said(
    start_daemon: StartDaemon, own_kafka: KafkaCluster, db: Session
) -> None:
    assert db.messages() == []
    own_kafka.start()
    topic, group = create_topic(own_kafka.bootstrap, 2), unused("group")
    base = {**OBSERVED, "topics": topic, "group": group, "kafka_bootstrap": own_kafka.bootstrap}
    first = observe(start_daemon("--only", "consumer", consumer_workers=2, **base))
    workers = [f'outboxd_partitions_assigned{{worker="consumer-{number}"}}' for number in (0, 1)]
    first.eventually(lambda now: [now.get(worker) for worker in workers] == [1, 1], "both are members")
    second = observe(start_daemon("--only", "consumer", **base))
    second.daemon.says("Kafka error", error="GROUP_MAX_SIZE_REACHED")
    second.turns("/readyz", 503, "consumer-0 is in no consumer group")
    assert first.daemon.stop() == 0
    second.turns("/readyz", 200, "ok", seconds=60)


def test_name_behind_the_bootstrap_that_does_not_resolve_is_said(
    start_daemon: StartDaemon, kafka_broker: RunningKafka, tmp_path: Path, db: Session
) -> None:
    assert kafka_broker.bootstrap
    port = process.free_port()
    advertised = {"advertised.listeners": f"PLAINTEXT://nowhere.invalid:{port}"}
    nameless = kafka.start(kafka_install.find(), tmp_path / "nameless", port=port, properties=advertised)
    try:
        message = db.enqueue(topic="chat")
        seen = observe(start_daemon(**OBSERVED, topics="chat", kafka_bootstrap=nameless.bootstrap, kafka_options={}))
        for worker in ("relay-0", "consumer-0"):
            seen.daemon.says("unavailable", worker=worker)
            assert "nowhere.invalid" in seen.daemon.events("unavailable", worker=worker)[0]["reason"]
        seen.turns("/readyz", 503, "consumer-0 is in no consumer group")
        assert db.statuses() == {message: "pending"}
    finally:
        nameless.stop()
