"""Trouble of the server while a batch is consumed: it is no message's fault, and nothing is half done."""

import pytest
from mysql.connector.errors import Error

from tests.kit.application import Application
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session
from tests.kit.waiting import background, eventually


def test_lock_wait_timeout_on_a_message_rolls_everything_back_and_is_raised(db: Session, connect: Connect) -> None:
    other = connect()
    free, locked = db.enqueue_published("a"), db.enqueue_published("b")
    other.execute("START TRANSACTION")
    other.call("outbox_mark_failed_v1", locked, "not committed")
    check_timeout(db, free, locked)
    other.execute("ROLLBACK")
    assert db.consume(free, locked) == {free: "consumed", locked: "consumed"}


def test_lock_wait_timeout_on_the_business_table_rolls_everything_back_and_is_raised(
    db: Session, connect: Connect
) -> None:
    other = connect()
    first, second = db.enqueue_published("a"), db.enqueue_published("b")
    other.execute("START TRANSACTION")
    other.execute("SELECT * FROM chat_histories FOR UPDATE")
    check_timeout(db, first, second)
    other.execute("ROLLBACK")
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}
    assert db.chats() == ["a", "b"]


def test_lock_wait_timeout_in_a_handler_fails_its_own_message_and_stops_no_other(
    db: Session, app: Application, connect: Connect
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = p_payload WHERE message = 0")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    other = connect()
    chat = db.enqueue_published("a")
    blocked = db.enqueue_published("b", biz_type="counts", payload="{}")
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    db.execute("SET innodb_lock_wait_timeout = 1")
    assert db.consume(chat, blocked) == {chat: "consumed", blocked: "failed"}
    assert "Lock wait timeout" in db.message(blocked)["last_error"]
    other.execute("ROLLBACK")
    assert db.consume(blocked) == {blocked: "consumed"}


def check_timeout(db: Session, *messages: int) -> None:
    """Consume in vain: error 1205, nothing changed, no transaction left open, no lock kept."""
    before, chats = db.messages(), db.chats()
    db.execute("SET innodb_lock_wait_timeout = 1")
    with pytest.raises(Error) as caught:
        db.consume(*messages)
    assert caught.value.errno == 1205
    assert not db.in_transaction()
    assert db.messages() == before
    assert db.chats() == chats


def test_killed_statement_is_raised_and_the_callers_rollback_undoes_everything(
    db: Session, app: Application, connect: Connect
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = p_payload WHERE message = 0")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    consumer, other = connect(), connect()
    chat = db.enqueue_published("a")
    blocked = db.enqueue_published("b", biz_type="counts", payload="{}")
    before = db.messages()
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    with background(lambda: consumer.consume(chat, blocked)) as consume:
        eventually(lambda: db.waits_for_lock(consumer.session_id))
        db.execute(f"KILL QUERY {consumer.session_id}")
        error = consume.exception(timeout=60)
    assert isinstance(error, Error)
    assert error.errno == 1317
    # No handler runs in a statement that was killed, so that the procedure cannot roll back by itself.
    consumer.execute("ROLLBACK")
    other.execute("ROLLBACK")
    assert db.messages() == before
    assert db.chats() == []
    assert consumer.consume(chat, blocked) == {chat: "consumed", blocked: "consumed"}


def test_server_that_went_read_only_changes_nothing_and_is_raised(db: Session, connect: Connect) -> None:
    consumer = connect()
    message = db.enqueue_published(biz_type=CHAT)
    before = db.messages()
    consumer.execute("SET SESSION TRANSACTION READ ONLY")
    with pytest.raises(Error, match="READ ONLY"):
        consumer.consume(message)
    assert db.messages() == before
    consumer.execute("SET SESSION TRANSACTION READ WRITE")
    assert consumer.consume(message) == {message: "consumed"}
