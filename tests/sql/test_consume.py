"""outbox_consume_v1: what becomes of each record of a batch, and of the handlers that applications write."""

from datetime import timedelta
from typing import Any

import pytest

from tests.kit.application import Application
from tests.kit.session import Failing, Session, chat_payload, reads

FAIL = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 50123, MESSAGE_TEXT = 'the application says no'"


def outcome(db: Session, *message: int | Failing) -> tuple[str, str | None]:
    """Consume one message; return its outcome and error."""
    (row,) = db.consume_rows(*message)
    return row["outcome"], row["error"]


# Outcomes


def test_result_has_id_outcome_and_error_by_id(db: Session) -> None:
    first, second = db.enqueue("a"), db.enqueue("b")
    rows = db.consume_rows(second, first)
    assert [list(row.items()) for row in rows] == [
        [("id", first), ("outcome", "consumed"), ("error", None)],
        [("id", second), ("outcome", "consumed"), ("error", None)],
    ]


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "in a batch"])
@pytest.mark.parametrize("biz_type", ["chat_history_persist", "one_by_one"])
def test_message_whose_record_is_faster_than_the_mark_is_published_by_then(
    db: Session, app: Application, biz_type: str, others: int
) -> None:
    db.register("one_by_one", app.handler())
    messages = [db.enqueue(str(number), biz_type=biz_type) for number in range(1 + others)]
    marked = db.enqueue_published("marked", biz_type=biz_type)
    before = db.message(marked)["published_at"]
    assert set(db.consume(*messages).values()) | set(db.consume(marked).values()) == {"consumed"}
    rows = [db.message(message) for message in messages]
    assert [row["published_at"] for row in rows] == [row["consumed_at"] for row in rows]
    assert db.message(marked)["published_at"] == before


@pytest.mark.parametrize("state", ["pending", "published"])
def test_message_is_consumed_with_its_effect(db: Session, state: str) -> None:
    message = db.enqueue_in(state, payload=chat_payload("hello", "c-9", "assistant", 42))
    assert outcome(db, message) == ("consumed", None)
    assert db.statuses() == {message: "consumed"}
    row = db.row("SELECT user_id, chat_id, role, message_content, created_at FROM chat_histories")
    consumed_at = db.message(message)["consumed_at"]
    assert consumed_at <= row.pop("created_at") <= consumed_at + timedelta(seconds=1)
    assert row == {"user_id": 42, "chat_id": "c-9", "role": "assistant", "message_content": "hello"}


def test_message_delivered_again_is_a_duplicate_and_has_no_second_effect(db: Session) -> None:
    message = db.enqueue_published()
    db.consume(message)
    before = db.messages()
    assert outcome(db, message) == ("duplicate", None)
    assert outcome(db, Failing(message)) == ("duplicate", None)
    assert db.messages() == before
    assert db.chats() == ["k"]


def test_record_of_no_message_is_unknown(db: Session) -> None:
    assert outcome(db, 987_654_321) == ("unknown", None)
    assert db.chats() == []


def test_dead_message_stays_dead(db: Session) -> None:
    message = db.enqueue_in("dead")
    before = db.messages()
    assert outcome(db, message) == ("dead", None)
    assert db.messages() == before
    assert db.chats() == []


def test_message_before_its_turn_is_deferred(db: Session) -> None:
    first, second = db.enqueue_published(), db.enqueue_published()
    assert outcome(db, second) == ("deferred", f"waits for message {first}")
    assert db.statuses() == {first: "published", second: "pending"}
    assert db.message(second)["retry_count"] == 0


def test_mixed_batch_gives_each_its_own_outcome(db: Session, app: Application) -> None:
    app.business("fails", FAIL)
    app.business("records")
    consumed = db.enqueue_in("consumed", "a")
    dead = db.enqueue_in("dead", "b")
    good = [db.enqueue_published(key, payload=chat_payload(key)) for key in ("c", "d", "e")]
    hopeless = db.enqueue_published("f", payload='{"user_id":"x"}')
    failing = db.enqueue_published("g", biz_type="fails", payload="{}")
    recorded = db.enqueue_published("h", biz_type="records", payload="{}")
    last_try = db.enqueue_published("i", biz_type="fails", payload="{}", max_retry=1)
    publish_only = db.enqueue_published("j", biz_type="nobody_knows_it", payload="{}")
    early = db.enqueue_published("k")
    deferred = db.enqueue_published("k")
    unknown = deferred + 1
    outcomes = db.consume(consumed, dead, *good, hopeless, failing, recorded, last_try, publish_only, deferred, unknown)
    assert outcomes == {
        consumed: "duplicate",
        dead: "dead",
        **dict.fromkeys(good, "consumed"),
        hopeless: "dead",
        failing: "failed",
        recorded: "consumed",
        last_try: "dead",
        publish_only: "duplicate",
        deferred: "deferred",
        unknown: "unknown",
    }
    assert db.chats() == ["a", "c", "d", "e"]
    assert app.effects() == [recorded]
    assert db.statuses()[early] == "published"


@pytest.mark.parametrize("bad", ["{}", "[]", '{"user_id":7,"conversation_id":"c","role":"r","message":7}'])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_chat_message_harms_no_other(db: Session, bad: str, place: int) -> None:
    payloads = [chat_payload("one"), chat_payload("two")]
    payloads.insert(place, bad)
    messages = [db.enqueue_published(f"key {n}", payload=payload) for n, payload in enumerate(payloads)]
    assert list(db.consume(*messages).values()) == ["dead" if n == place else "consumed" for n in range(3)]
    assert db.chats() == ["one", "two"]


# What a batch may look like


def test_message_twice_in_a_batch_takes_effect_once(db: Session) -> None:
    message, other = db.enqueue_published("a"), db.enqueue_published("b")
    assert db.consume(message, message, other, message) == {message: "consumed", other: "consumed"}
    assert db.chats() == ["a", "b"]


@pytest.mark.parametrize("place", [0, 1])
def test_of_two_records_with_one_id_the_own_one_counts(db: Session, place: int) -> None:
    message = db.enqueue_published("a")
    records = [db.record(message)]
    records.insert(place, db.record(message, key="forged"))
    assert db.consume(*records) == {message: "consumed"}
    assert db.chats() == ["a"]


def test_order_of_a_batch_does_not_matter(db: Session) -> None:
    messages = [db.enqueue_published("k", payload=chat_payload(text)) for text in ("1st", "2nd", "3rd")]
    assert set(db.consume(*reversed(messages)).values()) == {"consumed"}
    assert db.chats() == ["1st", "2nd", "3rd"]


def test_large_batch_is_consumed_at_once(db: Session) -> None:
    db.execute("START TRANSACTION")
    messages = [db.enqueue(f"key {number % 50}", payload=chat_payload(str(number))) for number in range(300)]
    db.execute("COMMIT")
    assert set(db.consume(*messages).values()) == {"consumed"}
    assert db.chats() == [str(number) for number in range(300)]


def test_consume_leaves_no_session_behind_for_the_next(db: Session) -> None:
    first = db.enqueue("a")
    db.consume(first, first + 1)
    second = db.enqueue("b")
    assert db.consume(second) == {second: "consumed"}


# A record that is not of the message with its id

FOREIGN = [
    ({"created_at": "2026-01-01 00:00:00.000001"}, "its ce_time is not that of message"),
    ({"created_at": None}, "its ce_time is not that of message"),
    ({"created_at": "yesterday"}, "its ce_time is not that of message"),
    ({"topic": "other"}, "is of topic chat"),
    ({"topic": "CHAT"}, "is of topic chat"),
    ({"key": "other"}, "has another key"),
    ({"key": "K"}, "has another key"),
    ({"key": "k "}, "has another key"),
    ({"key": "k" * 300}, "has another key"),
]


@pytest.mark.parametrize("state", ["pending", "published", "consumed", "dead"])
@pytest.mark.parametrize(("changes", "said"), FOREIGN)
def test_record_that_does_not_agree_with_the_row_is_foreign_and_changes_nothing(
    db: Session, state: str, changes: dict[str, Any], said: str
) -> None:
    message, other = db.enqueue_in(state, "k"), db.enqueue_published("b")
    before, chats = db.message(message), db.chats()
    row, _ = db.consume_rows(db.record(message, **changes), other)
    assert (row["id"], row["outcome"]) == (message, "foreign")
    assert said in row["error"]
    assert db.message(message) == before
    assert db.chats() == [*chats, "b"]


def test_id_that_was_given_out_twice_takes_the_effect_of_its_own_record_alone(db: Session) -> None:
    """As after a restore, or a failover that lost transactions: the old record is in Kafka still."""
    lost = db.enqueue_published("k", payload=chat_payload("lost"))
    old = db.record(lost)
    db.execute(f"DELETE FROM agent_outbox_messages; ALTER TABLE agent_outbox_messages AUTO_INCREMENT = {lost}")
    again = db.enqueue_published("k", payload=chat_payload("new"))
    assert again == lost
    assert db.consume(old) == {again: "foreign"}
    assert db.consume(again) == {again: "consumed"}
    assert db.chats() == ["new"]


def test_topic_and_key_may_be_left_out(db: Session) -> None:
    message = db.enqueue_published()
    record = db.record(message)
    assert db.consume({"id": message, "created_at": record["created_at"]}) == {message: "consumed"}


def test_payloads_of_more_bytes_than_a_transaction_takes_are_not_reached(db: Session) -> None:
    db.call("outbox_set_max_payload_bytes_v1", 16 << 20)
    payload = chat_payload("x" * (12 << 20))
    messages = [db.enqueue_published(f"key {number}", payload=payload) for number in range(4)]
    outcomes = db.consume_once(*messages)
    assert list(outcomes.values()) == ["consumed", "consumed", "not reached", "not reached"]
    assert set(db.consume(*messages[2:]).values()) == {"consumed"}


def test_failure_kills_at_max_retry(db: Session) -> None:
    message = db.enqueue_published(max_retry=1)
    assert db.consume(Failing(message)) == {message: "dead"}
    assert db.message(message)["retry_count"] == 1


@pytest.mark.parametrize("state", ["pending", "published"])
def test_call_costs_the_same_however_long_the_lane_is_behind_its_message(db: Session, state: str) -> None:
    def cost(behind: int) -> int:
        message = db.enqueue_published("k")
        db.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, status, next_retry_at)"
            " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
            " SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ 'chat_history_persist', 'chat', 'k', '1', %s,"
            " IF(%s = 'pending', UTC_TIMESTAMP(6), NULL) FROM n",
            *(behind, state, state),
        )
        spent = reads(db, lambda: db.consume(message))
        assert db.message(message)["status"] == "consumed"
        db.clean()
        return spent

    cost(1)
    assert cost(5000) <= cost(50) + 5
