"""Publish-only business types: where there is no handler, Kafka's acknowledgement is all there is to do."""

from typing import Any

import pytest

from tests.kit.application import Application
from tests.kit.operators import age, audit
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session

TYPES = ["registered", "nobody_knows_it"]


@pytest.fixture(autouse=True)
def registered(db: Session) -> None:
    """A business type that is registered without a handler."""
    register(db, "registered", None)
    db.execute("DELETE FROM outbox_audit")


def register(db: Session, biz_type: str, handler: str | None) -> dict[str, Any]:
    (row,) = db.call("outbox_register_biz_type_v1", biz_type, handler, None, None, None, None)
    return row


def recover(db: Session, seconds: int = 60) -> int:
    return int(db.out("outbox_recover_published_v1", seconds, None))


def publish(db: Session, biz_type: str, key: str = "k") -> int:
    """Put a message into the state in which the legacy service leaves it: published, whatever its type."""
    message = db.enqueue(key, biz_type=biz_type)
    db.execute(
        "UPDATE agent_outbox_messages SET status = 'published', next_retry_at = NULL, published_at = UTC_TIMESTAMP(6)"
        " WHERE id = %s",
        message,
    )
    return message


@pytest.mark.parametrize("biz_type", TYPES)
@pytest.mark.parametrize("way", ["batch", "single"])
def test_acknowledgement_consumes_a_message_without_a_handler(db: Session, biz_type: str, way: str) -> None:
    message = db.enqueue(biz_type=biz_type)
    if way == "batch":
        assert db.mark("published", db.claim()) == 1
    else:
        db.call("outbox_mark_published_v1", message)
    row = db.message(message)
    assert (row["status"], row["next_retry_at"], row["last_error"], row["retry_count"]) == ("consumed", None, None, 0)
    assert row["created_at"] <= row["published_at"] == row["consumed_at"] == row["updated_at"]


def test_one_mark_takes_each_message_where_its_type_belongs(db: Session) -> None:
    of = {biz_type: db.enqueue(biz_type, biz_type=biz_type) for biz_type in [*TYPES, CHAT]}
    assert db.mark("published", db.claim()) == 3
    assert db.statuses() == {of["registered"]: "consumed", of["nobody_knows_it"]: "consumed", of[CHAT]: "published"}
    assert db.message(of[CHAT])["consumed_at"] is None


def test_all_types_are_publish_only_where_none_has_a_handler(db: Session) -> None:
    message = db.enqueue()
    claimed = db.claim()
    db.execute("START TRANSACTION; UPDATE outbox_biz_types SET handler = NULL")
    marked, statuses = db.mark("published", claimed), db.statuses()
    db.execute("ROLLBACK")
    assert (marked, statuses) == (1, {message: "consumed"})


@pytest.mark.parametrize("kind", ["failed", "dead"])
def test_record_that_kafka_refuses_is_retried_or_dead_as_any_other(db: Session, kind: str) -> None:
    message = db.enqueue(biz_type="registered")
    assert db.mark(kind, db.claim()) == 1
    assert db.statuses() == {message: {"failed": "pending", "dead": "dead"}[kind]}
    assert db.message(message)["last_error"] == "refused"


@pytest.mark.parametrize("biz_type", TYPES)
def test_record_that_reaches_a_consumer_is_a_duplicate(db: Session, biz_type: str) -> None:
    message = db.enqueue_published(biz_type=biz_type)
    before = db.messages()
    assert db.consume(message) == {message: "duplicate"}
    assert db.messages() == before


def test_consumer_that_is_faster_than_the_mark_ends_the_message_and_the_mark_changes_nothing(db: Session) -> None:
    message = db.enqueue(biz_type="registered")
    claimed = db.claim()
    assert db.consume(message) == {message: "duplicate"}
    row = db.message(message)
    assert (row["status"], row["next_retry_at"]) == ("consumed", None)
    assert row["published_at"] == row["consumed_at"]
    assert db.mark("published", claimed) == 0
    assert db.messages() == [db.rows("SELECT * FROM agent_outbox_messages")[0]]
    assert db.claim_ids() == []


def test_later_message_of_the_lane_does_not_wait_for_the_mark_of_a_publish_only_one(db: Session) -> None:
    first, second, third = db.enqueue(biz_type="registered"), db.enqueue(), db.enqueue(biz_type="nobody_knows_it")
    assert db.claim_ids() == [first, second, third]
    assert db.consume(first, second, third) == {first: "duplicate", second: "consumed", third: "duplicate"}
    assert db.statuses() == dict.fromkeys([first, second, third], "consumed")


def test_order_of_a_lane_stays_where_its_types_are_mixed(db: Session) -> None:
    refused, behind = db.enqueue(biz_type="registered"), db.enqueue()
    claimed = db.claim()
    assert db.mark("failed", claimed[:1]) == 1
    assert db.mark("published", claimed[1:]) == 1
    assert db.consume(behind) == {behind: "deferred"}, "it has overtaken the one that Kafka refused"
    assert db.claim_ids() == []
    db.make_due(refused, behind)
    assert db.claim_ids() == [refused, behind]


# What was published while the type had a handler, or by the legacy service


def test_record_of_a_type_that_has_lost_its_handler_ends_the_message(db: Session, app: Application) -> None:
    app.business("late")
    message = db.enqueue_published(biz_type="late")
    assert register(db, "late", "")["handler"] is None
    assert db.consume(message) == {message: "duplicate"}
    row = db.message(message)
    assert row["status"] == "consumed"
    assert row["published_at"] < row["consumed_at"]
    assert app.effects() == []


@pytest.mark.parametrize("leaves_due_time", [False, True])
def test_recovery_ends_what_nobody_will_consume_and_sends_nothing_again(db: Session, leaves_due_time: bool) -> None:
    strays = [publish(db, biz_type, biz_type) for biz_type in TYPES]
    under_way = publish(db, CHAT, "under way")
    lost = publish(db, CHAT, "lost")
    age(db, lost, 120)
    if leaves_due_time:
        db.execute("UPDATE agent_outbox_messages SET next_retry_at = created_at")
    assert recover(db) == 1
    assert db.statuses() == {**dict.fromkeys(strays, "consumed"), under_way: "published", lost: "pending"}
    row = db.message(strays[0])
    assert (row["next_retry_at"], row["last_error"], row["consumed_at"]) == (None, None, row["updated_at"])
    (entry,) = audit(db)
    assert (entry["messages"], entry["consumed"]) == (3, 2)
    assert recover(db) == 0


def test_publish_only_message_never_counts_as_under_way(db: Session) -> None:
    for biz_type in TYPES:
        db.enqueue_published(biz_type, biz_type=biz_type)
        age(db, db.enqueue_published(f"old {biz_type}", biz_type=biz_type), 10_000)
    assert recover(db) == 0
    (lag,) = db.call("outbox_lag_v1", None)
    assert [lag[name] for name in ("pending", "published", "dead", "published_seconds")] == [0, 0, 0, None]
    assert [(row["status"], row["messages"]) for row in db.call("outbox_status_v1")] == [("consumed", 4)]
    assert set(db.column("SELECT status FROM outbox_status")) == {"consumed"}
    (row,) = db.call("outbox_purge_v1", db.value("SELECT UTC_TIMESTAMP(6)"), None)
    assert row["deleted"] == 4


# A handler that comes later


def test_message_that_was_relayed_before_its_handler_was_registered_is_found_by_replay(
    db: Session, app: Application
) -> None:
    message = db.enqueue_published(biz_type="late", payload='{"n": 1}')
    register(db, "late", app.handler())
    assert db.consume(message) == {message: "duplicate"}
    assert db.out("outbox_replay_v1", None, None, "late", None, None) == 1
    copy = max(db.statuses())
    assert db.mark("published", db.claim()) == 1
    assert db.consume(copy) == {copy: "consumed"}
    assert app.effects() == [copy]


def test_mark_neither_waits_for_a_registration_nor_counts_it_before_it_is_committed(
    db: Session, app: Application, connect: Connect
) -> None:
    before, after = db.enqueue("a", biz_type="late"), db.enqueue("b", biz_type="late")
    claimed = db.claim()
    migration = connect()
    migration.execute("START TRANSACTION")
    register(migration, "late", app.handler())
    assert db.mark("published", claimed[:1]) == 1
    migration.execute("COMMIT")
    assert db.mark("published", claimed[1:]) == 1
    assert db.statuses() == {before: "consumed", after: "published"}


def test_single_mark_sees_a_handler_that_was_registered_after_the_callers_snapshot(
    db: Session, app: Application, connect: Connect
) -> None:
    message = db.enqueue(biz_type="late")
    caller = connect()
    caller.execute("SET SESSION transaction_isolation = 'REPEATABLE-READ'; START TRANSACTION WITH CONSISTENT SNAPSHOT")
    register(db, "late", app.handler())
    caller.call("outbox_mark_published_v1", message)
    caller.execute("COMMIT")
    assert db.statuses() == {message: "published"}


def test_null_keeps_a_handler_and_an_empty_one_takes_it_and_the_batch_handler_away(
    db: Session, app: Application
) -> None:
    handler = app.handler()
    register(db, "late", handler)
    in_bulk = app.handler("DO 0", parameters="IN p_is_check BOOLEAN", name="in_bulk")
    db.call("outbox_register_batch_handler_v1", "late", in_bulk)
    handlers = "SELECT handler, batch_handler FROM outbox_biz_types WHERE biz_type = 'late'"
    assert register(db, "late", None)["changed"] == 0
    assert db.row(handlers) == {"handler": handler, "batch_handler": in_bulk}
    assert register(db, "late", "")["changed"] == 1
    assert db.row(handlers) == {"handler": None, "batch_handler": None}
    assert register(db, "late", "")["changed"] == register(db, "late", None)["changed"] == 0
    assert register(db, "late", handler)["changed"] == 1
    assert db.row(handlers) == {"handler": handler, "batch_handler": None}
    assert [entry["after"].get("handler") for entry in audit(db) if entry["action"] == "register_biz_type"] == [
        handler, None, handler,
    ]  # fmt: skip
    assert register(db, "new", "")["handler"] is None
