"""Failing messages: what is listed, retried and given up, and what a lane says of itself."""

from typing import Any

import pytest

from tests.kit.operators import audit, fill
from tests.kit.server import Connect
from tests.kit.session import Session, ids, reads, refused

ANY = (None, None, None, None, None)
STATES = ("pending", "published", "consumed", "dead")


def fail(db: Session, key: str = "k", times: int = 1, error: str = "it fails", **options: Any) -> int:
    """Enqueue a message that fails so often and waits for its retry."""
    message = db.enqueue(key, **options)
    for _ in range(times):
        db.call("outbox_mark_failed_v1", message, error)
    return message


def listed(db: Session, *filters: Any) -> list[int]:
    return ids(db.call("outbox_list_failing_v1", *(filters or ANY), None, None))


def retry_failing(db: Session, *filters: Any, limit: int | None = None) -> int:
    return int(db.out("outbox_retry_failing_v1", *(filters or ANY), limit))


def give_up_failing(db: Session, *filters: Any, reason: str | None = None) -> int:
    return int(db.out("outbox_give_up_failing_v1", *(filters or ANY), reason, None))


def due_in(db: Session, message: int) -> float:
    """Seconds until the message is due."""
    return float(
        db.value(
            "SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), next_retry_at) / 1e6"
            " FROM agent_outbox_messages WHERE id = %s",
            message,
        )
    )


# What is listed


def test_failing_is_what_has_failed_and_waits_and_nothing_else(db: Session) -> None:
    failing = fail(db, "a", 4)
    for state in STATES:
        db.enqueue_in(state, state)
    db.enqueue_with("delayed", "chat", "d", "{}", delay_seconds=60)
    requeued = db.enqueue_in("dead", "requeued")
    db.out("outbox_requeue_v1", requeued)
    (row,) = db.call("outbox_list_failing_v1", *ANY, None, None)
    assert (row["id"], row["retry_count"], row["last_error"], row["followers"]) == (failing, 4, "it fails", 0)
    assert row["failing_since"] == db.call("outbox_list_failures_v1", failing)[0]["at"]
    assert row["next_retry_at"] == db.message(failing)["next_retry_at"]
    assert db.out("outbox_count_v1", "failing", *ANY, None, None) == 1
    (seen,) = db.rows("SELECT * FROM outbox_failing")
    assert {name: seen[name] for name in ("id", "failing_since", "followers")} == {
        name: row[name] for name in ("id", "failing_since", "followers")
    }


def test_followers_are_counted_for_ordered_types_alone_and_up_to_a_thousand(db: Session) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", "none")
    head, alone = fail(db, "a"), fail(db, "b", biz_type="free")
    for key in ("a", "a", "b", "c"):
        db.enqueue(key)
    rows = {row["id"]: row["followers"] for row in db.call("outbox_list_failing_v1", *ANY, None, None)}
    assert rows == {head: 2, alone: 0}
    fill(db, 1100, "pending")
    db.execute("UPDATE agent_outbox_messages SET message_key = 'a' WHERE message_key LIKE 'k-%'")
    assert db.call("outbox_list_failing_v1", *ANY, None, 1)[0]["followers"] == 1000


def test_failing_since_begins_anew_with_a_requeue(db: Session) -> None:
    message = fail(db, times=2)
    db.call("outbox_mark_dead_v1", message, "enough")
    db.out("outbox_requeue_v1", message)
    db.call("outbox_mark_failed_v1", message, "again")
    (row,) = db.call("outbox_list_failing_v1", *ANY, None, None)
    assert row["failing_since"] == db.call("outbox_list_failures_v1", message)[-1]["at"]


def test_what_an_error_quotes_is_not_shown_to_monitoring(db: Session) -> None:
    fail(db, error="Duplicate entry 'secret' for key 'x'")
    assert db.value("SELECT last_error FROM outbox_failing") == "Duplicate entry …"


def test_pages_go_on_from_the_last_id(db: Session) -> None:
    messages = [fail(db, str(number)) for number in range(5)]
    first = ids(db.call("outbox_list_failing_v1", *ANY, None, 3))
    assert [*first, *ids(db.call("outbox_list_failing_v1", *ANY, first[-1], 3))] == messages


def some(db: Session) -> dict[str, int]:
    """Failing messages that differ in one thing each."""
    db.register("order_placed", "outbox_internal_write_chat_history_v1")
    return {
        "plain": fail(db, "plain"),
        "topic": fail(db, "topic", topic="orders"),
        "type": fail(db, "type", biz_type="order_placed"),
        "key": fail(db, "c-1"),
        "error": fail(db, "error", error="chat_histories is read only"),
    }


FILTERS = {
    "none": (ANY, {"plain", "topic", "type", "key", "error"}),
    "topic": (("orders", None, None, None, None), {"topic"}),
    "type": ((None, "order_placed", None, None, None), {"type"}),
    "key": ((None, None, "c-1", None, None), {"key"}),
    "error": ((None, None, None, "%read only%", None), {"error"}),
    "two": (("chat", None, None, "it %", None), {"plain", "type", "key"}),
    "before": ((None, None, None, None, "2020-01-01"), set()),
    "nothing": (("Orders", None, None, None, None), set()),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_filters_choose_the_same_for_list_count_retry_and_give_up(
    db: Session, filters: tuple[Any, ...], expected: set[str]
) -> None:
    found = some(db)
    chosen = sorted(found[name] for name in expected)
    assert listed(db, *filters) == chosen
    assert db.out("outbox_count_v1", "failing", *filters, None, None) == len(chosen)
    assert retry_failing(db, *filters) == len(chosen)
    assert {message for message in found.values() if due_in(db, message) <= 0} == set(chosen)
    assert give_up_failing(db, *filters) == len(chosen)
    assert {message for message, status in db.statuses().items() if status == "dead"} == set(chosen)


# Retry


def test_retry_sends_the_message_and_what_waits_with_it_at_once_and_in_order(db: Session) -> None:
    head, second, third = (db.enqueue_published("a") for _ in range(3))
    for _ in range(5):
        for message in (head, second, third):
            db.call("outbox_mark_published_v1", message)
        db.call("outbox_mark_failed_v1", head, "it fails")
    parked = db.enqueue("a")
    assert db.claim_ids() == []
    assert due_in(db, head) > 10
    assert db.out("outbox_retry_v1", head) == 1
    assert db.message(head)["retry_count"] == 5
    assert db.claim_ids() == [head, second, third, parked]
    assert audit(db) == [{"action": "retry", "id": head, "messages": 1}]


def test_retry_also_takes_a_delayed_message_and_leaves_its_lane_alone(db: Session) -> None:
    delayed = db.enqueue_with("free", "chat", "a", "{}", delay_seconds=3600)
    later = db.enqueue_with("free", "chat", "a", "{}", delay_seconds=7200)
    assert db.out("outbox_retry_v1", delayed) == 1
    assert db.claim_ids() == [delayed]
    assert due_in(db, later) > 7000


@pytest.mark.parametrize("state", STATES)
def test_retry_leaves_what_does_not_wait_as_it_is(db: Session, state: str) -> None:
    message = db.enqueue_in(state)
    before = db.messages()
    assert db.out("outbox_retry_v1", message) == 0
    assert db.messages() == before
    assert audit(db) == []
    with refused(30004, "p_id 123456789: there is no such message"):
        db.out("outbox_retry_v1", 123456789)


def test_retry_of_many_is_one_entry_and_leaves_out_what_is_locked(db: Session, connect: Connect) -> None:
    messages = [fail(db, str(number)) for number in range(3)]
    other = connect()
    other.execute("START TRANSACTION")
    other.execute("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", messages[1])
    assert retry_failing(db, "chat", None, None, None, None) == 2
    other.execute("COMMIT")
    (entry,) = audit(db)
    assert entry == {
        "action": "retry_failing", "topic": "chat", "messages": 2, "first_id": messages[0], "last_id": messages[2],
    }  # fmt: skip


# Give up


@pytest.mark.parametrize("state", ["pending", "published"])
def test_give_up_makes_an_open_message_dead_and_keeps_why(db: Session, state: str) -> None:
    message = db.enqueue_in(state)
    assert db.out("outbox_give_up_v1", message, "cancelled") == 1
    assert db.message(message)["last_error"] == "given up (cancelled)"
    (row,) = db.call("outbox_list_failures_v1", message)
    assert (row["stage"], row["errno"], row["error"]) == ("operator", None, "given up (cancelled)")
    assert audit(db) == [{"action": "give_up", "id": message, "reason": "cancelled", "messages": 1}]
    db.out("outbox_requeue_v1", message)
    assert db.statuses() == {message: "pending"}


@pytest.mark.parametrize("state", ["consumed", "dead"])
def test_give_up_leaves_what_is_final_as_it_is(db: Session, state: str) -> None:
    message = db.enqueue_in(state)
    before = db.messages()
    assert db.out("outbox_give_up_v1", message, None) == 0
    assert (db.messages(), audit(db)) == (before, [])
    with refused(30004, "p_id 123456789: there is no such message"):
        db.out("outbox_give_up_v1", 123456789, None)


def test_what_is_behind_a_message_that_is_given_up_goes_on_at_once(db: Session) -> None:
    head, follower = db.enqueue_published("a"), db.enqueue_published("a")
    for _ in range(5):
        for message in (head, follower):
            db.call("outbox_mark_published_v1", message)
        db.call("outbox_mark_failed_v1", head, "it fails")
    parked = db.enqueue("a")
    assert db.claim_ids() == []
    assert give_up_failing(db, reason="no use") == 1
    assert db.message(head)["last_error"] == "given up (no use): it fails"
    assert db.claim_ids() == [follower, parked]
    assert db.consume(follower, parked) == {follower: "consumed", parked: "consumed"}


# A lane


def waits(db: Session, topic: str = "chat", key: str = "a") -> list[tuple[int, int, str]]:
    return [(row["id"], row["behind"], row["waits"]) for row in db.call("outbox_lane_v1", topic, key, None)]


def test_lane_shows_its_head_why_it_waits_and_all_behind_it(db: Session) -> None:
    head = fail(db, "a", 3)
    behind = [db.enqueue("a"), db.enqueue("a")]
    db.enqueue("other")
    db.enqueue("a", topic="orders")
    db.enqueue_in("dead", "a")
    at = f"{db.message(head)['next_retry_at']:%F %T}"
    assert waits(db) == [
        (head, 2, f"has failed 3 times, is tried again at {at}"),
        (behind[0], 1, f"waits for message {head}"),
        (behind[1], 0, f"waits for message {head}"),
    ]
    assert ids(db.call("outbox_lane_v1", "chat", "a", 1)) == [head]
    assert waits(db, key="nobody") == []


def test_lane_says_what_else_its_head_waits_for(db: Session) -> None:
    message = db.enqueue("a")
    slot = db.value("SELECT MOD(CRC32('a'), 64)")
    assert waits(db) == [(message, 0, f"is due, and nobody relays its slot {slot}")]
    db.claim()
    assert waits(db) == [(message, 0, "is due: relay-a sends it next")]
    db.call("outbox_pause_v1", "chat", None)
    paused = db.row("SELECT paused_at, paused_by FROM outbox_pauses")
    assert waits(db)[0][2] == f"its topic is paused since {paused['paused_at']:%F %T} by {paused['paused_by']}"
    db.call("outbox_resume_v1", "chat", None)
    db.call("outbox_mark_published_v1", message)
    at = f"{db.message(message)['published_at']:%F %T}"
    assert waits(db) == [(message, 0, f"was sent at {at} and is not consumed yet")]
    db.consume(message)
    delayed = db.enqueue_with("free", "chat", "a", "{}", delay_seconds=3600)
    assert waits(db) == [(delayed, 0, f"is not due before {db.message(delayed)['next_retry_at']:%F %T}")]


def test_messages_of_a_type_without_order_wait_for_none(db: Session) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", "none")
    head = fail(db, "a")
    free = db.enqueue("a", biz_type="free")
    assert [row[0] for row in waits(db)] == [head, free]
    assert waits(db)[1][2].startswith("is due, and nobody relays its slot ")


def test_a_lane_of_a_topic_in_trouble_says_so(db: Session) -> None:
    message = db.enqueue("a")
    db.claim()
    db.call("outbox_mark_topics_unavailable_v1", '[{"topic": "chat", "reason": "no leader"}]')
    assert waits(db) == [(message, 0, "Kafka takes no records for its topic: no leader")]


def test_a_page_reads_the_followers_of_its_own_messages_alone(db: Session) -> None:
    fill(db, 3000, "pending")
    db.execute(
        "UPDATE agent_outbox_messages SET message_key = 'k', retry_count = 1,"
        " next_retry_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY"
    )
    assert reads(db, lambda: db.call("outbox_list_failing_v1", *ANY, None, 2)) < 3 * 3000 + 2 * 3 * 1000
