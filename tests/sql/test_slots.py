"""Slots: who relays what, while relays come, go, stop and come back."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.server import Connect
from tests.kit.session import Row, Session, ids
from tests.kit.waiting import background, eventually

ALL = set(range(64))


def rounds(db: Session, relays: Sequence[str], number: int = 2) -> None:
    """Let every relay claim in turn: what is given back in one round is taken in the next."""
    for _ in range(number):
        for relay in relays:
            db.claim(relay)


def shares(db: Session, relays: Sequence[str]) -> list[int]:
    return [len(db.owned(relay)) for relay in relays]


def relay_row(db: Session, relay: str) -> Row:
    return db.row("SELECT * FROM outbox_relays WHERE relay = %s", relay)


def test_there_are_64_slots_and_at_first_nobody_has_one(db: Session) -> None:
    rows = db.rows("SELECT slot, relay FROM outbox_slots ORDER BY slot")
    assert [(row["slot"], row["relay"]) for row in rows] == [(slot, None) for slot in range(64)]


@pytest.mark.parametrize("count", range(2, 17))
def test_shares_are_even_after_each_relay_has_claimed_twice(db: Session, count: int) -> None:
    relays = [f"relay-{number:02}" for number in range(count)]
    rounds(db, relays)
    even = [64 // count + (number < 64 % count) for number in range(count)]
    assert shares(db, relays) == even
    assert sum(even) == 64


def test_slots_stay_where_they_are_once_shares_are_even(db: Session) -> None:
    relays = ["relay-a", "relay-b", "relay-c"]
    rounds(db, relays)
    before = [db.owned(relay) for relay in relays]
    rounds(db, list(reversed(relays)))
    assert [db.owned(relay) for relay in relays] == before


def test_more_relays_than_slots_leave_some_without(db: Session) -> None:
    relays = [f"relay-{number:02}" for number in range(66)]
    rounds(db, relays)
    assert shares(db, relays) == [1] * 64 + [0, 0]
    assert db.claim(relays[-1]) == []


def test_relay_that_joins_takes_nothing_that_another_owns(db: Session) -> None:
    db.claim("relay-a")
    db.claim("relay-b")
    assert (db.owned("relay-a"), db.owned("relay-b")) == (ALL, set())


def test_surplus_is_given_back_with_the_next_claim_of_its_owner(db: Session) -> None:
    db.claim("relay-a")
    db.claim("relay-b")
    db.claim("relay-a")
    assert shares(db, ["relay-a", "relay-b"]) == [32, 0]
    db.claim("relay-b")
    assert shares(db, ["relay-a", "relay-b"]) == [32, 32]
    assert db.owned("relay-a") | db.owned("relay-b") == ALL


def test_claim_returns_nothing_of_the_slots_it_gives_back(db: Session) -> None:
    for number in range(64):
        db.enqueue(f"key {number}")
    assert len(db.claim("relay-a")) == 64
    db.claim("relay-b")
    kept = db.claim("relay-a")
    taken = db.claim("relay-b")
    assert sorted(ids(kept) + ids(taken)) == sorted(db.statuses())


def test_leave_frees_all_slots_at_once(db: Session) -> None:
    rounds(db, ["relay-a", "relay-b"])
    db.call("outbox_leave_v1", "relay-a")
    assert db.owned("relay-a") == set()
    assert db.column("SELECT relay FROM outbox_relays") == ["relay-b"]
    db.claim("relay-b")
    assert db.owned("relay-b") == ALL


def test_leave_of_a_stranger_is_harmless(db: Session) -> None:
    db.claim("relay-a")
    db.call("outbox_leave_v1", "nobody")
    db.call("outbox_leave_v1", None)
    assert db.owned("relay-a") == ALL


def test_relay_that_left_may_come_back(db: Session) -> None:
    db.claim("relay-a")
    db.call("outbox_leave_v1", "relay-a")
    db.claim("relay-a")
    assert db.owned("relay-a") == ALL


def test_slots_of_an_expired_lease_are_taken_over(db: Session) -> None:
    rounds(db, ["relay-a", "relay-b", "relay-c"])
    db.expire_lease("relay-b")
    rounds(db, ["relay-a", "relay-c"], number=1)
    assert shares(db, ["relay-a", "relay-b", "relay-c"]) == [32, 0, 32]


def test_slots_of_a_live_lease_are_not(db: Session) -> None:
    db.claim("relay-a", lease=1)
    db.call("outbox_heartbeat_v1", "relay-a", 30)
    db.claim("relay-b")
    assert (db.owned("relay-a"), db.owned("relay-b")) == (ALL, set())


def test_relay_that_comes_back_after_expiry_joins_anew(db: Session) -> None:
    db.claim("relay-a")
    db.expire_lease("relay-a")
    db.claim("relay-b")
    assert (db.owned("relay-a"), db.owned("relay-b")) == (set(), ALL)
    db.claim("relay-a")
    assert (db.owned("relay-a"), db.owned("relay-b")) == (set(), ALL)
    rounds(db, ["relay-b", "relay-a"], number=1)
    assert shares(db, ["relay-a", "relay-b"]) == [32, 32]


def test_expired_relay_keeps_nothing_that_is_not_its_share(db: Session) -> None:
    db.claim("relay-a")
    db.claim("relay-b")
    db.expire_lease("relay-a")
    db.claim("relay-a")
    assert shares(db, ["relay-a", "relay-b"]) == [32, 0]


def test_expired_relay_that_nobody_replaced_gets_its_slots_again(db: Session) -> None:
    db.claim("relay-a")
    db.expire_lease("relay-a")
    db.claim("relay-a")
    assert db.owned("relay-a") == ALL


def test_relays_names_compare_by_bytes(db: Session) -> None:
    relays = ["Relay", "Relay ", "relay", "rélay", "re\u0301lay"]
    rounds(db, relays)
    assert shares(db, sorted(relays, key=str.encode)) == [13, 13, 13, 13, 12]
    db.call("outbox_leave_v1", "relay")
    assert shares(db, relays) == [13, 13, 0, 12, 13]


# Heartbeats


def test_heartbeat_keeps_the_lease_without_a_claim(db: Session) -> None:
    db.claim("relay-a", lease=1)
    before = relay_row(db, "relay-a")
    db.call("outbox_heartbeat_v1", "relay-a", 60)
    after = relay_row(db, "relay-a")
    assert (after["lease_until"] - before["lease_until"]).total_seconds() > 50
    assert after["joined_at"] == before["joined_at"]
    assert db.owned("relay-a") == ALL


def test_heartbeat_is_for_30_seconds_unless_told(db: Session) -> None:
    db.claim("relay-a", lease=1)
    db.call("outbox_heartbeat_v1", "relay-a", None)
    left = relay_row(db, "relay-a")["lease_until"] - db.value("SELECT UTC_TIMESTAMP(6)")
    assert 25 < left.total_seconds() <= 30


def test_heartbeat_after_expiry_does_not_revive(db: Session) -> None:
    db.claim("relay-a")
    db.expire_lease("relay-a")
    before = relay_row(db, "relay-a")
    db.call("outbox_heartbeat_v1", "relay-a", 60)
    assert relay_row(db, "relay-a") == before
    db.claim("relay-b")
    assert db.owned("relay-b") == ALL


def test_heartbeat_of_a_stranger_makes_no_relay(db: Session) -> None:
    db.call("outbox_heartbeat_v1", "nobody", 60)
    assert db.rows("SELECT * FROM outbox_relays") == []


def test_claim_is_a_heartbeat_once_a_third_of_the_lease_is_gone(db: Session) -> None:
    db.claim("relay-a", lease=30)
    fresh = relay_row(db, "relay-a")["lease_until"]
    db.claim("relay-a", lease=30)
    assert relay_row(db, "relay-a")["lease_until"] == fresh
    db.execute("UPDATE outbox_relays SET lease_until = lease_until - INTERVAL 12 SECOND")
    db.claim("relay-a", lease=30)
    assert relay_row(db, "relay-a")["lease_until"] > fresh


@pytest.mark.parametrize(("given", "seconds"), [(None, 30), (1, 1), (86400, 86400)])
def test_lease_lasts_as_long_as_asked(db: Session, given: int | None, seconds: int) -> None:
    db.claim("relay-a", lease=given)
    row = relay_row(db, "relay-a")
    assert (row["lease_until"] - row["joined_at"]).total_seconds() == seconds


def test_relays_that_are_long_gone_are_forgotten(db: Session) -> None:
    for relay in ("long gone", "just gone"):
        db.claim(relay)
    db.execute(
        "UPDATE outbox_relays SET lease_until = UTC_TIMESTAMP(6) - INTERVAL IF(relay = 'long gone', 61, 59) MINUTE"
    )
    db.claim("relay-a")
    assert db.column("SELECT relay FROM outbox_relays ORDER BY relay") == ["just gone", "relay-a"]


def test_relays_that_join_at_the_same_moment_share_evenly(db: Session, connect: Connect) -> None:
    relays = [f"relay-{number}" for number in range(8)]
    sessions = {relay: connect() for relay in relays}
    with ThreadPoolExecutor(len(relays)) as pool:
        for _ in range(3):
            list(pool.map(lambda relay: sessions[relay].claim(relay), relays))
    assert shares(db, relays) == [8] * 8


def test_relay_that_comes_back_too_late_waits_for_the_slots_in_their_order(db: Session, connect: Connect) -> None:
    rounds(db, ["relay-a", "relay-b"])
    db.expire_lease("relay-a")
    db.expire_lease("relay-b")
    lowest, other, late = connect(), connect(), connect()
    lowest.execute("START TRANSACTION")
    lowest.rows("SELECT slot FROM outbox_slots WHERE slot = 0 FOR UPDATE")
    own = max(db.owned("relay-b") - {0})
    with background(lambda: late.claim("relay-b")):
        eventually(lambda: db.waits_for_lock(late.session_id))
        # It has locked none of its own yet, and so makes no deadlock with one that begins with the first.
        other.execute("START TRANSACTION")
        assert other.rows("SELECT slot FROM outbox_slots WHERE slot = %s FOR UPDATE NOWAIT", own)
        other.execute("ROLLBACK")
        lowest.execute("ROLLBACK")
    assert db.owned("relay-b") == ALL


def test_relay_that_waits_for_the_slots_for_longer_than_a_lease_takes_none_from_the_living(
    db: Session, connect: Connect
) -> None:
    for _ in range(2):
        for relay in ("relay-a", "relay-c"):
            db.claim(relay, lease=1)
    db.claim("relay-b", lease=1)
    holder, gives_back = connect(), connect()
    holder.execute("START TRANSACTION")
    holder.rows("SELECT slot FROM outbox_slots FOR UPDATE")
    with background(lambda: gives_back.claim("relay-a", lease=1)):
        eventually(lambda: db.waits_for_lock(gives_back.session_id))
        for _ in range(25):  # more than twice the lease
            for relay in ("relay-a", "relay-b", "relay-c"):
                db.call("outbox_heartbeat_v1", relay, 1)
            time.sleep(0.1)
        holder.execute("ROLLBACK")
    assert shares(db, ["relay-a", "relay-b", "relay-c"]) == [22, 0, 32]
    assert set(db.column("SELECT relay FROM outbox_relays")) == {"relay-a", "relay-b", "relay-c"}
