"""outbox_failures: every failure of a message is kept, for as long as the message."""

from typing import Any

import pytest

from tests.kit.application import Application
from tests.kit.operators import ago
from tests.kit.server import Connect
from tests.kit.session import Row, Session

SAYS_NO = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30123, MESSAGE_TEXT = 'the application says no'"


def failures(db: Session, message: int) -> list[Row]:
    return db.call("outbox_list_failures_v1", message)


def in_short(db: Session, message: int) -> list[tuple[Any, ...]]:
    return [(row["failure"], row["stage"], row["errno"], row["error"]) for row in failures(db, message)]


def remaining(db: Session) -> set[int]:
    return set(db.column("SELECT message_id FROM outbox_failures"))


def test_each_failure_of_a_handler_is_kept_with_its_number_time_and_error(db: Session, app: Application) -> None:
    app.business("fails", SAYS_NO)
    message, other = db.enqueue_published(biz_type="fails", payload="{}", max_retry=2), db.enqueue("other")
    began = db.value("SELECT UTC_TIMESTAMP(6)")
    db.consume(message)
    db.consume(message)
    says_no = ("consumer", 30123, "the application says no")
    assert in_short(db, message) == [(1, *says_no), (2, *says_no)]
    times = [row["at"] for row in failures(db, message)]
    assert began < times[0] < times[1] == db.message(message)["updated_at"]
    assert (db.statuses()[message], in_short(db, other)) == ("dead", [])


def test_payload_that_a_handler_rejects_is_one_failure(db: Session) -> None:
    message = db.enqueue_published(payload="{}")
    assert db.consume(message) == {message: "dead"}
    (row,) = failures(db, message)
    assert (row["stage"], row["errno"], row["error"]) == ("consumer", 30007, db.message(message)["last_error"])


def test_handler_that_rolls_back_leaves_its_failure_and_no_other(db: Session, app: Application) -> None:
    app.business("rolls back", "ROLLBACK")
    app.business("fails", SAYS_NO)
    bad = db.enqueue_published("a", biz_type="rolls back", payload="{}")
    failing = db.enqueue_published("b", biz_type="fails", payload="{}")
    assert db.consume(bad, failing) == {bad: "failed", failing: "failed"}
    assert in_short(db, bad) == [(1, "consumer", 30009, "handler rolls back rolls back by itself")]
    assert in_short(db, failing) == [(1, "consumer", 30123, "the application says no")], "the batch began anew"


@pytest.mark.parametrize("kind", ["failed", "dead"])
def test_record_that_kafka_refuses_is_a_failure_of_the_relay(db: Session, kind: str) -> None:
    message = db.enqueue()
    assert db.mark(kind, db.claim(), reason="message too large") == 1
    assert in_short(db, message) == [(1, "relay", None, "message too large")]


@pytest.mark.parametrize("routine", ["outbox_mark_failed_v1", "outbox_mark_dead_v1"])
@pytest.mark.parametrize(("status", "stage"), [("pending", "relay"), ("published", "consumer")])
def test_mark_of_a_legacy_service_is_told_apart_by_the_status(
    db: Session, routine: str, status: str, stage: str
) -> None:
    message = db.enqueue_in(status)
    db.call(routine, message, "é" * 3000)
    assert in_short(db, message) == [(1, stage, None, "é" * 2000)]


@pytest.mark.parametrize("status", ["consumed", "dead"])
def test_mark_that_changes_nothing_is_no_failure(db: Session, status: str) -> None:
    message = db.enqueue_in(status)
    before = in_short(db, message)
    db.call("outbox_mark_failed_v1", message, "late")
    db.call("outbox_mark_dead_v1", message, "late")
    assert in_short(db, message) == before


def test_of_a_message_that_is_requeued_the_latest_failures_are_kept_as_many_as_max_retry(db: Session) -> None:
    message = db.enqueue(max_retry=3)
    for number in range(1, 6):
        db.call("outbox_mark_failed_v1", message, f"error {number}")
        db.out("outbox_requeue_v1", message)
    assert [(row["failure"], row["error"]) for row in failures(db, message)] == [
        (number, f"error {number}") for number in (3, 4, 5)
    ]


def test_failures_of_two_sessions_at_once_are_both_counted(db: Session, connect: Connect) -> None:
    message = db.enqueue()
    old = connect()
    old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION")
    old.messages()  # its snapshot is from before the other one's failure
    db.call("outbox_mark_failed_v1", message, "the first")
    old.call("outbox_mark_failed_v1", message, "the second")
    old.execute("COMMIT")
    assert db.message(message)["retry_count"] == 2
    assert failures(db, message)[-1]["error"] == "the second"


def test_failures_are_deleted_with_the_message(db: Session) -> None:
    gone = {}
    for name in ("purged", "discarded", "by-filter", "purged-as-dead"):
        gone[name] = db.enqueue(name, topic=name)
        db.call("outbox_mark_failed_v1", gone[name], "once")
    kept = db.enqueue("kept")
    db.call("outbox_mark_failed_v1", kept, "once")
    db.call("outbox_persist_chat_history_v1", gone["purged"], db.message(gone["purged"])["payload"])
    for name in list(gone)[1:]:
        db.call("outbox_mark_dead_v1", gone[name], "enough")
    assert remaining(db) == {*gone.values(), kept}

    assert db.call("outbox_purge_v1", ago(db, -1), None)[0]["deleted"] == 1
    assert remaining(db) == {*gone.values(), kept} - {gone["purged"]}
    db.out("outbox_discard_v1", gone["discarded"])
    assert remaining(db) == {gone["by-filter"], gone["purged-as-dead"], kept}
    db.out("outbox_discard_dead_v1", "by-filter", None, None, None, None, None)
    assert remaining(db) == {gone["purged-as-dead"], kept}
    db.call("outbox_purge_dead_v1", ago(db, -1), None)
    assert remaining(db) == {kept}


def test_message_that_a_foreign_key_keeps_keeps_its_failures(db: Session) -> None:
    message = db.enqueue()
    db.call("outbox_mark_failed_v1", message, "once")
    db.call("outbox_persist_chat_history_v1", message, db.message(message)["payload"])
    db.execute(
        "CREATE TABLE app_refers (id BIGINT UNSIGNED, FOREIGN KEY (id) REFERENCES agent_outbox_messages (id));"
        "INSERT INTO app_refers VALUES (%s)",
        message,
    )
    try:
        assert db.call("outbox_purge_v1", ago(db, -1), None) == [{"deleted": 0, "referenced": 1}]
        assert remaining(db) == {message}
    finally:
        db.execute("DROP TABLE app_refers")


def test_messages_that_do_not_fail_never_touch_the_table(db: Session) -> None:
    messages = [db.enqueue(str(number)) for number in range(20)]
    counts = "SELECT COALESCE(SUM(count_star), 0) FROM performance_schema.table_io_waits_summary_by_table"
    ours = f"{counts} WHERE object_schema = DATABASE() AND object_name = 'outbox_failures'"
    before = db.value(ours)
    db.mark("published", db.claim())
    db.consume(*messages)
    assert set(db.statuses().values()) == {"consumed"}
    assert db.value(ours) == before
    db.call("outbox_purge_v1", ago(db, -1), None)
    assert db.value(ours) - before <= 2, "a purge looks once whether any of its messages has failed"
