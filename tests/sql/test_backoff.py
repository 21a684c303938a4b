"""How long a failed message waits."""

from datetime import timedelta

import pytest

from tests.kit.session import Session

TABLE = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 32, 7: 32, 8: 32, 20: 32, 64: 32, 65: 32, 1000: 32, 2147483647: 32}


@pytest.mark.parametrize(("count", "seconds"), TABLE.items())
def test_backoff_doubles_from_1_to_32_seconds(db: Session, count: int, seconds: int) -> None:
    assert db.out("outbox_retry_backoff_v1", count) == seconds


@pytest.mark.parametrize("count", [0, -1, -2147483648, None])
def test_backoff_of_no_failure_is_that_of_the_first(db: Session, count: int | None) -> None:
    assert db.out("outbox_retry_backoff_v1", count) == 1


def waits(db: Session, message: int) -> timedelta:
    """Fail the message; return how long it waits, counted from the time of the failure."""
    before = db.value("SELECT UTC_TIMESTAMP(6)")
    db.call("outbox_mark_failed_v1", message, "again")
    row = db.message(message)
    assert before <= row["updated_at"] <= db.value("SELECT UTC_TIMESTAMP(6)")
    wait: timedelta = row["next_retry_at"] - row["updated_at"]
    return wait


@pytest.mark.parametrize("state", ["pending", "published"])
def test_failed_message_waits_by_the_backoff_table(db: Session, state: str) -> None:
    message = db.enqueue(max_retry=100)
    for count in range(1, 10):
        if state == "published":
            db.call("outbox_mark_published_v1", message)
        assert waits(db, message) == timedelta(seconds=db.out("outbox_retry_backoff_v1", count))


@pytest.mark.parametrize(("stored", "seconds"), [(-5, 1), (0, 1), (1, 2), (5, 32), (6, 32), (63, 32), (1_000_000, 32)])
def test_next_retry_follows_the_stored_count(db: Session, stored: int, seconds: int) -> None:
    message = db.enqueue(max_retry=2147483647)
    db.execute("UPDATE agent_outbox_messages SET retry_count = %s", stored)
    assert waits(db, message) == timedelta(seconds=seconds)
    assert db.message(message)["retry_count"] == stored + 1


def test_business_type_has_a_backoff_of_its_own(db: Session) -> None:
    db.register("slow", "nobody", backoff_base_seconds=10, backoff_cap_seconds=300)
    message = db.enqueue(biz_type="slow")
    assert [waits(db, message).total_seconds() for _ in range(7)] == [10, 20, 40, 80, 160, 300, 300]


def test_business_type_without_backoff_is_due_at_once(db: Session) -> None:
    db.register("eager", "nobody", backoff_base_seconds=0)
    message = db.enqueue(biz_type="eager")
    assert waits(db, message) == timedelta(0)
    assert db.claim_ids() == [message]


def test_largest_backoff_of_a_business_type_does_not_overflow(db: Session) -> None:
    db.register("never", "nobody", backoff_base_seconds=4294967295, backoff_cap_seconds=4294967295)
    message = db.enqueue(biz_type="never", max_retry=100)
    db.execute("UPDATE agent_outbox_messages SET retry_count = 40")
    assert waits(db, message) == timedelta(seconds=4294967295)


def test_times_are_the_servers_in_utc_whatever_the_sessions_time_zone(db: Session) -> None:
    db.execute("SET time_zone = '+09:00'")
    message = db.enqueue()
    assert waits(db, message) == timedelta(seconds=1)
    row = db.message(message)
    now = db.value("SELECT UTC_TIMESTAMP(6)")
    assert timedelta(0) <= now - row["created_at"] < timedelta(seconds=10)
    db.call("outbox_mark_published_v1", message)
    assert (
        timedelta(0)
        <= db.value("SELECT UTC_TIMESTAMP(6)") - db.message(message)["published_at"]
        < timedelta(seconds=10)
    )
