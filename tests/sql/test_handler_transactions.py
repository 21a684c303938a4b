"""Handlers that end the transaction, which they must not: each harms its own message alone, and is reported."""

import json

import pytest
from mysql.connector import errorcode
from mysql.connector.errors import Error

from tests.kit.application import RECORD, Application
from tests.kit.server import Connect
from tests.kit.session import Session, reads
from tests.kit.waiting import background, eventually

FAIL = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 50123, MESSAGE_TEXT = 'the application says no'"


# Handlers that break the rule that they must not end the transaction

COMMITS = ["COMMIT", "START TRANSACTION", "CREATE TABLE app_other (id INT); DROP TABLE app_other"]


@pytest.mark.parametrize("how", COMMITS)
def test_handler_that_commits_by_itself_is_consumed_once_and_reported(db: Session, app: Application, how: str) -> None:
    app.business("commits", f"{RECORD}; {how}")
    app.business("obeys")
    before = db.enqueue_published("a", biz_type="obeys", payload="{}")
    message = db.enqueue_published("b", biz_type="commits", payload="{}")
    after = db.enqueue_published("c", biz_type="obeys", payload="{}")
    chat = db.enqueue_published("d")
    assert set(db.consume(before, message, after, chat).values()) == {"consumed"}
    assert set(db.statuses().values()) == {"consumed"}
    assert app.effects() == [before, message, after]
    assert db.chats() == ["d"]
    assert "handler commits commits by itself" in db.message(message)["last_error"]
    assert not db.in_transaction()
    assert set(db.consume(before, message, after, chat).values()) == {"duplicate"}
    assert app.effects() == [before, message, after]


def test_handler_that_commits_and_then_fails_is_reported(db: Session, app: Application) -> None:
    app.business("commits", f"{RECORD}; COMMIT; {FAIL}")
    message, other = db.enqueue_published("a", biz_type="commits", payload="{}"), db.enqueue_published("b")
    assert db.consume(message, other) == {message: "consumed", other: "consumed"}
    assert "commits by itself" in db.message(message)["last_error"]
    assert app.effects() == [message]


ROLLBACKS = {
    "and says so": f"DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; {RECORD}; {FAIL}",
    "and keeps silent": f"{RECORD}; ROLLBACK",
}


@pytest.mark.parametrize("body", ROLLBACKS.values(), ids=ROLLBACKS.keys())
def test_handler_that_rolls_back_by_itself_harms_no_other_message(db: Session, app: Application, body: str) -> None:
    app.business("rolls_back", body)
    app.business("obeys")
    before = db.enqueue_published("a", biz_type="obeys", payload="{}")
    message = db.enqueue_published("b", biz_type="rolls_back", payload="{}")
    after = db.enqueue_published("c", biz_type="obeys", payload="{}")
    chat = db.enqueue_published("d")
    outcomes = db.consume(before, message, after, chat)
    assert outcomes == {before: "consumed", message: "failed", after: "consumed", chat: "consumed"}
    assert db.statuses() == {before: "consumed", message: "pending", after: "consumed", chat: "consumed"}
    assert db.message(message)["retry_count"] == 1
    assert app.effects() == [before, after]
    assert db.chats() == ["d"]
    assert not db.in_transaction()


def test_message_that_was_consumed_while_a_handler_had_given_up_the_locks_stays_consumed(
    db: Session, app: Application, connect: Connect
) -> None:
    app.business("commits", "COMMIT; DO SLEEP(1)")
    app.business("fails", FAIL)
    app.business("records")
    commits = db.enqueue_published("a", biz_type="commits", payload="{}")
    fails = db.enqueue_published("k", biz_type="fails", payload="{}")
    later = db.enqueue_published("k", biz_type="records", payload="{}")
    other = connect()
    with background(lambda: other.consume(commits, fails, later)) as consuming:
        eventually(lambda: db.is_in(other.session_id, "User sleep"))
        db.call("outbox_mark_dead_v1", fails, "out of the way")
        assert db.consume(later) == {later: "consumed"}
        db.out("outbox_requeue_v1", fails)
    assert consuming.result() == {commits: "consumed", fails: "failed", later: "duplicate"}
    assert db.statuses()[later] == "consumed"
    assert app.effects() == [later]


def test_failing_messages_cost_as_much_each_however_many_there_are(db: Session, app: Application) -> None:
    app.business("fails", FAIL)

    def cost(number: int) -> float:
        db.execute("START TRANSACTION")
        messages = [db.enqueue(f"k-{key}", biz_type="fails", payload="{}") for key in range(number)]
        db.execute("COMMIT")
        batch = json.dumps([db.record(message) for message in messages])
        read = reads(db, lambda: db.call("outbox_consume_v1", batch))
        db.execute("DELETE FROM agent_outbox_messages")
        return read / number

    assert cost(400) < cost(100) * 1.5


@pytest.mark.parametrize("autocommit", [0, 1])
def test_failure_that_cannot_be_entered_leaves_no_transaction_open(
    db: Session, app: Application, connect: Connect, autocommit: int
) -> None:
    app.business("rolls_back", "DO SLEEP(1); ROLLBACK")
    message = db.enqueue_published(biz_type="rolls_back", payload="{}")
    record = db.record(message)
    consumer, other = connect(), connect()
    consumer.execute(f"SET SESSION autocommit = {autocommit}, SESSION innodb_lock_wait_timeout = 1")
    other.execute("START TRANSACTION")
    with background(lambda: consumer.consume(record)) as consuming:
        eventually(lambda: db.is_in(consumer.session_id, "User sleep"))
        # Waits, and has the lock once the handler has rolled back.
        assert other.rows("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", message)
        with pytest.raises(Error) as raised:
            consuming.result()
    assert raised.value.errno == errorcode.ER_LOCK_WAIT_TIMEOUT
    assert not consumer.in_transaction()
    other.execute("ROLLBACK")
    assert consumer.consume(record) == {message: "failed"}
    assert db.message(message)["retry_count"] == 1


def test_handler_that_rolls_back_is_found_out_behind_one_that_commits(db: Session, app: Application) -> None:
    app.business("commits", f"{RECORD}; COMMIT")
    app.business("rolls_back", f"{RECORD}; ROLLBACK; {FAIL}")
    first = db.enqueue_published("a", biz_type="commits", payload="{}")
    second = db.enqueue_published("b", biz_type="rolls_back", payload="{}")
    assert db.consume(first, second)[second] == "failed"
    assert db.statuses() == {first: "consumed", second: "pending"}
    assert "commits by itself" in db.message(first)["last_error"]
    assert "rolls back by itself: the application says no" in db.message(second)["last_error"]
