"""Published but never consumed: found, sent again in order, and cheap to look for."""

import pytest

from tests.kit.operators import age, audit, fill, halfway
from tests.kit.server import Connect
from tests.kit.session import Session, reads, refused


def recover(db: Session, older_than: int = 60, limit: int | None = None) -> int:
    return int(db.out("outbox_recover_published_v1", older_than, limit))


def stale(db: Session, key: str = "k", payload: str | None = None) -> int:
    """Enqueue and publish a message two minutes ago."""
    message = db.enqueue_published(key, payload=payload)
    age(db, message, 120)
    return message


def send(db: Session) -> list[int]:
    """Claim and mark published, as a relay does; return the ids in order."""
    claimed = db.claim()
    db.mark("published", claimed)
    return [row["id"] for row in claimed]


@pytest.mark.parametrize("state", ["pending", "published", "consumed", "dead"])
def test_only_messages_published_long_ago_are_sent_back(db: Session, state: str) -> None:
    old, new = db.enqueue_in(state, "old"), db.enqueue_in(state, "new")
    age(db, old, 120)
    before = db.messages()
    assert recover(db) == (state == "published")
    after = db.messages()
    assert after[1] == before[1], f"{new} is too young"
    if state != "published":
        assert after == before
        assert audit(db) == []
        return
    row = after[0]
    assert (row["status"], row["retry_count"], row["published_at"]) == ("pending", 0, before[0]["published_at"])
    published_at = before[0]["published_at"].isoformat(sep=" ", timespec="microseconds")
    assert row["last_error"] == f"published at {published_at}, not consumed within 60 s: sent again"
    assert row["next_retry_at"] == row["updated_at"] <= db.value("SELECT UTC_TIMESTAMP(6)")
    (entry,) = audit(db)
    assert (entry["action"], entry["messages"], entry["older_than_seconds"]) == ("recover_published", 1, 60)
    assert (entry["first_id"], entry["last_id"]) == (old, old)


def test_recovered_message_takes_effect_once_though_its_record_comes_after_all(db: Session) -> None:
    message = stale(db)
    recover(db)
    assert send(db) == [message]
    assert db.consume(message) == {message: "consumed"}
    assert db.consume(message) == {message: "duplicate"}
    assert db.chats() == ["k"]


def test_record_that_comes_before_the_message_is_sent_again_makes_sending_needless(db: Session) -> None:
    message = stale(db)
    recover(db)
    assert db.consume(message) == {message: "consumed"}
    assert send(db) == []


def test_order_of_a_key_holds_when_its_first_message_was_lost(db: Session) -> None:
    first, second = stale(db), db.enqueue_published()
    third = db.enqueue()
    assert recover(db) == 1
    assert db.consume(second) == {second: "deferred"}
    db.make_due(first, second, third)
    assert send(db) == [first, second, third]
    assert db.consume(first, second, third) == dict.fromkeys((first, second, third), "consumed")
    assert db.consume(first, second, third) == dict.fromkeys((first, second, third), "duplicate")


def test_order_of_a_key_holds_when_all_was_lost_and_is_found_in_parts(db: Session) -> None:
    messages = [stale(db) for _ in range(5)]
    sent: list[int] = []
    while len(sent) < 5:
        assert recover(db, limit=2) in (1, 2)
        sent += (batch := send(db))
        assert recover(db, limit=2) == 0, "those that were sent again are the oldest under way"
        assert db.consume(*batch) == dict.fromkeys(batch, "consumed")
    assert sent == messages


def test_recovered_message_that_comes_before_its_predecessor_waits_for_it(db: Session) -> None:
    first, second = db.enqueue_published(), stale(db)
    assert recover(db) == 1
    assert send(db) == [second]
    assert db.consume(second) == {second: "deferred"}
    assert db.consume(first) == {first: "consumed"}
    db.make_due(second)
    assert send(db) == [second]
    assert db.consume(second) == {second: "consumed"}


def test_late_mark_of_the_first_sending_does_not_touch_a_recovered_message(db: Session) -> None:
    message = db.enqueue()
    claimed = db.claim()
    db.mark("published", claimed)
    age(db, message, 120)
    recover(db)
    assert db.mark("published", claimed) == db.mark("failed", claimed) == 0
    assert db.statuses() == {message: "pending"}


def test_every_topic_and_type_has_its_turn_beside_a_full_one(db: Session) -> None:
    db.register("order_placed", "outbox_internal_write_chat_history_v1")
    fill(db, 50, "published")
    other_topic = fill(db, 1, "published", topic="orders", age_seconds=120)
    other_type = db.enqueue_published("a", biz_type="order_placed")
    age(db, other_type, 120)
    assert recover(db, limit=10) == 2
    pending = [message for message, state in db.statuses().items() if state == "pending"]
    assert pending == [*other_topic, other_type]


def test_lost_message_behind_many_under_way_is_found_once_those_are_consumed(db: Session) -> None:
    under_way = fill(db, 20, "published")
    (lost,) = fill(db, 1, "published", age_seconds=120)
    assert recover(db, limit=10) == 0
    db.execute("UPDATE agent_outbox_messages SET status = 'consumed' WHERE id <= %s", under_way[14])
    assert recover(db, limit=10) == 1
    assert db.statuses()[lost] == "pending"


def test_message_that_the_legacy_go_service_published_is_found_too(db: Session) -> None:
    """Its dispatcher may leave next_retry_at as it was, and an adopted row may have no published_at."""
    message = stale(db)
    db.execute("UPDATE agent_outbox_messages SET next_retry_at = created_at, published_at = NULL")
    assert recover(db) == 1
    assert send(db) == [message]


def test_limit_is_1000_unless_told(db: Session) -> None:
    messages = fill(db, 2500, "published", age_seconds=120)
    for limit, count in ((None, 1000), (0, 1000), (10_000, 500)):
        assert recover(db, limit=limit) == count
    assert [message for message, state in db.statuses().items() if state == "pending"] == messages
    assert recover(db) == 0


def test_recovery_of_all_that_is_under_way_needs_no_age(db: Session) -> None:
    message = db.enqueue_published()
    assert recover(db, older_than=0) == 1
    assert db.statuses() == {message: "pending"}


@pytest.mark.parametrize(
    ("older_than", "limit", "errno", "text"),
    [
        (None, 10, 30001, "p_older_than_seconds must not be NULL"),
        (-1, 10, 30005, "p_older_than_seconds must not be negative: -1"),
        (60, -1, 30005, "p_limit must be from 0 to 10000: -1"),
        (60, 10_001, 30005, "p_limit must be from 0 to 10000: 10001"),
    ],
)
def test_bad_arguments_are_refused(db: Session, older_than: int | None, limit: int, errno: int, text: str) -> None:
    message = stale(db)
    with refused(errno, text):
        db.out("outbox_recover_published_v1", older_than, limit)
    assert db.statuses() == {message: "published"}


def test_looking_for_lost_messages_costs_the_same_however_much_is_under_way(db: Session) -> None:
    costs = []
    recover(db, limit=100)  # the first call in a session reads more
    for _ in range(2):
        fill(db, 5000, "published")
        fill(db, 100, "published", topic="orders")
        db.execute("ANALYZE TABLE agent_outbox_messages")
        costs.append(reads(db, lambda: recover(db, limit=100)))
    assert costs[0] == costs[1] < 1000


def test_half_done_recovery_holds_up_no_other_key_and_no_consumer(db: Session, connect: Connect) -> None:
    lost, other = stale(db, "a"), db.enqueue_published("b")
    with halfway(db, connect, recover):
        fresh = db.enqueue("c")
        follower = db.enqueue("a")
        assert send(db) == [fresh], f"{follower} waits: {lost} may be pending"
        assert db.consume(other) == {other: "consumed"}
    assert send(db) == [lost, follower]


def test_message_that_is_being_consumed_is_left_out_not_waited_for(db: Session, connect: Connect) -> None:
    first, second = stale(db, "a"), stale(db, "b")
    consumer = connect()
    consumer.execute("START TRANSACTION; SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", first)
    assert recover(db) == 1
    assert db.statuses() == {first: "published", second: "pending"}
