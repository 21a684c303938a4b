"""outbox_claim_v1: which messages a relay gets, in which order, and how it waits for them."""

import pytest

from tests.kit.names import TWINS, key_of, slot_of
from tests.kit.session import CHAT, Session, ids, reads


def enqueue_many(db: Session, keys: list[str]) -> list[int]:
    """Enqueue a message for each key, in one transaction."""
    db.execute("START TRANSACTION")
    messages = [db.enqueue(key) for key in keys]
    db.execute("COMMIT")
    return messages


def enqueue_delayed(db: Session, key: str, seconds: int) -> int:
    return db.enqueue_with(CHAT, "chat", key, "{}", delay_seconds=seconds)


# What a batch is


def test_claim_returns_the_documented_columns(db: Session) -> None:
    message = db.enqueue_with(CHAT, "chat", "k", '{"a": 1}', headers={"h": "v"})
    (claimed,) = db.claim()
    row = db.message(message)
    assert list(claimed.items()) == [
        ("id", message),
        ("biz_type", CHAT),
        ("topic", "chat"),
        ("message_key", "k"),
        ("value", b'{"a": 1}'),
        ("content_type", "application/json"),
        ("headers", '{"h": "v"}'),
        ("created_at", row["created_at"]),
        ("receipt", row["next_retry_at"]),
    ]


def test_claim_changes_no_message_and_returns_the_same_until_they_are_marked(db: Session) -> None:
    messages = enqueue_many(db, ["a", "b", "c"])
    before = db.messages()
    first = db.claim()
    assert ids(first) == messages
    assert db.claim() == first
    assert db.messages() == before
    assert db.mark("published", first[:1]) == 1
    assert db.claim() == first[1:]
    assert db.mark("published", first[1:]) == 2
    assert db.claim() == []


def test_batch_is_in_id_order_whatever_the_slots(db: Session) -> None:
    keys = [f"key {number}" for number in range(40)] * 3
    assert len({slot_of(key) for key in keys}) > 20
    messages = enqueue_many(db, keys)
    assert db.claim_ids() == messages == sorted(messages)


def test_batch_has_at_most_the_limit_and_the_next_goes_on(db: Session) -> None:
    messages = enqueue_many(db, ["one key"] * 7)
    taken: list[list[int]] = []
    while claimed := db.claim(limit=3):
        taken.append(ids(claimed))
        assert db.mark("published", claimed) == len(claimed)
    assert taken == [messages[:3], messages[3:6], messages[6:]]


@pytest.mark.parametrize("limit", [None, 0])
def test_limit_is_100_unless_told(db: Session, limit: int | None) -> None:
    messages = enqueue_many(db, ["one key"] * 103)
    assert ids(db.claim(limit=limit)) == messages[:100]


def test_only_pending_messages_are_claimed(db: Session) -> None:
    for status in ("published", "consumed", "dead"):
        db.enqueue_in(status, status)
    pending = db.enqueue("pending")
    assert db.claim_ids() == [pending]


def test_hot_key_alone_fills_the_batch(db: Session) -> None:
    messages = enqueue_many(db, ["hot"] * 300)
    assert ids(db.claim(limit=256)) == messages[:256]


def test_hot_key_among_quiet_ones_fills_what_they_leave(db: Session) -> None:
    hot = enqueue_many(db, [key_of(0)] * 300)
    quiet = enqueue_many(db, [key_of(slot) for slot in range(1, 20)])
    assert ids(db.claim(limit=300)) == hot[:300]
    claimed = ids(db.claim(limit=319))
    assert claimed == hot + quiet


def test_backlog_of_one_slot_does_not_starve_the_others(db: Session) -> None:
    backlog = enqueue_many(db, [key_of(0)] * 300)
    later = enqueue_many(db, [key_of(slot) for slot in range(1, 64)])
    claimed = ids(db.claim(limit=128))
    assert set(claimed) >= set(later)
    assert claimed[: -len(later)] == backlog[: len(claimed) - len(later)]


@pytest.mark.parametrize("limit", [1, 7, 20, 59, 60, 61])
def test_batch_from_one_slot_is_its_head_and_at_least_half_full(db: Session, limit: int) -> None:
    messages = enqueue_many(db, [key_of(5, number) for number in range(30)] * 2)
    claimed = ids(db.claim(limit=limit))
    assert min(limit, len(messages)) / 2 <= len(claimed) <= limit
    assert claimed == messages[: len(claimed)]


def test_relays_get_the_messages_of_their_own_slots_and_no_others(db: Session) -> None:
    messages = enqueue_many(db, [f"key {number}" for number in range(100)])
    for _ in range(2):
        for relay in ("relay-a", "relay-b"):
            db.claim(relay)
    by_a, by_b = db.claim("relay-a"), db.claim("relay-b")
    assert {slot_of(row["message_key"]) for row in by_a} <= db.owned("relay-a")
    assert {slot_of(row["message_key"]) for row in by_b} <= db.owned("relay-b")
    assert sorted(ids(by_a) + ids(by_b)) == messages
    assert by_a
    assert by_b


# Who waits for whom


def test_failed_message_holds_back_its_keys_later_ones_and_no_other_key(db: Session) -> None:
    neighbour = key_of(slot_of("k"), 3)
    failed, behind, beside, elsewhere = enqueue_many(db, ["k", "k", neighbour, "another slot"])
    db.call("outbox_mark_failed_v1", failed, "wait")
    later = db.enqueue("k")
    assert db.claim_ids() == [beside, elsewhere]
    db.make_due(failed)
    assert db.claim_ids() == [failed, behind, beside, elsewhere, later]


def test_lane_that_was_taken_back_as_a_whole_is_claimed_as_a_fresh_one_is(db: Session) -> None:
    lane = enqueue_many(db, ["k"] * 1000)
    db.claim(limit=1)

    def cost() -> int:
        return reads(db, lambda: db.out("outbox_internal_read_heads_v1", "relay-a", 1000, 64, 0, 2**64 - 1, None))

    fresh = cost()
    db.mark("published", db.claim())
    db.call("outbox_mark_failed_v1", lane[0], "wait")
    db.make_due(*lane)
    assert db.claim_ids() == lane
    assert cost() < fresh * 1.5


def test_keys_that_wait_are_looked_up_once_however_many_there_are(db: Session) -> None:
    enqueue_many(db, [f"waits-{number}" for number in range(1000)])
    db.execute("UPDATE agent_outbox_messages SET retry_count = 1, next_retry_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR")
    enqueue_many(db, [f"another-{number}" for number in range(300)])
    db.execute("ANALYZE TABLE agent_outbox_messages")
    db.claim(limit=1)
    assert reads(db, lambda: db.out("outbox_internal_read_heads_v1", "relay-a", 300, 64, 0, 2**64 - 1, None)) < 30_000


def test_failed_message_does_not_hold_back_earlier_ones(db: Session) -> None:
    earlier, failed, later = enqueue_many(db, ["k"] * 3)
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.claim_ids() == [earlier]
    assert later not in db.claim_ids()


@pytest.mark.parametrize("of", ["key", "topic"])
def test_message_of_another_lane_with_the_same_hash_is_not_held_back(db: Session, of: str) -> None:
    lanes = [(name, "chat") if of == "key" else ("k", name) for name in TWINS]
    failed, twin = (db.enqueue(key, topic=topic) for key, topic in lanes)
    assert len(db.column("SELECT DISTINCT open_lane FROM agent_outbox_messages")) == 1
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.claim_ids() == [twin]


def test_dead_message_holds_back_nobody(db: Session) -> None:
    first, second = enqueue_many(db, ["k", "k"])
    db.call("outbox_mark_failed_v1", first, "wait")
    assert db.claim_ids() == []
    db.call("outbox_mark_dead_v1", first, "never")
    assert db.claim_ids() == [second]


def test_message_without_order_is_not_held_back(db: Session) -> None:
    db.register("free", "nobody", ordering="none")
    failed = db.enqueue("k", biz_type="free")
    later = db.enqueue("k", biz_type="free")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.claim_ids() == [later]


def test_ordered_and_unordered_messages_of_a_key_do_not_wait_for_each_other(db: Session) -> None:
    db.register("free", "nobody", ordering="none")
    waiting_free = db.enqueue("a", biz_type="free")
    ordered_behind = db.enqueue("a")
    waiting_ordered = db.enqueue("b")
    free_behind = db.enqueue("b", biz_type="free")
    db.call("outbox_mark_failed_v1", waiting_free, "wait")
    db.call("outbox_mark_failed_v1", waiting_ordered, "wait")
    assert db.claim_ids() == [ordered_behind, free_behind]


def test_unregistered_business_type_is_relayed_in_order(db: Session) -> None:
    first = db.enqueue("k", biz_type="nobody_knows_it")
    second = db.enqueue("k", biz_type="nobody_knows_it")
    assert db.claim_ids() == [first, second]
    db.call("outbox_mark_failed_v1", first, "wait")
    assert db.claim_ids() == []


def test_topics_are_lanes_of_their_own(db: Session) -> None:
    failed = db.enqueue("k", topic="chat")
    other_topic = db.enqueue("k", topic="audit")
    db.enqueue("k", topic="chat")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.claim_ids() == [other_topic]


def test_topic_and_key_are_not_confused_where_they_join(db: Session) -> None:
    failed = db.enqueue("b:c", topic="a")
    other = db.adopt("c", topic="a:b")
    db.call("outbox_mark_failed_v1", failed, "wait")
    assert db.claim_ids() == [other]


def test_delayed_message_waits_and_holds_back_its_key_meanwhile(db: Session) -> None:
    delayed = enqueue_delayed(db, "k", 60)
    behind, beside = enqueue_many(db, ["k", "another"])
    assert db.claim_ids() == [beside]
    db.make_due(delayed)
    assert db.claim_ids() == [delayed, behind, beside]
