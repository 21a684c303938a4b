"""Pause and resume: what is not handed out meanwhile, what is, and that order holds."""

from typing import Any

import pytest

from tests.kit.application import Application
from tests.kit.names import key_of
from tests.kit.operators import audit, fill
from tests.kit.server import Connect
from tests.kit.session import CHAT, Failing, Session, reads, refused
from tests.kit.waiting import background, eventually


@pytest.fixture
def types(app: Application) -> None:
    """Business types beside the chat history: one of each ordering."""
    app.business("ordered")
    app.business("loose", ordering="none")


def pause(db: Session, *, topic: str | None = None, biz_type: str | None = None) -> dict[str, Any]:
    (row,) = db.call("outbox_pause_v1", topic, biz_type)
    return row


def resume(db: Session, *, topic: str | None = None, biz_type: str | None = None) -> dict[str, Any]:
    (row,) = db.call("outbox_resume_v1", topic, biz_type)
    return row


# A topic


def test_paused_topic_is_not_handed_out_and_no_other_topic_waits_for_it(db: Session) -> None:
    pause(db, topic="chat")
    paused = [db.enqueue(key) for key in ("a", "b", "a")]
    others = [db.enqueue(key, topic="orders") for key in ("a", "b", "a")]
    assert db.claim_ids() == others
    assert set(db.statuses().values()) == {"pending"}
    resume(db, topic="chat")
    assert db.claim_ids() == [*paused, *others]


def test_pause_is_by_the_whole_name_and_its_case(db: Session) -> None:
    pause(db, topic="chat")
    others = [db.adopt(topic=topic) for topic in ("Chat", "chats", "cha", "chat ", "a,chat")]
    assert db.claim_ids() == others


def test_enqueuing_and_what_is_under_way_go_on_in_a_pause(db: Session) -> None:
    claimed, published = db.enqueue("claimed"), db.enqueue_published("published")
    rows = db.claim()
    pause(db, topic="chat")
    later = db.enqueue("later")
    assert db.mark("published", rows) == 1
    assert db.consume(claimed, published) == {claimed: "consumed", published: "consumed"}
    assert db.claim_ids() == []
    assert db.statuses()[later] == "pending"


def test_failed_message_of_a_paused_topic_waits_for_the_end_of_the_pause(db: Session) -> None:
    first, second = db.enqueue_published(), db.enqueue_published()
    pause(db, topic="chat")
    assert db.consume(Failing(first)) == {first: "failed"}
    assert db.consume(second) == {second: "deferred"}
    db.make_due(first, second)
    assert db.claim_ids() == []
    resume(db, topic="chat")
    assert db.claim_ids() == [first, second]


def test_pause_ahead_of_a_full_batch_does_not_empty_the_batch(db: Session) -> None:
    hot = key_of(7)
    pause(db, topic="paused")
    db.execute("START TRANSACTION")
    for _ in range(50):
        db.enqueue(hot, topic="paused")
    wanted = [db.enqueue(hot) for _ in range(50)]
    db.execute("COMMIT")
    claimed = db.claim_ids(limit=20)
    assert claimed == wanted[: len(claimed)]
    assert len(claimed) >= 10, "half full is full enough"


def test_waiting_relay_finds_what_is_resumed(db: Session, connect: Connect) -> None:
    message = db.enqueue()
    pause(db, topic="chat")
    relay = connect()
    with background(lambda: relay.claim(wait_ms=60_000)) as claim:
        eventually(lambda: db.is_in(relay.session_id, "User sleep"))
        assert not claim.done()
        resume(db, topic="chat")
        assert [row["id"] for row in claim.result(timeout=20)] == [message]


# A business type


@pytest.mark.usefixtures("types")
def test_paused_type_is_not_handed_out_and_other_keys_go_on(db: Session) -> None:
    pause(db, biz_type="ordered")
    paused = db.enqueue("a", biz_type="ordered")
    others = [db.enqueue("b"), db.enqueue("a", topic="orders"), db.enqueue("c", biz_type="loose")]
    assert db.claim_ids() == others
    resume(db, biz_type="ordered")
    assert db.claim_ids() == [paused, *others]


@pytest.mark.usefixtures("types")
def test_paused_type_holds_back_the_later_messages_of_its_topic_and_key(db: Session) -> None:
    earlier = db.enqueue("a")
    pause(db, biz_type="ordered")
    lane = [db.enqueue("a", biz_type="ordered"), db.enqueue("a"), db.enqueue("a")]
    assert db.claim_ids() == [earlier]
    db.mark("published", db.claim())
    db.consume(earlier)
    assert db.claim_ids() == []
    resume(db, biz_type="ordered")
    assert db.claim_ids() == lane


@pytest.mark.usefixtures("types")
@pytest.mark.parametrize(("paused", "later"), [("loose", CHAT), ("ordered", "loose")])
def test_type_without_order_neither_holds_back_nor_is_held_back(db: Session, paused: str, later: str) -> None:
    pause(db, biz_type=paused)
    db.enqueue("a", biz_type=paused)
    follower = db.enqueue("a", biz_type=later)
    assert db.claim_ids() == [follower]


@pytest.mark.usefixtures("types")
def test_paused_message_that_is_not_committed_yet_holds_back_too(db: Session, connect: Connect) -> None:
    pause(db, biz_type="ordered")
    writer = connect()
    writer.execute("START TRANSACTION")
    writer.enqueue("a", biz_type="ordered")
    follower, other = db.enqueue("a"), db.enqueue("b")
    assert db.claim_ids() == [other]
    writer.execute("ROLLBACK")
    assert db.claim_ids() == [follower, other]


@pytest.mark.usefixtures("types")
def test_published_message_of_a_paused_type_holds_nobody_back(db: Session) -> None:
    published = db.enqueue_published("a", biz_type="ordered")
    pause(db, biz_type="ordered")
    follower = db.enqueue("a")
    assert db.claim_ids() == [follower]
    assert db.consume(published, follower) == {published: "consumed", follower: "consumed"}


@pytest.mark.usefixtures("types")
def test_pause_and_failures_end_in_order(db: Session) -> None:
    lane = [db.enqueue("a", biz_type=biz_type) for biz_type in ("ordered", CHAT, "ordered", CHAT, "ordered") * 3]
    failed = lane[6]
    done: list[int] = []

    def round_trip() -> list[int]:
        claimed = db.claim()
        db.mark("published", claimed)
        for row in claimed:
            record = Failing(failed) if row["id"] == failed and failed not in broken else row["id"]
            broken.add(row["id"])
            if db.consume(record)[row["id"]] == "consumed":
                done.append(row["id"])
        return [row["id"] for row in claimed]

    broken: set[int] = set()
    pause(db, biz_type=CHAT)
    assert round_trip() == lane[:1]
    assert round_trip() == []
    resume(db, biz_type=CHAT)
    assert round_trip() == lane[1:]
    assert done == lane[:6]
    pause(db, biz_type="ordered")
    db.make_due(*lane)
    assert round_trip() == lane[6:7], "a chat, which had failed"
    assert round_trip() == []
    resume(db, biz_type="ordered")
    db.make_due(*lane)
    assert round_trip() == lane[7:]
    assert done == lane


@pytest.mark.usefixtures("types")
def test_topic_and_types_can_be_paused_together(db: Session) -> None:
    pause(db, topic="chat")
    pause(db, biz_type="ordered")
    pause(db, biz_type="loose")
    for topic in ("chat", "orders"):
        for biz_type in ("ordered", "loose"):
            db.enqueue("a", topic=topic, biz_type=biz_type)
        db.enqueue("b", topic=topic)
    assert [(row["topic"], row["biz_type"]) for row in db.claim()] == [("orders", CHAT)]


# What pausing costs


def test_no_pause_costs_no_read_per_message(db: Session) -> None:
    db.execute("START TRANSACTION")
    for number in range(600):
        db.enqueue(f"k-{number}")
    db.execute("COMMIT")
    db.claim(limit=1)

    def cost(limit: int) -> int:
        return reads(db, lambda: db.out("outbox_internal_read_heads_v1", "relay-a", limit, 64, 0, 2**64 - 1, None))

    without = cost(600) - cost(64)
    pause(db, topic="another")
    assert cost(600) - cost(64) == without


@pytest.mark.usefixtures("types")
def test_paused_type_is_looked_up_once_however_long_a_lane_is(db: Session) -> None:
    fill(db, 2000, "published")
    db.execute("UPDATE agent_outbox_messages SET message_key = 'a'")
    pause(db, biz_type="ordered")
    db.execute("START TRANSACTION")
    for _ in range(200):
        db.enqueue("a")
    db.execute("COMMIT")
    db.claim(limit=1)
    assert reads(db, lambda: db.out("outbox_internal_read_heads_v1", "relay-a", 200, 64, 0, 2**64 - 1, None)) < 20_000


# The calls themselves


def test_pause_and_resume_say_what_they_did_and_only_changes_are_entered(db: Session) -> None:
    first, again = pause(db, topic="chat"), pause(db, topic="chat")
    assert list(first) == ["kind", "name", "paused_at", "paused_by", "changed"]
    assert (first["kind"], first["name"], first["changed"]) == ("topic", "chat", 1)
    assert (first["paused_by"], first["paused_at"]) == (db.value("SELECT USER()"), again["paused_at"])
    assert again["changed"] == 0
    assert resume(db, topic="chat") == {"kind": "topic", "name": "chat", "changed": 1}
    assert resume(db, topic="chat") == {"kind": "topic", "name": "chat", "changed": 0}
    pause(db, biz_type="not registered")
    assert audit(db) == [
        {"action": "pause", "topic": "chat"},
        {"action": "resume", "topic": "chat"},
        {"action": "pause", "biz_type": "not registered"},
    ]


@pytest.mark.usefixtures("types")
def test_policies_show_what_is_paused(db: Session) -> None:
    pause(db, topic="chat")
    pause(db, biz_type="loose")
    pause(db, biz_type="not registered")
    rows = db.rows("SELECT kind, name, ordering, paused_by FROM outbox_policies ORDER BY kind, name")
    me = db.value("SELECT USER()")
    assert [tuple(row.values()) for row in rows] == [
        ("biz_type", CHAT, "key", None),
        ("biz_type", "loose", "none", me),
        ("biz_type", "not registered", None, me),
        ("biz_type", "ordered", "key", None),
        ("topic", "chat", None, me),
    ]


@pytest.mark.parametrize("routine", ["outbox_pause_v1", "outbox_resume_v1"])
@pytest.mark.parametrize(
    ("arguments", "errno", "text"),
    [
        ((None, None), 30001, "either p_topic or p_biz_type must be given"),
        (("chat", "ordered"), 30001, "either p_topic or p_biz_type must be given"),
        (("", None), 30001, "p_topic must not be empty"),
        ((None, ""), 30001, "p_biz_type must not be empty"),
        (("x" * 250, None), 30002, "p_topic has 250 characters, at most 249"),
        ((None, "漢" * 65), 30002, "p_biz_type has 65 characters, at most 64"),
    ],
)
def test_bad_name_is_refused(
    db: Session, routine: str, arguments: tuple[str | None, str | None], errno: int, text: str
) -> None:
    with refused(errno, text):
        db.call(routine, *arguments)
    assert audit(db) == []


def test_longest_names_can_be_paused(db: Session) -> None:
    topic, biz_type = "漢" * 249, "漢" * 64
    pause(db, topic=topic)
    pause(db, biz_type=biz_type)
    db.adopt(topic=topic)
    db.enqueue(biz_type=biz_type, topic="t")
    assert db.claim_ids() == []
