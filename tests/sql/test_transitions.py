"""The state machine: which routine may move a message from which state, and what else it changes."""

from collections.abc import Callable

import pytest

from tests.kit.session import Failing, Session, chat_payload

Transition = Callable[[Session, int], None]


def mark_published(db: Session, message: int) -> None:
    db.call("outbox_mark_published_v1", message)


def mark_failed(db: Session, message: int) -> None:
    db.call("outbox_mark_failed_v1", message, "it failed")


def mark_dead(db: Session, message: int) -> None:
    db.call("outbox_mark_dead_v1", message, "it is hopeless")


def persist(db: Session, message: int) -> None:
    db.call("outbox_persist_chat_history_v1", message, chat_payload())


def consume(db: Session, message: int) -> None:
    db.consume(message)


def consume_failing(db: Session, message: int) -> None:
    db.consume(Failing(message))


def batch(kind: str) -> Transition:
    def mark(db: Session, message: int) -> None:
        db.claim()
        db.mark(kind, [{"id": message, "receipt": db.message(message)["next_retry_at"]}], reason="by the relay")

    mark.__name__ = f"mark_{kind}_batch"
    return mark


STATES = ("pending", "published", "consumed", "dead")
# For each routine the states that it may leave, and where it leads; in every other state it changes nothing.
ALLOWED: dict[Transition, dict[str, str]] = {
    mark_published: {"pending": "published"},
    mark_failed: {"pending": "pending", "published": "pending"},
    mark_dead: {"pending": "dead", "published": "dead"},
    persist: {"pending": "consumed", "published": "consumed"},
    consume: {"pending": "consumed", "published": "consumed"},
    consume_failing: {"pending": "pending", "published": "pending"},
    batch("published"): {"pending": "published"},
    batch("failed"): {"pending": "pending"},
    batch("dead"): {"pending": "dead"},
}
CASES = [
    pytest.param(transition, state, leads_to.get(state), id=f"{transition.__name__}-{state}")
    for transition, leads_to in ALLOWED.items()
    for state in STATES
]


@pytest.mark.parametrize(("transition", "state", "target"), CASES)
def test_transition_leaves_only_the_states_it_may(
    db: Session, transition: Transition, state: str, target: str | None
) -> None:
    message, bystander = db.enqueue_in(state), db.enqueue_in(state, "another key")
    before, chats = db.messages(), db.chats()
    transition(db, message)
    after = db.messages()
    assert after[1] == before[1], f"{bystander} is no concern of this call"
    if target is None:
        assert after == before
        assert db.chats() == chats
    else:
        assert after[0]["status"] == target
        assert after[0] != before[0]
        assert (after[0]["next_retry_at"] is not None) == (target == "pending")
        kept = ("id", "biz_type", "topic", "message_key", "payload", "headers", "max_retry", "created_at")
        assert {name: after[0][name] for name in kept} == {name: before[0][name] for name in kept}
        assert after[0]["updated_at"] > before[0]["updated_at"]


def test_published_message_has_its_time_and_no_retry_time(db: Session) -> None:
    message = db.enqueue()
    before = db.value("SELECT UTC_TIMESTAMP(6)")
    db.call("outbox_mark_published_v1", message)
    row = db.message(message)
    assert row["next_retry_at"] is None
    assert before <= row["published_at"] == row["updated_at"] <= db.value("SELECT UTC_TIMESTAMP(6)")
    assert (row["retry_count"], row["last_error"], row["consumed_at"]) == (0, None, None)


def test_consumed_message_has_its_time_and_no_retry_time(db: Session) -> None:
    message = db.enqueue()
    before = db.value("SELECT UTC_TIMESTAMP(6)")
    db.consume(message)
    row = db.message(message)
    assert row["next_retry_at"] is None
    assert before <= row["consumed_at"] <= db.value("SELECT UTC_TIMESTAMP(6)")
    assert row["published_at"] == row["consumed_at"]


@pytest.mark.parametrize("state", ["pending", "published"])
def test_dead_message_says_why_and_has_no_retry_time(db: Session, state: str) -> None:
    message = db.enqueue_in(state)
    db.call("outbox_mark_dead_v1", message, "the conversation was deleted")
    row = db.message(message)
    assert (row["status"], row["last_error"]) == ("dead", "the conversation was deleted")
    assert (row["next_retry_at"], row["retry_count"]) == (None, 0)


@pytest.mark.parametrize("state", ["pending", "published"])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_message_dies_exactly_at_max_retry(db: Session, state: str, limit: int) -> None:
    message = db.enqueue(max_retry=limit)
    for count in range(1, limit + 1):
        if state == "published":
            db.call("outbox_mark_published_v1", message)
        db.call("outbox_mark_failed_v1", message, f"failure {count}")
        row = db.message(message)
        assert (row["retry_count"], row["last_error"]) == (count, f"failure {count}")
        assert row["status"] == ("dead" if count == limit else "pending")
        assert (row["next_retry_at"] is None) == (count == limit)


@pytest.mark.parametrize("stored", [0, -1, 20])
def test_stored_max_retry_of_zero_or_less_counts_as_20(db: Session, stored: int) -> None:
    message = db.enqueue()
    # As a row of the legacy Go service may have it.
    db.execute("UPDATE agent_outbox_messages SET max_retry = %s, retry_count = 18", stored)
    db.call("outbox_mark_failed_v1", message, "the 19th")
    assert db.message(message)["status"] == "pending"
    db.call("outbox_mark_failed_v1", message, "the 20th")
    assert db.message(message)["status"] == "dead"


@pytest.mark.parametrize(("policy", "own", "effective"), [(2, None, 2), (2, 9, 2), (3, 1, 3), (None, 2, 2)])
def test_max_retry_of_the_business_type_rules_over_the_messages_own(
    db: Session, policy: int | None, own: int | None, effective: int
) -> None:
    db.register("fragile", "nobody")
    message = db.enqueue(biz_type="fragile", max_retry=own)
    # After the enqueue: a policy holds for the messages that wait already.
    db.execute("UPDATE outbox_biz_types SET max_retry = %s WHERE biz_type = 'fragile'", policy)
    for count in range(1, effective + 1):
        db.call("outbox_mark_failed_v1", message, "again")
        assert db.message(message)["status"] == ("dead" if count == effective else "pending")


@pytest.mark.parametrize("routine", ["outbox_mark_failed_v1", "outbox_mark_dead_v1"])
@pytest.mark.parametrize("letter", ["a", "é", "漢", "🎉"])
def test_last_error_keeps_the_first_2000_characters_not_bytes(db: Session, routine: str, letter: str) -> None:
    message = db.enqueue()
    db.call(routine, message, "!" + letter * 1999 + "this is cut off")
    assert db.message(message)["last_error"] == "!" + letter * 1999


@pytest.mark.parametrize("routine", ["outbox_mark_failed_v1", "outbox_mark_dead_v1"])
@pytest.mark.parametrize("reason", [None, "", 'it\'s a \\ "reason"\nof 漢字 🎉'])
def test_reason_is_kept_as_it_is(db: Session, routine: str, reason: str | None) -> None:
    message = db.enqueue()
    db.call(routine, message, reason)
    assert db.message(message)["last_error"] == reason


def test_reason_of_a_mebibyte_is_accepted(db: Session) -> None:
    message = db.enqueue()
    db.call("outbox_mark_failed_v1", message, "x" * 1_048_576)
    assert db.message(message)["last_error"] == "x" * 2000


def test_get_returns_the_documented_columns_or_nothing(db: Session) -> None:
    message = db.enqueue()
    assert list(db.message(message)) == [
        "id", "biz_type", "topic", "message_key", "payload", "body", "content_type", "headers", "origin",
        "dedup_key", "status", "retry_count", "max_retry", "next_retry_at", "last_error", "kafka_partition",
        "kafka_offset", "published_at", "consumed_at", "created_at", "updated_at",
    ]  # fmt: skip
    assert db.call("outbox_get_v1", message + 1) == []
    assert db.call("outbox_get_v1", None) == []
