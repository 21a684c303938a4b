"""Messages of one topic and key take effect in id order, whatever fails and whichever copy arrives when."""

from datetime import timedelta

import pytest

from tests.kit.application import Application
from tests.kit.names import TWINS
from tests.kit.server import Connect
from tests.kit.session import Failing, Session, chat_payload


def published(db: Session, *texts: str, key: str = "k", **options: str) -> list[int]:
    """Enqueue chat messages of one key, and mark them published."""
    return [db.enqueue_published(key, payload=chat_payload(text), **options) for text in texts]


def wait_of(db: Session, message: int) -> float:
    """Return how many seconds after its last change a message is due."""
    row = db.message(message)
    wait: timedelta = row["next_retry_at"] - row["updated_at"]
    return wait.total_seconds()


# A failure takes back what has passed it


def test_failed_message_takes_its_published_followers_back(db: Session) -> None:
    failed, *followers = published(db, "1", "2", "3")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert set(db.statuses().values()) == {"pending"}
    rows = db.messages()
    assert [row["retry_count"] for row in rows] == [1, 0, 0]
    assert len({row["next_retry_at"] for row in rows}) == 1
    assert [row["last_error"] for row in rows] == ["wait", None, None]
    assert db.claim_ids() == []
    db.make_due(failed, *followers)
    assert db.claim_ids() == [failed, *followers]


def test_failed_message_takes_back_nobody_else(db: Session) -> None:
    earlier, failed, consumed, dead, pending = published(db, "1", "2", "3", "4", "5")
    db.execute("UPDATE agent_outbox_messages SET status = 'consumed' WHERE id = %s", consumed)
    db.call("outbox_mark_dead_v1", dead, "hopeless")
    db.execute("UPDATE agent_outbox_messages SET status = 'pending', next_retry_at = created_at WHERE id = %s", pending)
    (other_key,) = published(db, "x", key="another")
    (other_topic,) = published(db, "x", topic="audit")
    before = {row["id"]: row for row in db.messages()}
    db.call("outbox_mark_failed_v1", failed, "wait")
    changed = {row["id"] for row in db.messages() if row != before[row["id"]]}
    assert changed == {failed}
    assert {earlier, other_key, other_topic} & changed == set()


def test_message_that_dies_takes_nobody_back(db: Session) -> None:
    dying = db.enqueue_published(max_retry=1)
    (follower,) = published(db, "2")
    db.call("outbox_mark_failed_v1", dying, "the last time")
    assert db.statuses() == {dying: "dead", follower: "published"}
    assert db.consume(follower) == {follower: "consumed"}


def test_follower_that_failed_does_not_touch_the_message_before_it(db: Session) -> None:
    first, second = published(db, "1", "2")
    db.call("outbox_mark_failed_v1", second, "wait")
    assert db.statuses() == {first: "published", second: "pending"}
    assert db.consume(first) == {first: "consumed"}


def test_failure_at_consumption_takes_followers_back_too(db: Session) -> None:
    failed, in_batch, elsewhere = published(db, "1", "2", "3")
    outcomes = db.consume(Failing(failed), in_batch)
    assert outcomes == {failed: "failed", in_batch: "deferred"}
    assert set(db.statuses().values()) == {"pending"}
    assert db.chats() == []
    due = [row["next_retry_at"] for row in db.messages()]
    # Each of another time than before: the receipts of claims that are still under way are void.
    assert due[0] == due[2] < due[1]
    db.make_due(failed, in_batch, elsewhere)
    assert db.claim_ids() == [failed, in_batch, elsewhere]


# What comes before its turn is deferred


def test_message_behind_a_pending_one_becomes_due_just_after_it(db: Session) -> None:
    failed, second = db.enqueue_published(), db.enqueue_published()
    db.call("outbox_mark_failed_v1", failed, "wait")
    rows = db.consume_rows(second)
    assert [(row["outcome"], row["error"]) for row in rows] == [("deferred", f"waits for message {failed}")]
    first, then = db.messages()
    assert then["next_retry_at"] - first["next_retry_at"] == timedelta(microseconds=1)
    assert (then["status"], then["retry_count"], then["last_error"]) == ("pending", 0, None)


def test_message_behind_a_pending_one_that_is_due_is_due_at_once(db: Session) -> None:
    first, second = db.enqueue(), db.enqueue_published()
    assert db.consume(second) == {second: "deferred"}
    assert wait_of(db, second) < 0.001
    assert db.claim_ids() == [first, second]


@pytest.mark.parametrize(("seconds", "wait"), [(0, 1), (1, 1), (5, 5), (31, 31), (33, 32), (86400, 32)])
def test_message_behind_a_published_one_waits_as_long_as_that_is_under_way(
    db: Session, seconds: int, wait: int
) -> None:
    first, second = published(db, "1", "2")
    db.execute(
        "UPDATE agent_outbox_messages SET published_at = published_at - INTERVAL %s SECOND WHERE id = %s",
        seconds,
        first,
    )
    assert db.consume(second) == {second: "deferred"}
    assert wait_of(db, second) == wait
    assert db.statuses() == {first: "published", second: "pending"}


def test_deferred_message_counts_no_retry_however_often(db: Session) -> None:
    first, second = db.enqueue_published(), db.enqueue_published(max_retry=1)
    for _ in range(5):
        assert db.consume(second) == {second: "deferred"}
    row = db.message(second)
    assert (row["status"], row["retry_count"]) == ("pending", 0)
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}


def test_message_is_not_deferred_behind_itself_or_later_ones(db: Session) -> None:
    (first,) = published(db, "1")
    second = db.enqueue("k")
    assert db.consume(first) == {first: "consumed"}
    assert db.statuses()[second] == "pending"


def test_gap_in_a_batch_defers_what_is_behind_it(db: Session) -> None:
    first, missing, third, fourth = published(db, "1", "2", "3", "4")
    outcomes = db.consume(first, third, fourth)
    assert outcomes == {first: "consumed", third: "deferred", fourth: "deferred"}
    assert db.consume(missing, third, fourth) == dict.fromkeys((missing, third, fourth), "consumed")
    assert db.chats() == ["1", "2", "3", "4"]


def test_batches_that_arrive_out_of_order_take_effect_in_order(db: Session) -> None:
    first, second, third = published(db, "1", "2", "3")
    assert db.consume(third) == {third: "deferred"}
    assert db.consume(second) == {second: "deferred"}
    assert db.consume(first) == {first: "consumed"}
    assert db.consume(third) == {third: "deferred"}
    assert db.consume(second) == {second: "consumed"}
    assert db.consume(third) == {third: "consumed"}
    assert db.chats() == ["1", "2", "3"]


def test_order_holds_across_business_types_of_a_key(db: Session, app: Application) -> None:
    app.business("audit")
    first = db.enqueue_published(biz_type="audit", payload="{}")
    second = db.enqueue_published()
    assert db.consume(second) == {second: "deferred"}
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}


# Copies


def test_old_copy_that_arrives_after_the_take_back_does_not_pass_the_failed_one(db: Session) -> None:
    failed, follower = published(db, "1", "2")
    db.consume(Failing(failed))
    assert db.statuses() == {failed: "pending", follower: "pending"}
    assert db.consume(follower) == {follower: "deferred"}
    assert db.chats() == []
    db.make_due(failed, follower)
    assert db.mark("published", db.claim()) == 2
    assert db.consume(follower) == {follower: "deferred"}
    assert db.consume(failed) == {failed: "consumed"}
    assert db.consume(follower) == {follower: "consumed"}
    assert db.consume(failed, follower) == {failed: "duplicate", follower: "duplicate"}
    assert db.chats() == ["1", "2"]


def test_old_copy_of_the_failed_message_itself_may_take_effect_early(db: Session) -> None:
    failed, follower = published(db, "1", "2")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.consume(failed) == {failed: "consumed"}
    assert db.consume(follower) == {follower: "consumed"}
    assert db.chats() == ["1", "2"]


def test_record_that_arrives_before_its_mark_takes_effect_and_the_mark_does_nothing(db: Session) -> None:
    first, second = db.enqueue(), db.enqueue()
    claimed = db.claim()
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}
    assert db.mark("published", claimed) == 0
    assert set(db.statuses().values()) == {"consumed"}


# The dead block nobody


def test_dead_message_no_longer_blocks(db: Session) -> None:
    first, second = published(db, "1", "2")
    assert db.consume(second) == {second: "deferred"}
    db.call("outbox_mark_dead_v1", first, "hopeless")
    assert db.consume(second) == {second: "consumed"}


def test_message_that_dies_in_a_batch_lets_the_next_through(db: Session) -> None:
    dying, hopeless = db.enqueue_published(max_retry=1), db.enqueue_published(payload="{}")
    (third,) = published(db, "3")
    outcomes = db.consume(Failing(dying), hopeless, third)
    assert outcomes == {dying: "dead", hopeless: "dead", third: "consumed"}
    assert db.chats() == ["3"]


def test_bad_message_in_the_middle_keeps_its_key_in_order(db: Session) -> None:
    messages = published(db, "1", "2", "3", "4")
    bad = messages[1]
    outcomes = db.consume(messages[0], Failing(bad), *messages[2:])
    assert list(outcomes.values()) == ["consumed", "failed", "deferred", "deferred"]
    assert db.chats() == ["1"]
    db.make_due(*messages)
    assert db.mark("published", db.claim()) == 3
    assert set(db.consume(*messages[1:]).values()) == {"consumed"}
    assert db.chats() == ["1", "2", "3", "4"]


# Freedom


def test_messages_without_order_take_effect_as_they_come(db: Session) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", ordering="none")
    first, second, third = published(db, "1", "2", "3", biz_type="free")
    assert db.consume(third) == {third: "consumed"}
    assert db.consume(Failing(first), second) == {first: "failed", second: "consumed"}
    assert db.chats() == ["3", "2"]


def test_failed_message_without_order_takes_nobody_back(db: Session) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", ordering="none")
    failed, follower = published(db, "1", "2", biz_type="free")
    (ordered,) = published(db, "3")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.statuses() == {failed: "pending", follower: "published", ordered: "published"}


def test_ordered_message_that_fails_leaves_followers_without_order(db: Session) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", ordering="none")
    (failed,) = published(db, "1")
    (free,) = published(db, "2", biz_type="free")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.statuses() == {failed: "pending", free: "published"}
    assert db.consume(free) == {free: "consumed"}


def test_unordered_message_does_not_block_an_ordered_one(db: Session) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", ordering="none")
    published(db, "1", biz_type="free")
    (ordered,) = published(db, "2")
    assert db.consume(ordered) == {ordered: "consumed"}


@pytest.mark.parametrize("unordered", [1, 20, 100])
def test_message_behind_many_unordered_ones_does_not_pass_an_ordered_one(db: Session, unordered: int) -> None:
    db.register("free", "outbox_internal_write_chat_history_v1", ordering="none")
    for _ in range(unordered):
        db.enqueue_published("a", biz_type="free")
    first, second = (db.enqueue_published("a") for _ in range(2))
    assert db.consume(second) == {second: "deferred"}
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}


def test_topics_do_not_wait_for_each_other(db: Session) -> None:
    (chat,) = published(db, "1", topic="chat")
    (audit,) = published(db, "2", topic="audit")
    assert db.consume(audit) == {audit: "consumed"}
    assert db.consume(Failing(chat)) == {chat: "failed"}
    assert db.statuses() == {chat: "pending", audit: "consumed"}


def test_keys_compare_by_bytes_at_the_consumer_too(db: Session) -> None:
    (failed,) = published(db, "1", key="a")
    others = [published(db, key, key=key)[0] for key in ("A", "a ", "ä", "á", "a\u0301")]
    outcomes = db.consume(Failing(failed), *others)
    assert outcomes == {failed: "failed", **dict.fromkeys(others, "consumed")}


@pytest.mark.parametrize("of", ["key", "topic"])
def test_lanes_with_the_same_hash_do_not_wait_for_each_other(db: Session, of: str) -> None:
    lane, twin = ({"key": "k", "topic": "chat", of: name} for name in TWINS)
    (failed,) = published(db, "1", **lane)
    (other,) = published(db, "2", **twin)
    assert len(db.column("SELECT DISTINCT open_lane FROM agent_outbox_messages")) == 1
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.statuses() == {failed: "pending", other: "published"}
    assert db.consume(other) == {other: "consumed"}
    (other,) = published(db, "3", **twin)
    (hopeless,) = published(db, "4", **lane)
    (last,) = published(db, "5", **twin)
    outcomes = db.consume(Failing(failed), other, hopeless, last)
    assert outcomes == {failed: "failed", other: "consumed", hopeless: "deferred", last: "consumed"}
    assert db.chats() == ["2", "3", "5"]


def test_failing_key_delays_no_other(db: Session) -> None:
    batch: list[int | Failing] = []
    expected: dict[int, str] = {}
    for number in range(120):
        key = number % 12
        message = db.enqueue_published(f"key {key}", payload=chat_payload(f"{key}:{number}"))
        if key == 5:
            batch.append(Failing(message))
            expected[message] = "failed" if number == 5 else "deferred"
        else:
            batch.append(message)
            expected[message] = "consumed"
    assert db.consume(*batch) == expected
    assert len(db.chats()) == 110


@pytest.mark.parametrize(("locked", "fails", "outcome"), [(1, True, "failed"), (0, False, "consumed")])
def test_consumption_of_one_key_waits_for_no_other_keys_transaction(
    db: Session, connect: Connect, locked: int, fails: bool, outcome: str
) -> None:
    slow, quick = connect(), connect()
    messages = [*published(db, "1", key="a"), *published(db, "2", key="b")]
    slow.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION")
    slow.call("outbox_mark_failed_v1", messages.pop(locked), "not committed")
    quick.execute("SET innodb_lock_wait_timeout = 1")
    (free,) = messages
    assert quick.consume(Failing(free) if fails else free) == {free: outcome}
    slow.execute("ROLLBACK")
