"""The fence: marks of a relay touch only what it still owns and what it was really given, and say how many."""

import json
from collections.abc import Callable

import pytest

from tests.kit.names import slot_of
from tests.kit.server import Connect
from tests.kit.session import Failing, Row, Session, as_text, ids
from tests.kit.waiting import background, eventually

KINDS = pytest.mark.parametrize("kind", ["published", "failed", "dead"])
TARGET = {"published": "published", "failed": "pending", "dead": "dead"}


@pytest.fixture
def claimed(db: Session) -> list[Row]:
    """16 messages that relay-a, which owns all slots, has claimed."""
    db.execute("START TRANSACTION")
    for number in range(16):
        db.enqueue(f"key {number}")
    db.execute("COMMIT")
    return db.claim("relay-a")


@KINDS
def test_owner_marks_what_it_claimed_and_learns_how_many(db: Session, claimed: list[Row], kind: str) -> None:
    assert db.mark(kind, claimed, reason="because") == 16
    rows = db.messages()
    assert {row["status"] for row in rows} == {TARGET[kind]}
    assert {row["retry_count"] for row in rows} == {1 if kind == "failed" else 0}
    assert {row["last_error"] for row in rows} == {None if kind == "published" else "because"}


@KINDS
def test_mark_of_part_of_a_batch_leaves_the_rest(db: Session, claimed: list[Row], kind: str) -> None:
    before = db.messages()
    assert db.mark(kind, claimed[:3]) == 3
    assert db.messages()[3:] == before[3:]


@KINDS
def test_mark_twice_changes_nothing_the_second_time(db: Session, claimed: list[Row], kind: str) -> None:
    assert db.mark(kind, claimed) == 16
    before = db.messages()
    assert db.mark(kind, claimed) == 0
    assert db.messages() == before


def lease_ran_out(db: Session) -> None:
    db.expire_lease("relay-a")


def another_took_over(db: Session) -> None:
    db.expire_lease("relay-a")
    db.claim("relay-b")


def it_woke_up_beside_another(db: Session) -> None:
    another_took_over(db)
    db.claim("relay-a")
    assert db.owned("relay-a") == set()


def it_left(db: Session) -> None:
    db.call("outbox_leave_v1", "relay-a")


@KINDS
@pytest.mark.parametrize("lose", [lease_ran_out, another_took_over, it_woke_up_beside_another, it_left])
def test_relay_that_lost_its_slots_marks_nothing(
    db: Session, claimed: list[Row], kind: str, lose: Callable[[Session], None]
) -> None:
    before = db.messages()
    lose(db)
    assert db.mark(kind, claimed) == 0
    assert db.messages() == before


@KINDS
def test_heartbeat_too_late_does_not_mend_the_fence(db: Session, claimed: list[Row], kind: str) -> None:
    db.expire_lease("relay-a")
    db.call("outbox_heartbeat_v1", "relay-a", 60)
    assert db.mark(kind, claimed) == 0


@KINDS
def test_heartbeat_in_time_keeps_the_marks_valid(db: Session, claimed: list[Row], kind: str) -> None:
    db.call("outbox_heartbeat_v1", "relay-a", 60)
    assert db.mark(kind, claimed) == 16


@KINDS
@pytest.mark.parametrize("taken", [False, True])
def test_relay_that_gave_slots_back_marks_only_what_it_still_owns(
    db: Session, claimed: list[Row], kind: str, taken: bool
) -> None:
    before = {row["id"]: row for row in db.messages()}
    db.claim("relay-b")
    db.claim("relay-a")
    if taken:
        db.claim("relay-b")
    owned = db.owned("relay-a")
    assert len(owned) == 32
    mine = {row["id"] for row in claimed if slot_of(row["message_key"]) in owned}
    assert 0 < len(mine) < 16
    assert db.mark(kind, claimed) == len(mine)
    assert {row["id"] for row in db.messages() if row != before[row["id"]]} == mine


@KINDS
def test_another_relays_name_marks_nothing(db: Session, claimed: list[Row], kind: str) -> None:
    before = db.messages()
    db.claim("relay-b")
    for relay in ("relay-b", "RELAY-A", "relay-a ", "nobody", ""):
        assert db.mark(kind, claimed, relay=relay) == 0
    assert db.messages() == before


@KINDS
def test_message_that_failed_and_came_back_meanwhile_is_not_marked(db: Session, claimed: list[Row], kind: str) -> None:
    came_back = claimed[0]["id"]
    # The consumer was faster than this mark, failed, and the backoff has passed.
    assert db.consume(Failing(came_back)) == {came_back: "failed"}
    db.make_due(came_back)
    before = db.message(came_back)
    assert db.mark(kind, claimed) == 15
    assert db.message(came_back) == before
    again = [row for row in db.claim() if row["id"] == came_back]
    assert db.mark(kind, again) == 1


@KINDS
def test_message_that_was_taken_back_meanwhile_is_not_marked(db: Session, kind: str) -> None:
    first, second = db.enqueue("k"), db.enqueue("k")
    stale = db.claim()
    assert db.mark("published", stale) == 2
    db.call("outbox_mark_failed_v1", first, "wait")
    db.make_due(first, second)
    before = db.messages()
    assert db.mark(kind, stale) == 0
    assert db.messages() == before


@KINDS
def test_message_that_was_deferred_meanwhile_is_not_marked(db: Session, kind: str) -> None:
    db.enqueue("k")
    second = db.enqueue("k")
    stale = db.claim()
    assert db.consume(second) == {second: "deferred"}
    before = db.message(second)
    assert db.mark(kind, stale[1:]) == 0
    assert db.message(second) == before


@KINDS
@pytest.mark.parametrize("state", ["consumed", "dead", "published"])
def test_message_that_went_on_meanwhile_is_not_marked(db: Session, claimed: list[Row], kind: str, state: str) -> None:
    message = claimed[0]["id"]
    if state == "consumed":
        db.consume(message)
    elif state == "dead":
        db.call("outbox_mark_dead_v1", message, "meanwhile")
    else:
        db.call("outbox_mark_published_v1", message)
    before = db.message(message)
    assert db.mark(kind, claimed) == 15
    assert db.message(message) == before


@KINDS
def test_receipt_must_be_the_one_of_the_claim(db: Session, claimed: list[Row], kind: str) -> None:
    before = db.messages()
    message, right = claimed[0]["id"], claimed[0]["receipt"]
    for wrong in (None, "2000-01-01 00:00:00.000000", as_text(right.replace(microsecond=right.microsecond ^ 1))):
        batch = json.dumps([{"id": message, "receipt": wrong, "reason": "r"}])
        assert db.out(f"outbox_mark_{kind}_batch_v1", "relay-a", batch) == 0
    assert db.out(f"outbox_mark_{kind}_batch_v1", "relay-a", json.dumps([{"id": message}])) == 0
    assert db.messages() == before


@KINDS
def test_unknown_ids_are_passed_over(db: Session, claimed: list[Row], kind: str) -> None:
    receipt = claimed[0]["receipt"]
    strangers = [{"id": number, "receipt": receipt} for number in (0, 987_654_321, 2**64 - 1)]
    assert db.mark(kind, strangers) == 0
    assert db.mark(kind, [*strangers, claimed[0], {"id": None, "receipt": receipt}]) == 1


@KINDS
@pytest.mark.parametrize("messages", ["[]", "{}", "null", "7", '[{"other": 1}]', "[[]]"])
def test_nothing_to_mark_marks_nothing(db: Session, claimed: list[Row], kind: str, messages: str) -> None:
    assert len(claimed) == 16
    assert db.out(f"outbox_mark_{kind}_batch_v1", "relay-a", messages) == 0
    assert set(db.statuses().values()) == {"pending"}


@KINDS
def test_message_given_twice_is_marked_once(db: Session, claimed: list[Row], kind: str) -> None:
    assert db.mark(kind, [claimed[0], claimed[0]]) == 1
    assert db.message(claimed[0]["id"])["retry_count"] == (1 if kind == "failed" else 0)


def test_failed_batch_takes_published_followers_back(db: Session) -> None:
    first, second = db.enqueue("k"), db.enqueue("k")
    other = db.enqueue_published("another")
    claimed = db.claim()
    assert ids(claimed) == [first, second]
    assert db.mark("published", claimed[1:]) == 1
    assert db.mark("failed", claimed[:1]) == 1
    assert db.statuses() == {first: "pending", second: "pending", other: "published"}
    assert db.claim_ids() == []


def test_failed_batch_kills_at_max_retry(db: Session) -> None:
    fragile, sturdy = db.enqueue("a", max_retry=1), db.enqueue("b", max_retry=2)
    assert db.mark("failed", db.claim()) == 2
    assert db.statuses() == {fragile: "dead", sturdy: "pending"}


def test_slots_cannot_be_taken_over_while_a_mark_is_under_way(
    db: Session, connect: Connect, claimed: list[Row]
) -> None:
    marking, rival = connect(), connect()
    marking.execute("START TRANSACTION")
    assert marking.mark("published", claimed) == 16
    db.expire_lease("relay-a")
    with background(lambda: rival.claim("relay-b")) as claim:
        eventually(lambda: db.waits_for_lock(rival.session_id))
        assert db.owned("relay-b") == set()
        marking.execute("COMMIT")
        assert claim.result(timeout=60) == []
    assert len(db.owned("relay-b")) == 64
    assert set(db.statuses().values()) == {"published"}
