"""A topic that Kafka takes no records for holds up no other, and is tried again with one message at a time."""

import json

import pytest

from tests.kit.session import Session, ids, refused

REASON = "Broker: Leader not available"


def in_trouble(db: Session, *topics: str) -> None:
    db.call("outbox_mark_topics_unavailable_v1", json.dumps([{"topic": topic, "reason": REASON} for topic in topics]))


def retry_now(db: Session) -> None:
    db.execute("UPDATE outbox_pauses SET retry_at = UTC_TIMESTAMP(6) WHERE kind = 'trouble'")


def troubles(db: Session) -> list[tuple[str, int, str, int]]:
    rows = db.rows(
        "SELECT name, failures, reason, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), retry_at + INTERVAL 0.5 SECOND) AS wait"
        " FROM outbox_pauses WHERE kind = 'trouble' AND resumed_at IS NULL ORDER BY name"
    )
    return [(row["name"], row["failures"], row["reason"], row["wait"]) for row in rows]


def test_topic_in_trouble_waits_and_the_others_go_on(db: Session) -> None:
    messages = [db.enqueue(f"k-{number % 3}", topic="broken") for number in range(6)]
    other = db.enqueue(topic="whole")
    assert db.claim_ids() == [*messages, other]
    in_trouble(db, "broken")
    claimed = db.claim()
    assert ids(claimed) == [other]
    db.mark("published", claimed)
    messages.append(db.enqueue("k-0", topic="broken"))
    assert db.claim_ids() == []
    assert troubles(db) == [("broken", 1, REASON, 1)]
    rows = [db.message(message) for message in messages]
    assert {(row["status"], row["retry_count"], row["last_error"]) for row in rows} == {("pending", 0, None)}


def test_one_message_tries_the_topic_and_its_mark_brings_the_others_back_in_order(db: Session) -> None:
    messages = [db.enqueue(f"k-{number % 3}", topic="broken") for number in range(6)]
    in_trouble(db, "broken")
    assert db.claim_ids() == []
    retry_now(db)
    tried = db.claim()
    assert ids(tried) == messages[:1]
    assert db.claim() == tried, "the same until it is marked"
    db.mark("published", tried)
    assert db.claim_ids() == messages[1:]
    assert db.rows("SELECT * FROM outbox_pauses") == []


def test_trouble_ends_also_where_a_consumer_was_faster_than_the_mark(db: Session) -> None:
    messages = [db.enqueue(f"k-{number}", topic="broken") for number in range(3)]
    in_trouble(db, "broken")
    assert db.claim_ids() == []
    retry_now(db)
    tried = db.claim()
    assert db.consume(*ids(tried)) == {messages[0]: "consumed"}
    assert db.mark("published", tried) == 0
    assert db.claim_ids() == messages[1:]
    assert troubles(db) == []


def test_each_failure_doubles_the_wait_up_to_32_seconds(db: Session) -> None:
    message = db.enqueue(topic="broken")
    waits = []
    for _ in range(8):
        in_trouble(db, "broken")
        waits.append(troubles(db)[0][3])
        assert db.claim_ids() == []
        retry_now(db)
        assert db.claim_ids() == [message]
    assert waits == [1, 2, 4, 8, 16, 32, 32, 32]


def test_trouble_of_a_topic_whose_messages_are_gone_ends_by_itself(db: Session) -> None:
    in_trouble(db, "broken", "empty")
    message = db.enqueue(topic="broken")
    assert db.claim_ids() == []
    retry_now(db)
    assert db.claim_ids() == [message]
    assert [name for name, *_ in troubles(db)] == ["broken"]


def test_topic_that_an_operator_has_paused_as_well_is_not_tried(db: Session) -> None:
    message = db.enqueue(topic="broken")
    db.call("outbox_pause_v1", "broken", None)
    in_trouble(db, "broken")
    assert db.claim_ids() == []
    retry_now(db)
    assert db.claim_ids() == []
    db.call("outbox_resume_v1", "broken", None)
    retry_now(db)
    assert db.claim_ids() == [message]


@pytest.mark.parametrize("topics", [None, "", "no JSON"])
def test_topics_that_are_not_json_are_refused(db: Session, topics: str | None) -> None:
    with refused(30003, "p_topics is not valid JSON"):
        db.call("outbox_mark_topics_unavailable_v1", topics)
