"""Replay: consumed messages once more, as new ones."""

from typing import Any

import pytest

from tests.kit.operators import age, ago, audit, fill, halfway
from tests.kit.server import Connect
from tests.kit.session import Session, refused


def replay(
    db: Session,
    from_id: int | None = None,
    to_id: int | None = None,
    *,
    biz_type: str | None = None,
    topic: str | None = None,
    limit: int | None = None,
) -> tuple[int, int | None]:
    """Replay; return how many, and the last one."""
    (row,) = db.rows("CALL outbox_replay_v1(%s, %s, %s, %s, %s, @out)", from_id, to_id, biz_type, topic, limit)
    return int(db.value("SELECT @out")), row["last_id"]


def test_consumed_message_takes_effect_once_more_as_a_new_one(db: Session) -> None:
    original = db.enqueue_in("consumed", "a")
    before = db.message(original)
    assert replay(db) == (1, original)
    assert db.message(original) == before
    (copy,) = (message for message in db.statuses() if message != original)
    row = db.message(copy)
    same = ("biz_type", "topic", "message_key", "payload", "headers", "max_retry")
    assert {name: row[name] for name in same} == {name: before[name] for name in same}
    assert (row["status"], row["retry_count"], row["last_error"], row["published_at"]) == ("pending", 0, None, None)
    assert before["consumed_at"] < row["next_retry_at"] == row["created_at"] == row["updated_at"]
    assert db.claim_ids() == [copy]
    assert db.consume(copy) == {copy: "consumed"}
    assert db.chats() == ["a", "a"]


def test_headers_and_the_payloads_bytes_are_copied(db: Session) -> None:
    payload = '{"b": 1.000, "a": "漢字 🎉"}'
    message = db.enqueue_with("b", "t", "k", payload, max_retry=3, headers={"traceparent": "00-1"})
    db.execute("UPDATE agent_outbox_messages SET status = 'consumed', next_retry_at = NULL")
    assert replay(db) == (1, message)
    copy = db.message(max(db.statuses()))
    assert (copy["payload"], copy["headers"], copy["max_retry"]) == (payload, '{"traceparent": "00-1"}', 3)


@pytest.mark.parametrize("state", ["pending", "published", "dead"])
def test_message_that_is_not_consumed_is_not_replayed(db: Session, state: str) -> None:
    db.enqueue_in(state)
    before = db.messages()
    assert replay(db) == (0, None)
    assert db.messages() == before
    assert audit(db) == []


def test_filters_choose_the_same_for_count_and_replay(db: Session) -> None:
    db.register("order_placed", "outbox_internal_write_chat_history_v1")
    ids = [db.enqueue_in("consumed", "a", topic=topic) for topic in ("chat", "orders", "chat", "orders")]
    other = db.enqueue("a", biz_type="order_placed")
    db.consume(other)
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [*ids, other]),
        ({"from_id": ids[1]}, [*ids[1:], other]),
        ({"to_id": ids[1]}, ids[:2]),
        ({"from_id": ids[1], "to_id": ids[2]}, ids[1:3]),
        ({"from_id": ids[2], "to_id": ids[1]}, []),
        ({"topic": "orders"}, [ids[1], ids[3]]),
        ({"biz_type": "order_placed"}, [other]),
        ({"topic": "orders", "from_id": ids[2]}, [ids[3]]),
        ({"topic": "nothing"}, []),
    ]
    for choice, expected in cases:
        filters = (
            choice.get("topic"),
            choice.get("biz_type"),
            None,
            None,
            None,
            choice.get("from_id"),
            choice.get("to_id"),
        )
        assert db.out("outbox_count_v1", "consumed", *filters) == len(expected)
        newest = max(db.statuses())
        assert replay(db, **choice) == (len(expected), max(expected, default=None))
        copies = [row for row in db.messages() if row["id"] > newest]
        originals = [row for row in db.messages() if row["id"] in expected]
        for name in ("topic", "biz_type", "message_key", "payload"):
            assert [row[name] for row in copies] == [row[name] for row in originals]
        db.execute("DELETE FROM agent_outbox_messages WHERE id > %s", newest)


def test_more_than_one_batch_keeps_the_order_of_ids_and_has_one_entry(db: Session) -> None:
    messages = fill(db, 2300, "consumed")
    assert replay(db) == (1000, messages[999])
    assert replay(db, messages[1000], limit=100_000) == (1300, messages[-1])
    copies = db.column("SELECT message_key FROM agent_outbox_messages WHERE status = 'pending' ORDER BY id")
    assert copies == [f"k-{number}" for number in range(2300)]
    first, second = audit(db)
    assert (first["action"], first["messages"], first["last_id"]) == ("replay", 1000, messages[999])
    assert (second["messages"], second["from_id"], second["last_id"]) == (1300, messages[1000], messages[-1])


def test_copies_come_after_what_waits_already(db: Session) -> None:
    original = db.enqueue_in("consumed", "a")
    waiting = db.enqueue("a")
    replay(db, original, original)
    assert db.claim_ids() == [waiting, max(db.statuses())]


def test_copy_that_is_consumed_meanwhile_is_not_copied_again(db: Session, connect: Connect) -> None:
    messages = fill(db, 3, "consumed")
    with halfway(db, connect, replay) as replaying:
        other = db.enqueue("a")
        assert db.claim_ids(wait_ms=1000) == [other], "what is not committed yet holds up no other key"
        db.consume(other)
    assert replaying.result() == (3, messages[-1])
    assert sorted(db.statuses().values()) == ["consumed"] * 4 + ["pending"] * 3


@pytest.mark.parametrize("limit", [-1, 1_000_001])
def test_limit_out_of_range_is_refused(db: Session, limit: int) -> None:
    db.enqueue_in("consumed")
    with refused(30005, f"p_limit must be from 0 to 1000000: {limit}"):
        replay(db, limit=limit)
    assert len(db.statuses()) == 1


def test_count_knows_when_a_message_was_published_consumed_or_died(db: Session) -> None:
    for state in ("published", "consumed", "dead"):
        old = db.enqueue_in(state, "old")
        db.enqueue_in(state, "new")
        age(db, old, 120)
        for before, count in ((None, 2), (ago(db, 60), 1), (ago(db, 180), 0)):
            assert db.out("outbox_count_v1", state, None, None, None, None, before, None, None) == count
    assert db.out("outbox_count_v1", "no such status", None, None, None, None, None, None, None) == 0


def test_end_is_told_so_that_going_on_never_copies_a_copy(db: Session) -> None:
    messages = [db.enqueue_in("consumed", key) for key in "abc"]
    (row,) = db.rows("CALL outbox_replay_v1(NULL, NULL, NULL, NULL, 2, @out)")
    assert row == {"last_id": messages[1], "to_id": messages[2]}
    db.execute("UPDATE agent_outbox_messages SET status = 'consumed', next_retry_at = NULL")
    (row,) = db.rows("CALL outbox_replay_v1(%s, %s, NULL, NULL, 2, @out)", row["last_id"] + 1, row["to_id"])
    assert row == {"last_id": messages[2], "to_id": messages[2]}
    assert len(db.messages()) == 6
