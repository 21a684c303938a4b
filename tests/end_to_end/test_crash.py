"""SIGKILL at any moment loses nothing, writes nothing twice and keeps every conversation in its order."""

import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.driver.support import QUICK_GROUP, StartDaemon, create_topic
from tests.end_to_end.chat import Chat, arrived, complaints, enqueue, read_chat
from tests.servers.kafka_cluster import KafkaCluster
from tests.sql.support import Connect, Database

MESSAGES = 3000
KILLS = 5
SMALL = [Chat(conversation, 7, "user", text) for text in ("one", "two", "three") for conversation in ("a", "b")]


@pytest.mark.kafka
def test_daemon_that_is_killed_again_and_again_delivers_every_message_once_and_in_order(
    start_daemon: StartDaemon, own_kafka: KafkaCluster, connect: Connect, db: Database
) -> None:
    topic = create_topic(own_kafka.bootstrap)
    where = {"kafka_bootstrap": own_kafka.bootstrap, "topics": topic, "group": topic}
    chats = read_chat(MESSAGES)
    moments = random.Random(20260101)
    share = MESSAGES // KILLS
    unfinished = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(KILLS):
            daemon = start_daemon(batch_size=100, kafka_options=QUICK_GROUP, **where)
            writing = pool.submit(enqueue, connect(), topic, chats[number * share : (number + 1) * share])
            daemon.says("started")
            if number % 2 == 0:
                daemon.eventually(lambda: "published" in db.statuses().values(), "some are under way")
                daemon.outlives(moments.uniform(0, 0.1))
            else:
                daemon.outlives(moments.uniform(0.05, 1.2))
            daemon.kill()
            unfinished.append(set(db.statuses().values()) & {"pending", "published"})
            writing.result(30)
    last = start_daemon(kafka_options=QUICK_GROUP, **where)
    last.eventually(lambda: count_unfinished(db) == 0, "all final", seconds=60)
    assert last.stop() == 0

    assert complaints(chats, arrived(db)) == []
    assert set(db.statuses().values()) == {"consumed"}
    assert db.value("SELECT MAX(retry_count) FROM agent_outbox_messages") == 0
    assert sum(map(bool, unfinished)) >= 2  # otherwise the kills would have proved nothing


def count_unfinished(db: Database) -> int:
    return int(db.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE status IN ('pending', 'published')"))


@pytest.fixture
def delivered(db: Database) -> Database:
    """A database in which some chat has arrived as it should."""
    enqueue(db, "chat", SMALL)
    outcomes = db.consume(*db.statuses())
    assert set(outcomes.values()) == {"consumed"}
    assert complaints(SMALL, arrived(db)) == []
    return db


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("DELETE FROM chat_histories WHERE message_content = 'two' AND chat_id = 'a'", ["lost: .*'a'.*'two'"]),
        (
            "INSERT INTO chat_histories (user_id, chat_id, role, message_content)"
            " SELECT user_id, chat_id, role, message_content FROM chat_histories WHERE message_content = 'two'",
            ["duplicated: .*'a'.*'two'", "duplicated: .*'b'.*'two'"],
        ),
        (
            "UPDATE chat_histories SET message_content = IF(message_content = 'one', 'two', 'one')"
            " WHERE message_content IN ('one', 'two') AND chat_id = 'b'",
            ["out of order: b"],
        ),
        (
            "UPDATE chat_histories SET message_content = 'two ' WHERE message_content = 'two' AND chat_id = 'a'",
            ["lost: .*'two'", "foreign: .*'two '"],
        ),
        (
            "UPDATE chat_histories SET user_id = 8 WHERE message_content = 'three' AND chat_id = 'a'",
            ["lost", "foreign"],
        ),
    ],
    ids=["loss", "duplicate", "swap", "changed byte", "changed user"],
)
def test_the_check_itself_sees_what_was_planted(delivered: Database, fault: str, complaint: list[str]) -> None:
    delivered.execute(fault)
    found = complaints(SMALL, arrived(delivered))
    assert len(found) == len(complaint), found
    assert [line for expected, line in zip(complaint, found, strict=True) if not re.match(expected, line)] == []
