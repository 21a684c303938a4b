"""Dead letters: list, count, requeue, discard."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.kit.operators import age, ago, audit, fill, halfway
from tests.kit.server import Connect
from tests.kit.session import Session, ids, refused
from tests.kit.waiting import background

STATES = ("pending", "published", "consumed", "dead")
ANY = (None, None, None, None, None)


def requeue_dead(db: Session, *filters: Any, per_second: int | None = None, limit: int | None = None) -> int:
    return int(db.out("outbox_requeue_dead_v1", *(filters or ANY), per_second, limit))


def discard_dead(db: Session, *filters: Any, limit: int | None = None) -> int:
    return int(db.out("outbox_discard_dead_v1", *(filters or ANY), limit))


# One message


@pytest.mark.parametrize("state", STATES)
def test_requeue_brings_only_a_dead_message_back(db: Session, state: str) -> None:
    message, bystander = db.enqueue_in(state), db.enqueue_in("dead", "bystander")
    before = db.messages()
    changed = db.out("outbox_requeue_v1", message)
    after = db.messages()
    assert changed == (state == "dead")
    assert after[1] == before[1], f"{bystander} is no concern of this call"
    if state != "dead":
        assert after == before
        assert audit(db) == []
        return
    row = after[0]
    assert (row["status"], row["retry_count"], row["last_error"]) == ("pending", 0, "as arranged")
    assert before[0]["updated_at"] < row["next_retry_at"] == row["updated_at"] <= db.value("SELECT UTC_TIMESTAMP(6)")
    assert audit(db) == [{"action": "requeue", "id": message, "messages": 1}]


def test_requeued_message_has_all_its_retries_again_and_then_takes_effect(db: Session) -> None:
    message = db.enqueue(max_retry=2)
    for _ in range(2):
        db.call("outbox_mark_failed_v1", message, "chat_histories is read only")
    assert db.statuses() == {message: "dead"}
    db.out("outbox_requeue_v1", message)
    db.call("outbox_mark_failed_v1", message, "once more")
    assert db.statuses() == {message: "pending"}
    db.make_due(message)
    assert db.claim_ids() == [message]
    assert db.consume(message) == {message: "consumed"}


@pytest.mark.parametrize("state", STATES)
def test_discard_deletes_only_a_dead_message(db: Session, state: str) -> None:
    message, bystander = db.enqueue_in(state, "secret"), db.enqueue_in("dead", "bystander")
    before = db.messages()
    changed = db.out("outbox_discard_v1", message)
    assert changed == (state == "dead")
    if state != "dead":
        assert db.messages() == before
        assert audit(db) == []
        return
    assert list(db.statuses()) == [bystander]
    named = {
        "id": message,
        "biz_type": "chat_history_persist",
        "topic": "chat",
        "message_key": "secret",
        "last_error": "as arranged",
    }
    assert audit(db) == [{"action": "discard", "id": message, "messages": 1, "discarded": [named]}]


def test_discarded_message_that_kafka_delivers_after_all_does_nothing(db: Session) -> None:
    message = db.enqueue_in("dead")
    record = db.record(message)
    db.out("outbox_discard_v1", message)
    assert db.consume(record) == {message: "unknown"}
    assert db.chats() == []


@pytest.mark.parametrize("routine", ["outbox_requeue_v1", "outbox_discard_v1"])
@pytest.mark.parametrize("unknown", [None, 0, 2**64 - 1])
def test_unknown_id_is_refused(db: Session, routine: str, unknown: int | None) -> None:
    with refused(30004, f"p_id {'NULL' if unknown is None else unknown}: there is no such message"):
        db.out(routine, unknown)
    assert audit(db) == []


def test_late_mark_of_the_claim_before_its_death_does_not_touch_a_requeued_message(db: Session) -> None:
    message = db.enqueue()
    claimed = db.claim()
    db.call("outbox_mark_dead_v1", message, "by the consumer")
    db.out("outbox_requeue_v1", message)
    assert db.mark("published", claimed) == 0
    assert db.statuses() == {message: "pending"}


# Many messages, by a filter


def some_dead(db: Session) -> dict[str, int]:
    """Dead letters that differ in one thing each, and messages that are not dead."""
    db.register("order_placed", "outbox_internal_write_chat_history_v1")
    found = {
        "plain": db.enqueue_in("dead"),
        "topic": db.enqueue_in("dead", topic="orders"),
        "biz_type": db.enqueue_in("dead", biz_type="order_placed"),
        "error": db.enqueue(),
        "old": db.enqueue_in("dead"),
        "key": db.enqueue_in("dead", "c-1"),
    }
    db.call("outbox_mark_dead_v1", found["error"], "table chat_histories is read only (100%)")
    age(db, found["old"], 3600)
    for state in ("pending", "published", "consumed"):
        db.enqueue_in(state)
    return found


FILTERS = {
    "none": (ANY, {"plain", "topic", "biz_type", "error", "old", "key"}),
    "key": ((None, None, "c-1", None, None), {"key"}),
    "topic": (("orders", None, None, None, None), {"topic"}),
    "biz_type": ((None, "order_placed", None, None, None), {"biz_type"}),
    "error": ((None, None, None, "%read only (100\\%)", None), {"error"}),
    "exact error": ((None, None, None, "as arranged", None), {"plain", "topic", "biz_type", "old", "key"}),
    "before": ((None, None, None, None, -60), {"old"}),
    "two": (("chat", None, None, "as %", None), {"plain", "biz_type", "old", "key"}),
    "no such topic": (("Orders", None, None, None, None), set()),
    "empty topic": (("", None, None, None, None), set()),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_filters_choose_the_same_for_list_count_requeue_and_discard(
    db: Session, filters: tuple[Any, ...], expected: set[str]
) -> None:
    found = some_dead(db)
    chosen = sorted(found[name] for name in expected)
    filters = (*filters[:4], ago(db, -filters[4]) if filters[4] else None)
    assert ids(db.call("outbox_list_dead_v1", *filters, None, None)) == chosen[::-1]
    assert db.out("outbox_count_v1", "dead", *filters, None, None) == len(chosen)
    before = db.statuses()
    assert requeue_dead(db, *filters) == len(chosen)
    assert db.statuses() == before | dict.fromkeys(chosen, "pending")
    for message in chosen:
        db.call("outbox_mark_dead_v1", message, db.message(message)["last_error"])
        if message == found["old"]:
            age(db, message, 3600)
    assert discard_dead(db, *filters) == len(chosen)
    assert db.statuses() == {message: state for message, state in before.items() if message not in chosen}


def test_list_shows_no_payload_and_pages_from_the_newest_on(db: Session) -> None:
    messages = fill(db, 5, "dead")
    page = db.call("outbox_list_dead_v1", *ANY, None, 2)
    assert list(page[0]) == [
        "id", "biz_type", "topic", "message_key", "retry_count", "max_retry", "last_error",
        "published_at", "created_at", "updated_at",
    ]  # fmt: skip
    pages = [page]
    while len(pages[-1]) == 2:
        pages.append(db.call("outbox_list_dead_v1", *ANY, pages[-1][-1]["id"], 2))
    assert [row["id"] for page in pages for row in page] == messages[::-1]


def test_list_gives_100_rows_unless_told(db: Session) -> None:
    messages = fill(db, 103, "dead")
    for limit in (None, 0):
        assert ids(db.call("outbox_list_dead_v1", *ANY, None, limit)) == messages[:2:-1]
    with refused(30005, "p_limit must be from 0 to 1000000: -1"):
        db.call("outbox_list_dead_v1", *ANY, None, -1)


@pytest.mark.parametrize("act", [requeue_dead, discard_dead])
def test_limit_takes_the_lowest_ids_and_says_how_many(db: Session, act: Any) -> None:
    messages = fill(db, 5, "dead")
    assert act(db, limit=2) == 2
    assert [message for message in messages if db.statuses().get(message) == "dead"] == messages[2:]
    for limit in (-1, 1_000_001):
        with refused(30005, f"p_limit must be from 0 to 1000000: {limit}"):
            act(db, limit=limit)


@pytest.mark.parametrize("act", [requeue_dead, discard_dead])
def test_more_than_one_batch_is_done_in_one_call_with_one_entry(db: Session, act: Any) -> None:
    messages = fill(db, 2050, "dead")
    assert act(db) == 1000, "the default"
    assert act(db, limit=5000) == 1050
    first, second = audit(db)
    assert (first["messages"], second["messages"], second["limit"]) == (1000, 1050, 5000)
    if act is discard_dead:
        assert db.statuses() == {}
        assert [named["id"] for named in second["discarded"]] == messages[1000:1100]
    else:
        assert set(db.statuses().values()) == {"pending"}
        assert (second["first_id"], second["last_id"]) == (messages[1000], messages[-1])


def test_audit_of_a_discard_never_has_a_payload(db: Session) -> None:
    for _ in range(3):
        db.enqueue_in("dead", "a key", payload='{"text": "a secret"}')
    db.out("outbox_discard_v1", min(db.statuses()))
    discard_dead(db)
    written = json.dumps(audit(db))
    assert "a key" in written
    assert "secret" not in written
    assert "a secret" not in str(db.rows("SELECT * FROM outbox_audit_log"))


@pytest.mark.parametrize("act", [requeue_dead, discard_dead])
def test_nothing_to_do_leaves_no_entry(db: Session, act: Any) -> None:
    db.enqueue_in("published")
    assert act(db) == 0
    assert audit(db) == []


# The rate


@pytest.mark.parametrize("per_second", [7, 1000])
def test_at_most_that_many_come_due_in_any_second(db: Session, per_second: int) -> None:
    messages = fill(db, 1010, "dead")
    assert requeue_dead(db, per_second=per_second, limit=5000) == 1010
    due = db.column("SELECT next_retry_at FROM agent_outbox_messages ORDER BY id")
    assert len(due) == len(messages)
    assert due == sorted(due)
    one_second = timedelta(seconds=1)
    assert all(later - earlier >= one_second for earlier, later in zip(due, due[per_second:], strict=False))
    assert due[-1] - due[0] <= one_second * (len(due) / per_second), "and no slower than that"
    assert due[0] <= db.value("SELECT UTC_TIMESTAMP(6)")
    assert audit(db)[0]["per_second"] == per_second


def test_only_those_that_are_due_are_claimed(db: Session) -> None:
    messages = fill(db, 3, "dead")
    requeue_dead(db, per_second=1)
    assert db.claim_ids() == messages[:1]


def test_rate_below_one_is_refused(db: Session) -> None:
    fill(db, 1, "dead")
    with refused(30005, "p_per_second must be at least 1: 0"):
        requeue_dead(db, per_second=0)
    assert set(db.statuses().values()) == {"dead"}


# Beside others


def test_requeue_that_is_not_committed_is_not_claimed_and_holds_up_no_other_key(db: Session, connect: Connect) -> None:
    messages = fill(db, 3, "dead")
    with halfway(db, connect, requeue_dead) as requeue:
        follower, other = db.enqueue("k-1"), db.enqueue("other")
        assert db.claim_ids(wait_ms=1000) == [other], f"{follower} comes after a message that may still become pending"
    assert requeue.result() == 3
    assert db.claim_ids() == [*messages, follower, other]


@pytest.mark.parametrize("act", [requeue_dead, discard_dead])
def test_message_that_somebody_has_locked_is_left_out_not_waited_for(db: Session, connect: Connect, act: Any) -> None:
    messages = fill(db, 3, "dead")
    holder = connect()
    holder.execute("START TRANSACTION; SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", messages[1])
    assert act(db) == 2
    assert [message for message, state in holder.statuses().items() if state == "dead"] == [messages[1]]
    assert audit(db)[0]["messages"] == 2


@pytest.mark.parametrize("act", [requeue_dead, discard_dead])
def test_half_done_batch_keeps_nobody_from_consuming(db: Session, connect: Connect, act: Any) -> None:
    fill(db, 3, "dead")
    message = db.enqueue_published("k-1")
    with halfway(db, connect, act):
        assert db.consume(message) == {message: "consumed"}


def test_requeue_beside_relays_that_claim_sends_every_message_once_and_in_order(db: Session, connect: Connect) -> None:
    messages = fill(db, 1200, "dead")
    db.execute("UPDATE agent_outbox_messages SET message_key = CONCAT('k-', id % 7)")
    sent: list[int] = []

    def relay(session: Session) -> None:
        while len(sent) < len(messages):
            claimed = session.claim(limit=200, wait_ms=100)
            sent.extend(ids(claimed))
            assert session.mark("published", claimed) == len(claimed)

    with background(lambda: relay(connect())) as relaying:
        assert requeue_dead(connect(), limit=700) == 700
        assert requeue_dead(connect(), limit=1500) == 500
        relaying.result(timeout=60)
    assert sorted(sent) == messages
    for lane in range(7):
        assert [message for message in sent if message % 7 == lane] == [m for m in messages if m % 7 == lane]
    assert set(db.statuses().values()) == {"published"}


# In short


def test_summary_folds_numbers_and_quoted_values(db: Session) -> None:
    db.register("order_placed", "outbox_internal_write_chat_history_v1")
    errors = [
        ("Duplicate entry 'c-1' for key 'orders.id'", 2),
        ("Duplicate entry 'o'd' for key 'orders.id'", 1),
        ("row 17 of 3 is gone", 1),
        ("row 4 of 12 is gone", 1),
        ('"unfinished', 1),
        (None, 1),
    ]
    for error, times in errors:
        for _ in range(times):
            db.call("outbox_mark_dead_v1", db.enqueue(), error)
    other = db.enqueue(biz_type="order_placed", topic="orders")
    db.call("outbox_mark_dead_v1", other, "row 1 of 1 is gone")
    rows = db.call("outbox_summarize_dead_v1", *ANY, None)
    found = {(row["biz_type"], row["error"]): row["messages"] for row in rows}
    chat = "chat_history_persist"
    assert found.pop((chat, "Duplicate entry '...' for key '...'")) >= 2
    assert found[chat, "row N of N is gone"] == 2
    assert found[chat, "'...'"] == 1
    assert found[chat, None] == 1
    assert found["order_placed", "row N of N is gone"] == 1
    assert [row["messages"] for row in rows] == sorted((row["messages"] for row in rows), reverse=True)
    (row,) = db.call("outbox_summarize_dead_v1", "orders", None, None, None, None, None)
    assert (row["example_id"], row["topics"], row["first_died_at"]) == (other, 1, row["last_died_at"])
    assert len(db.call("outbox_summarize_dead_v1", *ANY, 1)) == 1
    with refused(30005, "p_limit must not be negative: -1"):
        db.call("outbox_summarize_dead_v1", *ANY, -1)
