"""dedup_key: the same key stores once, whoever is first, and for as long as the key is kept."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from mysql.connector.errors import DatabaseError

from tests.kit.operators import audit
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, refused
from tests.kit.waiting import background, eventually

# Each way to enqueue one message with a dedup key; what it returns tells whether it was stored.
Way = Callable[[Session, str], int]


def with_options(session: Session, key: str) -> int:
    return session.enqueue_with(CHAT, "chat", "k", "{}", dedup_key=key)


def returning(session: Session, key: str) -> int:
    (row,) = session.call("outbox_enqueue_returning_v1", CHAT, "chat", "k", "{}", json.dumps({"dedup_key": key}))
    return int(row["id"])


def as_bytes(session: Session, key: str) -> int:
    return session.enqueue_bytes(b"\0", dedup_key=key)


def in_a_batch(session: Session, key: str) -> int:
    stored = session.enqueue_batch({"dedup_key": key})
    assert stored in (0, 1)
    return message_of(session, key)


def one_by_one(session: Session, key: str) -> int:
    session.enqueue_batch({"dedup_key": key, "deliver_at": "2000-01-01 00:00:00"})
    return message_of(session, key)


def message_of(session: Session, key: str) -> int:
    """As it was committed last, whatever snapshot the session has."""
    return int(session.value("SELECT message_id FROM outbox_dedup_keys WHERE dedup_key = %s FOR SHARE", key))


WAYS = [with_options, returning, as_bytes, in_a_batch, one_by_one]


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_second_enqueue_with_a_key_stores_nothing_and_gives_back_the_first_id(
    db: Session, first: Way, second: Way
) -> None:
    message = first(db, "order 1")
    before = db.messages()
    assert second(db, "order 1") == message
    assert db.messages() == before
    assert db.message(message)["dedup_key"] == "order 1"
    assert second(db, "order 2") != message


def test_keys_compare_by_bytes_and_may_have_255_characters(db: Session) -> None:
    keys = ["a", "A", "ä", "a ", " a", "a\u0301", "漢" * 255, "漢" * 254]
    messages = [with_options(db, key) for key in keys]
    assert len(set(messages)) == len(keys)
    assert [with_options(db, key) for key in keys] == messages
    assert db.enqueue_batch(*({"dedup_key": key} for key in keys)) == 0


def test_key_outlives_its_message(db: Session) -> None:
    message = with_options(db, "order 1")
    db.execute("DELETE FROM agent_outbox_messages")
    assert with_options(db, "order 1") == message
    assert db.messages() == []


@pytest.mark.parametrize("way", WAYS)
def test_rollback_gives_the_key_back(db: Session, way: Way) -> None:
    db.execute("START TRANSACTION")
    way(db, "order 1")
    db.execute("ROLLBACK")
    assert db.messages() == []
    message = way(db, "order 1")
    assert list(db.statuses()) == [message]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", [with_options, in_a_batch])
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_second_waits_for_the_end_of_the_firsts_transaction(
    db: Session, connect: Connect, first: Way, second: Way, end: str, isolation: str
) -> None:
    one, two = connect(), connect()
    two.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}; START TRANSACTION")
    two.messages()  # from here on it would not see what others commit
    one.execute("START TRANSACTION")
    stored = first(one, "order 1")
    with background(lambda: second(two, "order 1")) as call:
        eventually(lambda: db.waits_for_lock(two.session_id) or call.done())
        assert not call.done(), "it has not waited"
        one.execute(end)
        got = call.result(timeout=20)
        two.execute("COMMIT")
    assert (got == stored) == (end == "COMMIT")
    assert list(db.statuses()) == [got]


def test_message_that_is_refused_takes_no_key(db: Session) -> None:
    with refused(30013, "p_topic"):
        db.enqueue_with(CHAT, "no topic!", "k", "{}", dedup_key="order 1")
    assert db.rows("SELECT * FROM outbox_dedup_keys") == []


def test_key_whose_message_could_not_be_stored_is_free_again(db: Session) -> None:
    """The session goes on after the error, and commits what is left of the call."""
    db.execute("ALTER TABLE agent_outbox_messages ADD CONSTRAINT nothing CHECK (topic <> 'away')")
    try:
        for transaction in ("SET autocommit = 1", "START TRANSACTION"):
            db.execute(transaction)
            with pytest.raises(DatabaseError, match="nothing"):
                db.enqueue_with(CHAT, "away", "k", "{}", dedup_key="order 1")
            db.execute("COMMIT")
    finally:
        db.execute("ALTER TABLE agent_outbox_messages DROP CONSTRAINT nothing")
    message = with_options(db, "order 1")
    assert list(db.statuses()) == [message]


def test_session_that_ends_within_a_call_leaves_no_key_without_its_message(db: Session, connect: Connect) -> None:
    """Under autocommit the key and the message are one transaction: they wait for a lock, and are gone with it."""
    holder, app = connect(), connect()
    holder.execute("START TRANSACTION")
    holder.execute("SELECT * FROM agent_outbox_messages FOR UPDATE")  # the end of the table
    with background(lambda: with_options(app, "order 1")) as call:
        eventually(lambda: db.waits_for_lock(app.session_id))
        db.execute(f"KILL {app.session_id}")
        with pytest.raises(DatabaseError):
            call.result(timeout=20)
    holder.execute("ROLLBACK")
    eventually(lambda: not db.rows("SELECT * FROM outbox_dedup_keys"))
    message = with_options(db, "order 1")
    assert list(db.statuses()) == [message]


# Batches


def test_batch_stores_what_is_new_and_counts_it(db: Session) -> None:
    known = with_options(db, "b")
    elements: list[dict[str, Any]] = [{"key": key, "dedup_key": key} for key in "abc"] + [{"key": "d"}]
    assert db.enqueue_batch(*elements) == 3
    assert [(row["message_key"], row["dedup_key"]) for row in db.messages()][1:] == [
        ("a", "a"),
        ("c", "c"),
        ("d", None),
    ]
    assert db.enqueue_batch(*elements) == 1
    keys = {row["dedup_key"]: row["message_id"] for row in db.rows("SELECT * FROM outbox_dedup_keys")}
    assert keys == {"b": known} | {row["dedup_key"]: row["id"] for row in db.messages() if row["dedup_key"]}


def test_first_of_two_elements_with_one_key_is_stored(db: Session) -> None:
    assert db.enqueue_batch({"key": "first", "dedup_key": "a"}, {"key": "second", "dedup_key": "a"}) == 1
    assert [row["message_key"] for row in db.messages()] == ["first"]


def test_batch_that_is_refused_takes_no_key(db: Session) -> None:
    db.execute("START TRANSACTION")
    with refused(30001, "p_messages[1].topic"):
        db.enqueue_batch({"dedup_key": "a"}, {"dedup_key": "b", "topic": None})
    db.execute("COMMIT")
    assert db.rows("SELECT * FROM outbox_dedup_keys") == []
    assert db.messages() == []


def test_two_batches_with_the_same_keys_in_any_order_meet_in_no_deadlock(db: Session, connect: Connect) -> None:
    one, two = connect(), connect()
    for turn in range(10):
        batch = [{"dedup_key": f"{turn} {number}"} for number in range(60)]
        with (
            background(partial(one.enqueue_batch, *batch)) as first,
            background(partial(two.enqueue_batch, *reversed(batch))) as second,
        ):
            assert first.result(timeout=20) + second.result(timeout=20) == 60
        assert len(db.messages()) == 60 * (turn + 1)


# Purging


def test_keys_are_purged_by_their_age_and_may_be_used_again(db: Session) -> None:
    old, young = with_options(db, "old"), with_options(db, "young")
    db.execute("UPDATE outbox_dedup_keys SET created_at = created_at - INTERVAL 8 DAY WHERE dedup_key = 'old'")
    before = db.value("SELECT UTC_TIMESTAMP(6) - INTERVAL 7 DAY")
    assert db.call("outbox_purge_dedup_keys_v1", before, None) == [{"deleted": 1}]
    assert db.call("outbox_purge_dedup_keys_v1", before, None) == [{"deleted": 0}]
    assert with_options(db, "young") == young
    assert with_options(db, "old") > old
    (entry,) = audit(db)
    assert (entry["action"], entry["keys"]) == ("purge_dedup_keys", 1)


def test_purge_takes_the_oldest_in_parts_and_leaves_out_what_is_locked(db: Session, connect: Connect) -> None:
    for part in range(5):
        assert db.enqueue_batch(*({"dedup_key": f"{part} {number}"} for number in range(511))) == 511
    db.execute("UPDATE outbox_dedup_keys SET created_at = created_at - INTERVAL 1 DAY")
    now = db.value("SELECT UTC_TIMESTAMP(6)")
    other = connect()
    other.execute("START TRANSACTION; SELECT * FROM outbox_dedup_keys WHERE dedup_key = '0 7' FOR UPDATE")
    assert db.call("outbox_purge_dedup_keys_v1", now, 2100) == [{"deleted": 2100}]
    assert db.call("outbox_purge_dedup_keys_v1", now, 2100) == [{"deleted": 5 * 511 - 2100 - 1}]
    other.execute("ROLLBACK")
    assert db.column("SELECT dedup_key FROM outbox_dedup_keys") == ["0 7"]


def test_purge_needs_a_time_and_a_limit_in_range(db: Session) -> None:
    with refused(30001, "p_before must not be NULL"):
        db.call("outbox_purge_dedup_keys_v1", None, None)
    for limit in (-1, 1_000_001):
        with refused(30005, f"p_limit must be from 0 to 1000000: {limit}"):
            db.call("outbox_purge_dedup_keys_v1", "2026-01-01", limit)
