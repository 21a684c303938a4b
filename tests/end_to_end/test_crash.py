"""SIGKILL at any moment loses nothing, writes nothing twice and keeps every conversation in its order."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit import chat
from tests.kit.checker import check
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import QUICK_GROUP, create_topic
from tests.kit.ledger import Entry, Ledger
from tests.kit.server import Connect
from tests.kit.session import Session
from tests.servers.kafka_cluster import KafkaCluster

MESSAGES = 3000
KILLS = 5


@pytest.mark.kafka
def test_daemon_that_is_killed_again_and_again_delivers_every_message_once_and_in_order(
    start_daemon: StartDaemon, own_kafka: KafkaCluster, connect: Connect, db: Session
) -> None:
    topic = create_topic(own_kafka.bootstrap)
    where = {"kafka_bootstrap": own_kafka.bootstrap, "topics": topic, "group": topic}
    lines = chat.read(chat.default_file(), MESSAGES)
    moments = random.Random(20260101)
    share = MESSAGES // KILLS
    unfinished = []
    entries: list[Entry] = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(KILLS):
            daemon = start_daemon(batch_size=100, kafka_options=QUICK_GROUP, **where)
            writing = pool.submit(chat.enqueue_all, connect(), topic, lines[number * share : (number + 1) * share])
            daemon.says("started")
            if number % 2 == 0:
                daemon.eventually(lambda: has_begun(db), "some are under way")
                daemon.outlives(moments.uniform(0, 0.1))
            else:
                daemon.outlives(moments.uniform(0.05, 1.2))
            daemon.kill()
            unfinished.append(set(db.statuses().values()) & {"pending", "published"})
            entries += writing.result(60)
    last = start_daemon(kafka_options=QUICK_GROUP, **where)
    last.eventually(lambda: count_unfinished(db) == 0, "all final", seconds=60)
    assert last.stop() == 0

    verdict = check(Ledger(entries), db)
    assert verdict.is_well, verdict.evidence
    assert verdict.messages == MESSAGES
    assert set(db.statuses().values()) == {"consumed"}
    assert db.value("SELECT MAX(retry_count) FROM agent_outbox_messages") == 0
    assert sum(map(bool, unfinished)) >= 2  # otherwise the kills would have proved nothing


def has_begun(db: Session) -> bool:
    return not {"published", "consumed"}.isdisjoint(db.statuses().values())


def count_unfinished(db: Session) -> int:
    return int(db.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE status IN ('pending', 'published')"))
