"""outbox_list_due_v1: what is pending and due."""

import pytest

from tests.kit.session import Session, ids


def test_list_due_orders_by_due_time_then_id(db: Session) -> None:
    first, second, third, fourth = (db.enqueue(key) for key in "abcd")
    sql = "UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6) - INTERVAL %s SECOND WHERE id IN (%s, %s)"
    db.execute("START TRANSACTION")
    db.execute(sql, 50, second, second)
    db.execute(sql, 90, fourth, third)
    db.execute("COMMIT")
    assert ids(db.call("outbox_list_due_v1", 10)) == [third, fourth, second, first]


def test_list_due_shows_only_pending_messages_that_are_due(db: Session) -> None:
    due = db.enqueue("due")
    waiting = db.enqueue("waiting")
    for status in ("published", "consumed", "dead"):
        db.enqueue_in(status, status)
    db.call("outbox_mark_failed_v1", waiting, "later")
    assert ids(db.call("outbox_list_due_v1", 10)) == [due]
    db.make_due(waiting)
    assert ids(db.call("outbox_list_due_v1", 10)) == [due, waiting]


@pytest.mark.parametrize("limit", [None, 0])
def test_list_due_gives_100_rows_unless_told(db: Session, limit: int | None) -> None:
    db.execute("START TRANSACTION")
    messages = [db.enqueue(str(number)) for number in range(103)]
    db.execute("COMMIT")
    assert ids(db.call("outbox_list_due_v1", limit)) == messages[:100]
    assert ids(db.call("outbox_list_due_v1", 2)) == messages[:2]
    assert ids(db.call("outbox_list_due_v1", 1000)) == messages


def test_list_due_looks_and_changes_nothing(db: Session) -> None:
    db.enqueue("a")
    db.enqueue("b")
    before = db.messages()
    listed = db.call("outbox_list_due_v1", 10)
    assert [db.message(row["id"]) for row in listed] == listed
    assert db.messages() == before
    assert db.rows("SELECT * FROM outbox_relays") == []


def test_list_due_does_not_see_what_is_not_committed(db: Session) -> None:
    db.execute("START TRANSACTION")
    message = db.enqueue()
    assert ids(db.call("outbox_list_due_v1", 10)) == [message]
    db.execute("ROLLBACK")
    assert db.call("outbox_list_due_v1", 10) == []
