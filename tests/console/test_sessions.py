"""Sessions: what is kept of a login, for how long, and how many there are."""

import gc
import time

import mysql.connector
import pytest

from outboxd.console import sessions
from outboxd.console.sessions import Sessions, settings_of
from outboxd.mysql import views
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings, SettingsError
from tests.kit.account import Account
from tests.kit.session import Session
from tests.kit.waiting import eventually

_PASSWORD = "one-time-pad-é"


@pytest.fixture
def opened(account: Account, db: Session) -> Sessions:
    """Sessions on the tests' database, where an account may read the views."""
    db.execute(f"DROP USER IF EXISTS reader; CREATE USER reader IDENTIFIED BY '{_PASSWORD}'")
    db.execute(f"GRANT SELECT ON {account.database}.outbox_topics_unavailable TO reader")
    return Sessions(Settings(mysql_url=account.url, mysql_options={"ssl_key": "/none", "password": "none"}))


def looks(database: OperatorProcedures) -> bool:
    """Use the connection."""
    return views.topics_unavailable(database) == []


def test_session_is_the_persons_and_has_nothing_of_the_configured_account(opened: Sessions, account: Account) -> None:
    with pytest.raises(mysql.connector.Error):
        opened.log_in("reader", account.password, looks)
    key, session = opened.log_in("reader", _PASSWORD, looks)
    with session.database(key) as database:
        assert database.query("SELECT CURRENT_USER()")[0][0] == "reader@%"
        with pytest.raises(mysql.connector.Error):
            database.status()
    own = settings_of(Settings(mysql_url=account.url, mysql_options={"ssl_ca": "/ca", "unix_socket": "/s"}), "a", "b")
    assert own.mysql_options == {"ssl_ca": "/ca"}
    assert account.password not in str(own.mysql_arguments())


def test_password_is_not_in_memory_between_two_requests(opened: Sessions) -> None:
    key, session = opened.log_in("reader", _PASSWORD, looks)
    session.close_idle()
    gc.collect()
    kept = {name: value for name, value in vars(session).items() if isinstance(value, str | bytes)}
    assert _PASSWORD.encode() not in repr(kept).encode()
    assert len(vars(session)["_sealed"]) == 256  # nor how long it is
    with session.database(key) as database:
        assert looks(database)


def test_session_is_found_by_its_whole_key_only(opened: Sessions) -> None:
    key, session = opened.log_in("reader", _PASSWORD, looks)
    assert opened.find(key) is session
    for wrong in (b"", key[:32], key + b"\0", key[:-1] + bytes([key[-1] ^ 1])):
        assert opened.find(wrong) is None
    opened.log_out(key)
    assert opened.find(key) is None


@pytest.mark.parametrize(
    ("name", "seconds"), [("used", sessions.IDLE_SECONDS), ("began", sessions.LONGEST_SECONDS)], ids=["idle", "old"]
)
def test_session_ends_by_itself(opened: Sessions, db: Session, name: str, seconds: float) -> None:
    key, session = opened.log_in("reader", _PASSWORD, looks)
    setattr(session, name, time.monotonic() - seconds - 1)
    assert opened.find(key) is None
    opened.tidy()
    eventually(lambda: db.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = 'reader'") == 0)


def test_account_has_twenty_sessions_and_the_oldest_makes_room(opened: Sessions) -> None:
    keys = [opened.log_in("reader", _PASSWORD, looks)[0] for _ in range(21)]
    assert [opened.find(key) is None for key in keys] == [True] + [False] * 20
    opened.close()
    assert all(opened.find(key) is None for key in keys)


def test_connections_that_nobody_uses_are_closed_and_three_are_the_most(opened: Sessions, db: Session) -> None:
    key, session = opened.log_in("reader", _PASSWORD, looks)

    def connections() -> int:
        return int(db.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = 'reader'"))

    with session.database(key) as one, session.database(key) as other:
        assert looks(one)
        assert looks(other)
        assert connections() == 2
    opened.tidy()
    assert connections() == 2
    session.close_idle()
    eventually(lambda: connections() == 0)


def test_password_that_no_account_can_have_is_refused_before_it_is_sent(opened: Sessions) -> None:
    for password in ("x" * 257, "nul \0"):
        with pytest.raises(SettingsError):
            opened.log_in("reader", password, looks)
