"""The driver's connection: what it is, which errors are passing, and how it comes back."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import mysql.connector
import pytest
from mysql.connector.connection_cext import CMySQLConnection

from outboxd.messages import Arrival, Message
from outboxd.mysql.errors import is_rejection
from outboxd.mysql.procedures import Database as Driver
from outboxd.retry import Unavailable
from tests.kit.account import Account
from tests.kit.command import settings
from tests.kit.server import Connect, Server
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually

RELAY = "relay-a"


@pytest.fixture
def driver(account: Account, db: Session) -> Iterator[Driver]:
    """The driver's connection, on a database without messages."""
    assert db.messages() == []
    with Driver(settings(account.url)) as driver:
        yield driver


@pytest.fixture
def owner(mysql_server: Server, installed_database: str, db: Session) -> Iterator[Driver]:
    """A second connection, by an account that may lock and read tables."""
    assert db.messages() == []
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{installed_database}"
    with Driver(settings(url)) as owner:
        yield owner


def session_of(driver: Driver) -> int:
    return int(driver.query("SELECT CONNECTION_ID()")[0][0])


@contextmanager
def set_globally(db: Session, variable: str) -> Iterator[None]:
    """Switch a variable of the server on, and off again."""
    db.execute(f"SET GLOBAL {variable} = ON")
    try:
        yield
    finally:
        db.execute(f"SET GLOBAL {variable} = OFF")
        db.execute("SET GLOBAL read_only = OFF")


def test_driver_runs_on_the_c_extension(driver: Driver) -> None:
    driver.installed()
    assert type(driver._connection) is CMySQLConnection


def arrival(message: Message) -> Arrival:
    """What the record of a message says."""
    return Arrival(message.id, message.created_at, message.topic, message.key, 0, 0)


def enqueue(driver: Driver, biz_type: str, topic: str, key: str, payload: str) -> None:
    """As an application does."""
    message = {"biz_type": biz_type, "topic": topic, "key": key, "payload": payload}
    driver.enqueue_batch(json.dumps([message], ensure_ascii=False))


def test_driver_speaks_utf8mb4_and_commits_each_call(driver: Driver) -> None:
    assert driver.query("SELECT @@character_set_client, @@autocommit") == [("utf8mb4", 1)]


def test_account_with_execute_alone_can_do_all_that_the_daemon_does(driver: Driver, db: Session) -> None:
    first, second, third = (db.enqueue(key) for key in "abc")
    claimed = {message.id: message for message in driver.claim(RELAY, 10, 30, 0)}
    driver.heartbeat(RELAY, 30)
    assert driver.mark_published_batch(RELAY, [claimed[first].receipt]) == 1
    assert driver.mark_failed_batch(RELAY, [(claimed[second].receipt, "not now")]) == 1
    assert driver.mark_dead_batch(RELAY, [(claimed[third].receipt, "never")]) == 1
    driver.leave(RELAY)
    assert [outcome.outcome for outcome in driver.consume([arrival(claimed[first])]).outcomes] == ["consumed"]
    assert db.statuses() == {first: "consumed", second: "pending", third: "dead"}
    assert {row["status"] for row in driver.status()} == {"consumed", "pending", "dead"}
    assert driver.get(third) == db.message(third)
    with pytest.raises(mysql.connector.Error):
        driver.query("SELECT COUNT(*) FROM agent_outbox_messages")


@pytest.mark.parametrize("marked", [[], ()])
def test_marking_nothing_marks_nothing(driver: Driver, marked: Any) -> None:
    assert (driver.mark_published_batch(RELAY, marked), driver.mark_failed_batch(RELAY, marked)) == (0, 0)


def test_records_are_consumed_by_ascending_id_however_they_come(driver: Driver, db: Session) -> None:
    first, second = (db.enqueue_published("k", payload=chat_payload(text)) for text in ("one", "two"))
    outcomes = driver.consume(
        [Arrival(id_, db.message(id_)["created_at"], "chat", "k", 0, 0) for id_ in (second, first)]
    ).outcomes
    assert [(outcome.id, outcome.outcome) for outcome in outcomes] == [(first, "consumed"), (second, "consumed")]
    assert db.chats() == ["one", "two"]


@pytest.mark.parametrize("payload", ['{"a":"\\u0000%s %(x)s \\\\ \' \\" `"}', '"漢字 🎉"', '{ "a" : 1.10 }\n'])
def test_payload_passes_through_the_driver_byte_for_byte(driver: Driver, db: Session, payload: str) -> None:
    enqueue(driver, "t", "topic", "k", payload)
    (message,) = driver.claim(RELAY, 10, 30, 0)
    assert message.value == payload.encode()
    assert db.message(message.id)["payload"] == payload


@pytest.mark.parametrize(
    "text",
    [
        "delimiter ; x",
        "DELIMITER // ' ; `",
        "say 'delimiter $$ a' don't; b",
        "' delimiter ; ' ; SELECT 1; --",
        "delimiter " * 20_000,
    ],
    ids=lambda text: text[:20],
)
def test_word_that_is_a_command_of_the_mysql_client_is_a_text_like_any_other(
    driver: Driver, db: Session, text: str
) -> None:
    enqueue(driver, "chat_history_persist", "chat", "k", chat_payload(text))
    (message,) = driver.claim(RELAY, 10, 30, 0)
    assert json.loads(message.value or b"")["message"] == text
    assert [outcome.outcome for outcome in driver.consume([arrival(message)]).outcomes] == ["consumed"]
    assert db.chats() == [text]


@pytest.mark.parametrize("text", ["delimiter", "x" * 5000])
def test_text_is_itself_on_a_connection_that_databases_share(account: Account, db: Session, text: str) -> None:
    db.enqueue("k")
    given = settings(account.url)
    with Driver.to_server(given) as server:
        calls = Driver(given, on=server)
        assert calls.give_up(db.messages()[0]["id"], text)
        assert calls.give_up(db.messages()[0]["id"], text) is False
    assert db.column("SELECT last_error FROM agent_outbox_messages") == [f"given up ({text[:500]})"]


def test_killed_connection_is_unavailable_and_the_next_call_connects_again(driver: Driver, db: Session) -> None:
    killed = session_of(driver)
    db.execute(f"KILL {killed}")
    with pytest.raises(Unavailable, match="MySQL"):
        driver.status()
    assert driver.status() == []
    assert session_of(driver) != killed


def test_killed_statement_is_unavailable_and_the_connection_stays_usable(driver: Driver, db: Session) -> None:
    """As with KILL QUERY, max_execution_time, or an operator's tool, while the server still sends a batch."""
    for _ in range(15):
        db.enqueue(payload=json.dumps("x" * 999_000))
    session = session_of(driver)
    claim = driver.claim(RELAY, 100, 30, 0)
    next(claim)
    db.execute(f"KILL QUERY {session}")
    with pytest.raises(Unavailable):
        list(claim)
    assert len(list(driver.claim(RELAY, 100, 30, 0))) == 15


def test_claim_that_is_given_up_half_way_leaves_a_usable_connection(driver: Driver, db: Session) -> None:
    for key in "abc":
        db.enqueue(key)
    claim = driver.claim(RELAY, 100, 30, 0)
    next(claim)
    claim.close()  # type: ignore[attr-defined]
    assert len(list(driver.claim(RELAY, 100, 30, 0))) == 3


def test_read_only_server_is_unavailable_until_it_is_written_again(driver: Driver, db: Session) -> None:
    db.enqueue()
    with set_globally(db, "super_read_only"), pytest.raises(Unavailable, match="read-only"):
        list(driver.claim(RELAY, 10, 30, 0))
    assert len(list(driver.claim(RELAY, 10, 30, 0))) == 1


def test_server_in_offline_mode_is_unavailable_until_it_is_back(driver: Driver, db: Session) -> None:
    session_of(driver)
    with set_globally(db, "offline_mode"):
        for _ in range(2):  # the open connection is ended, then a new one is refused
            with pytest.raises(Unavailable):
                driver.installed()
    assert driver.installed()


def test_account_at_its_limit_of_connections_is_unavailable(account: Account, db: Session) -> None:
    db.execute(f"ALTER USER {account.name} WITH MAX_USER_CONNECTIONS 1")
    try:
        with Driver(settings(account.url)) as first, Driver(settings(account.url)) as second:
            first.installed()
            with pytest.raises(Unavailable):
                second.installed()
    finally:
        db.execute(f"ALTER USER {account.name} WITH MAX_USER_CONNECTIONS 0")


def test_deadlock_is_unavailable(owner: Driver, connect: Connect, db: Session) -> None:
    first, second = db.enqueue("a"), db.enqueue("b")
    lock = "SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE"
    other = connect()
    session = other.session_id
    other.execute("START TRANSACTION")
    # The one that has changed less is the victim, so that the driver's is.
    other.execute("UPDATE agent_outbox_messages SET last_error = 'changed' WHERE id = %s", second)
    with owner.transaction(), ThreadPoolExecutor(1) as pool:
        owner.query(lock, first)
        waiting = pool.submit(other.execute, lock, first)
        eventually(lambda: db.waits_for_lock(session))
        with pytest.raises(Unavailable, match="1213"):
            owner.query(lock, second)
        waiting.result(60)
    other.execute("ROLLBACK")


def test_claim_that_has_waited_too_long_for_a_lock_is_unavailable(
    driver: Driver, connect: Connect, db: Session
) -> None:
    db.enqueue()
    other = connect()
    other.execute("START TRANSACTION")
    other.execute("SELECT slot FROM outbox_slots FOR UPDATE")
    driver.query("SET innodb_lock_wait_timeout = 1")
    with pytest.raises(Unavailable, match="1205"):
        list(driver.claim(RELAY, 10, 30, 0))
    other.execute("ROLLBACK")
    assert len(list(driver.claim(RELAY, 10, 30, 0))) == 1


def test_refusal_of_a_procedure_is_an_error_of_its_own_and_costs_no_connection(driver: Driver) -> None:
    session = session_of(driver)
    with pytest.raises(mysql.connector.Error) as caught:
        enqueue(driver, "t", "", "k", "{}")
    assert is_rejection(caught.value)
    assert caught.value.errno == 30001
    assert session_of(driver) == session


@pytest.mark.parametrize("statement", ["SELECT nothing", "SELECT * FROM nowhere", "CALL nobody_v1()", "SELEKT 1"])
def test_other_error_of_the_server_is_neither_passing_nor_a_refusal(driver: Driver, statement: str) -> None:
    with pytest.raises(mysql.connector.Error) as caught:
        driver.query(statement)
    assert not is_rejection(caught.value)


@pytest.mark.parametrize("url", ["mysql://user@127.0.0.1:1/db", "mysql://user@no-such-host.invalid/db"])
def test_server_that_cannot_be_reached_is_unavailable(url: str) -> None:
    with pytest.raises(Unavailable, match="MySQL"):
        Driver(settings(url)).installed()


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"database": "nowhere"}])
def test_wrong_password_or_database_is_no_passing_error(account: Account, wrong: dict[str, str]) -> None:
    with Driver(settings(account.url, mysql_options=wrong)) as driver, pytest.raises(mysql.connector.Error):
        driver.installed()


def test_transaction_is_rolled_back_where_the_block_raises(driver: Driver, db: Session) -> None:
    with pytest.raises(ZeroDivisionError):
        enqueue_and(driver, lambda: 1 / 0)
    assert db.messages() == []
    enqueue_and(driver, lambda: None)
    assert len(db.messages()) == 1


def test_connection_that_breaks_inside_a_transaction_leaves_nothing_behind(driver: Driver, db: Session) -> None:
    session = session_of(driver)

    def go_on_after_the_kill() -> None:
        db.execute(f"KILL {session}")
        enqueue(driver, "t", "topic", "k", "{}")

    with pytest.raises(Unavailable):
        enqueue_and(driver, go_on_after_the_kill)
    assert db.messages() == []


def test_commit_whose_connection_is_gone_is_not_taken_for_done(driver: Driver, db: Session) -> None:
    session = session_of(driver)
    with pytest.raises(Unavailable):
        enqueue_and(driver, lambda: db.execute(f"KILL {session}"))
    assert db.messages() == []


def enqueue_and(driver: Driver, then: Callable[[], object]) -> None:
    """A transaction that enqueues a message and does something else."""
    with driver.transaction():
        enqueue(driver, "t", "topic", "k", "{}")
        then()
