"""Every client of Kafka is polled each second, whatever its worker does: long handlers, nothing, or waiting."""

import psutil
import pytest

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topic
from tests.kit.names import unused
from tests.kit.observing import OBSERVED, application, observe
from tests.kit.session import Session
from tests.servers.kafka import RunningKafka

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
