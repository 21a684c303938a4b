"""Every client of Kafka is polled each second, whatever its worker does: long handlers, nothing, or waiting."""

import psutil
import pytest

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topic, put
from tests.kit.mock_cluster import MockCluster
from tests.kit.names import unused
from tests.kit.observing import OBSERVED, application, observe
from tests.kit.operators import fill
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, chat_payload
from tests.servers.kafka import RunningKafka

PAUSED = 'outboxd_partitions_paused{worker="consumer-0"}'
LEAST_MS = 6_000  # a broker's least session timeout
WARM_UP_SECONDS, SECONDS = 8, 16


@pytest.mark.kafka
def test_handler_that_runs_long_costs_the_membership_of_no_group(
    start_daemon: StartDaemon, kafka_broker: RunningKafka, db: Session
) -> None:
    topic = create_topic(kafka_broker.bootstrap, 1)
    with application(db) as app:
        app.business("slow", f"DO SLEEP({2 * LEAST_MS / 1000}); INSERT INTO app_effects (message) VALUES (p_id)")
        seen = observe(
            start_daemon(
                **OBSERVED,
                topics=topic,
                group=unused("group"),
                kafka_bootstrap=kafka_broker.bootstrap,
                kafka_options={"session.timeout.ms": LEAST_MS, "max.poll.interval.ms": LEAST_MS},
            )
        )
        messages = [db.enqueue(key, biz_type="slow", topic=topic) for key in "ab"]
        seen.daemon.eventually(lambda: app.effects() == messages, "both took effect")
        assert seen.daemon.events("Kafka error") == []
        assert seen.daemon.stop() == 0
        assert db.column("SELECT retry_count FROM agent_outbox_messages") == [0, 0]


def test_memory_is_flat_beside_a_broker_that_refuses_connections(start_daemon: StartDaemon, db: Session) -> None:
    """The clients try each millisecond: within seconds as often as in a day at the usual pace, once in 10 s."""
    db.enqueue(topic="chat")
    seen = observe(
        start_daemon(
            **OBSERVED,
            topics="chat",
            kafka_bootstrap="127.0.0.1:1",
            kafka_options={"reconnect.backoff.ms": 1, "reconnect.backoff.max.ms": 1},
        )
    )
    process = psutil.Process(seen.daemon.pid)
    seen.daemon.outlives(WARM_UP_SECONDS)
    before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
    seen.daemon.outlives(SECONDS)
    assert process.memory_info().rss - before < 4 << 20
    assert sum(process.cpu_times()[:2]) - used < SECONDS


def test_partition_of_a_locked_lane_is_paused_at_its_bound_and_the_others_go_on(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session, connect: Connect
) -> None:
    cluster.create_topic("chat", partitions=2)
    messages = fill(db, 5_500, "published")
    db.execute("UPDATE agent_outbox_messages SET message_key = 'hot', payload = %s", chat_payload())
    holder = connect()
    holder.execute("START TRANSACTION")
    holder.rows("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", messages[0])

    def records(partition: int, *ids: int) -> None:
        source = db.source()
        (created_at,) = set(db.column(f"SELECT created_at FROM agent_outbox_messages WHERE id IN {(*ids, 0)}"))
        headers = {"ce_source": source, "ce_type": CHAT, "ce_time": f"{created_at.isoformat()}Z"}
        key = db.message(ids[0])["message_key"]
        put(
            cluster.bootstrap,
            "chat",
            *({"partition": partition, "key": key, "headers": headers | {"ce_id": str(id_)}} for id_ in ids),
        )

    records(0, *messages)
    seen = observe(start_daemon("--only", "consumer", **OBSERVED))
    seen.eventually(lambda now: now.get(PAUSED) == 1, "the partition is paused")
    other = db.enqueue_published("other")
    records(1, other)
    seen.daemon.eventually(lambda: db.message(other)["status"] == "consumed", "the other partition goes on")
    assert db.message(messages[1])["status"] == "published"
    holder.execute("ROLLBACK")
    seen.daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all is consumed", seconds=90)
    seen.eventually(lambda now: now.get(PAUSED) == 0, "the partition is fetched from again")
    assert db.value("SELECT COUNT(*) FROM chat_histories") == len(messages) + 1
