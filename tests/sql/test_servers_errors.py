"""Errors that the server raises for reasons of its own: they count no retry and kill no message."""

from collections.abc import Iterator

import pytest
from mysql.connector.errors import Error

from outboxd.mysql.errors import SERVERS_OWN
from tests.kit.application import RECORD, Application
from tests.kit.server import Connect, Server
from tests.kit.session import Session

READ_ONLY = 1290
TOO_LARGE = {1180, 1197, 1206, 1705, 3100, 3231}
"""After these, fewer messages are tried: tests/deploy/test_fit.py."""
HIGHEST = 7000
"""No error that a client gets has a higher number, but outboxd's own."""


def judge(db: Session, errno: int) -> tuple[bool, bool]:
    """Ask the list: whether it is the server's own, and whether a smaller transaction may pass."""
    db.execute("CALL outbox_internal_judge_error_v1(%s, @is_servers, @is_too_large)", errno)
    row = db.row("SELECT @is_servers AS servers, @is_too_large AS large")
    return bool(row["servers"]), bool(row["large"])


def test_daemon_waits_out_exactly_what_the_list_in_sql_calls_the_servers_own(db: Session) -> None:
    listed = {number: judge(db, number) for number in range(1000, HIGHEST)}
    assert {number for number, (is_servers, _) in listed.items() if is_servers} == SERVERS_OWN
    assert {number for number, (_, is_too_large) in listed.items() if is_too_large} == TOO_LARGE


@pytest.mark.parametrize("errno", sorted(SERVERS_OWN - TOO_LARGE))
def test_servers_error_in_a_handler_is_raised_and_changes_nothing(db: Session, app: Application, errno: int) -> None:
    app.business("one", RECORD)
    app.business("two", f"{RECORD}; SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'trouble'")
    good = db.enqueue_published("a", biz_type="one", payload="{}")
    bad = db.enqueue_published("b", biz_type="two", payload="{}")
    before = db.messages()
    with pytest.raises(Error) as caught:
        db.consume(good, bad)
    assert (caught.value.errno, caught.value.msg) == (errno, "trouble")
    db.execute("ROLLBACK")
    assert db.messages() == before
    assert app.effects() == []


def test_number_that_a_handler_has_chosen_itself_is_its_own_failure(db: Session, app: Application) -> None:
    app.business("one", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'the shelf is full'")
    message = db.enqueue_published(biz_type="one", payload="{}")
    assert db.consume(message) == {message: "failed"}
    assert db.message(message)["last_error"] == "the shelf is full"


def test_handler_that_writes_a_file_where_it_must_not_fails_by_itself(db: Session, app: Application) -> None:
    app.business("one", f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {READ_ONLY}, MESSAGE_TEXT = '--secure-file-priv'")
    message = db.enqueue_published(biz_type="one", payload="{}")
    assert db.consume(message) == {message: "failed"}


@pytest.fixture
def no_more_statements(mysql_server: Server) -> Iterator[None]:
    """A server that makes no more prepared statements."""
    with mysql_server.connect("mysql") as session:
        usual = session.value("SELECT @@GLOBAL.max_prepared_stmt_count")
        session.execute("SET GLOBAL max_prepared_stmt_count = 0")
        yield
        session.execute("SET GLOBAL max_prepared_stmt_count = %s", usual)


@pytest.mark.usefixtures("no_more_statements")
def test_handler_that_cannot_be_prepared_fails_no_message(db: Session, app: Application, connect: Connect) -> None:
    app.business("one")
    chat, other = db.enqueue_published("a"), db.enqueue_published("b", biz_type="one", payload="{}")
    before = db.messages()
    with pytest.raises(Error) as caught:
        connect().consume(chat, other)
    assert caught.value.errno == 1461
    assert db.messages() == before


def test_handler_that_does_not_exist_fails_its_message_alone(db: Session) -> None:
    db.register("gone", "no_such_procedure")
    chat, gone = db.enqueue_published("a"), db.enqueue_published("b", biz_type="gone", payload="{}")
    assert db.consume(chat, gone) == {chat: "consumed", gone: "failed"}
    assert "no_such_procedure does not exist" in db.message(gone)["last_error"]


def test_read_only_database_refuses_the_batch_and_counts_nothing(
    db: Session, connect: Connect, installed_database: str
) -> None:
    message = db.enqueue_published()
    before = db.messages()
    consumer = connect()
    db.execute(f"ALTER DATABASE {installed_database} READ ONLY = 1")
    try:
        with pytest.raises(Error) as caught:
            consumer.consume(message)
        assert caught.value.errno == 3989
    finally:
        db.execute(f"ALTER DATABASE {installed_database} READ ONLY = 0")
    assert db.messages() == before
    assert consumer.consume(message) == {message: "consumed"}
