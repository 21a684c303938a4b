"""`outboxd doctor` on accounts: why MySQL refuses, and for each reason its own hint, which then helps."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kit.command import Invoke
from tests.kit.doctor import Found, to_be_done
from tests.kit.installing import GRANTS, OWNER_RIGHTS, Client, client_of, create_account, migrate, mysql_url
from tests.kit.mock_cluster import MockCluster
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.mysql_install import MySQLInstall

OWNER = "doctor_owner"
DAEMON = "doctor_daemon"
DATABASE = "outboxd_doctor"


@pytest.fixture(scope="module")
def root(mysql_server: Server) -> Iterator[Session]:
    """A session of who may do everything, on a database that another account has installed."""
    mysql_server.create_database(DATABASE)
    with mysql_server.connect(DATABASE) as session:
        session.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1; SET GLOBAL sync_binlog = 1")
        create_account(session, OWNER, f"GRANT {OWNER_RIGHTS} ON {DATABASE}.*")
        migrate(mysql_server, DATABASE, OWNER)
        yield session
        session.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2; SET GLOBAL sync_binlog = 0")
        session.execute(f"DROP DATABASE {DATABASE}")
        session.execute(f"DROP USER IF EXISTS {OWNER}, {DAEMON}")


@pytest.fixture(autouse=True)
def daemon(root: Session, mysql_programs: MySQLInstall, mysql_server: Server) -> None:
    """The daemon's account, with its roles."""
    client: Client = client_of(mysql_programs, mysql_server)
    client.apply(DATABASE, GRANTS.read_text(encoding="utf-8"))
    create_account(root, DAEMON)
    root.execute(f"GRANT outbox_relay, outbox_consumer TO {DAEMON}; SET DEFAULT ROLE ALL TO {DAEMON}")


@pytest.fixture
def examine(invoke: Invoke, cluster: MockCluster, mysql_server: Server) -> "Examine":
    """Run doctor as the daemon."""
    return Examine(invoke, cluster, mysql_server)


class Examine:
    """`outboxd doctor`, and what it finds wrong."""

    def __init__(self, invoke: Invoke, cluster: MockCluster, server: Server) -> None:
        self._invoke, self._bootstrap, self._server = invoke, cluster.bootstrap, server

    def __call__(self, url: str | None = None) -> dict[str, Found]:
        """What is wrong, by subject."""
        url = url or mysql_url(self._server, DATABASE, DAEMON)
        return to_be_done(self._invoke("doctor", mysql_url=url, kafka_bootstrap=self._bootstrap))


def statements(to_do: str) -> str:
    """The SQL that a hint ends with."""
    return to_do.rpartition(": ")[2]


def test_nothing_is_wrong_with_the_rights_that_the_docs_give(examine: Examine) -> None:
    assert examine() == {}


def test_wrong_password_is_said_to_be_one(examine: Examine, mysql_server: Server) -> None:
    found = examine(f"mysql://{DAEMON}:wrong@{mysql_server.host}:{mysql_server.port}/{DATABASE}")
    assert set(found) == {"MySQL"}
    assert "Access denied" in found["MySQL"].state
    assert found["MySQL"].to_do.startswith("the password in mysql_url is wrong")
    assert "answers" not in found["MySQL"].to_do


def test_unknown_database_and_closed_port_have_hints_of_their_own(examine: Examine, mysql_server: Server) -> None:
    unknown = examine(mysql_url(mysql_server, "no_such_database"))
    assert "CREATE DATABASE `no_such_database`" in unknown["MySQL"].to_do
    closed = examine("mysql://user@127.0.0.1:1/db")
    assert closed["MySQL"].to_do == "see that 127.0.0.1:1 answers"
    nowhere = examine("mysql://user@host.invalid/db")
    assert "host host.invalid in mysql_url is not known here" in nowhere["MySQL"].to_do


@pytest.mark.parametrize(
    ("change", "to_do"),
    [
        ("ACCOUNT LOCK", f"ALTER USER '{DAEMON}' ACCOUNT UNLOCK"),
        ("PASSWORD EXPIRE", f"ALTER USER '{DAEMON}' IDENTIFIED BY"),
    ],
)
def test_account_that_may_not_log_in_is_told_why(examine: Examine, root: Session, change: str, to_do: str) -> None:
    root.execute(f"ALTER USER {DAEMON} {change}")
    found = examine()
    assert set(found) == {"MySQL"}
    assert to_do in found["MySQL"].to_do


def test_role_that_is_not_default_is_named_and_the_hint_helps(examine: Examine, root: Session) -> None:
    root.execute(f"SET DEFAULT ROLE NONE TO {DAEMON}")
    found = examine()  # error 1044: without a role, the account has no right on the database
    assert set(found) == {"rights"}
    assert "1044" in found["rights"].state
    assert "has the roles outbox_consumer, outbox_relay, but not by default" in found["rights"].to_do
    root.execute(statements(found["rights"].to_do))
    assert examine() == {}


def test_one_of_two_roles_that_is_not_default_is_named_and_the_hint_helps(examine: Examine, root: Session) -> None:
    root.execute(f"SET DEFAULT ROLE outbox_relay TO {DAEMON}")
    found = examine()
    assert set(found) == {"rights"}
    assert "may not call outbox_consume_v1" in found["rights"].state
    assert "has the roles outbox_consumer, but not by default" in found["rights"].to_do
    root.execute(statements(found["rights"].to_do))
    assert examine() == {}


def test_account_without_a_role_is_told_which_to_get_and_the_hint_helps(examine: Examine, root: Session) -> None:
    root.execute(f"REVOKE outbox_relay, outbox_consumer FROM {DAEMON}")
    found = examine()
    assert set(found) == {"rights"}
    root.execute(statements(found["rights"].to_do))
    assert examine() == {}


@pytest.mark.parametrize("right", ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE TEMPORARY TABLES"])
def test_right_that_the_definer_lacks_is_named_and_the_hint_helps(examine: Examine, root: Session, right: str) -> None:
    root.execute(f"REVOKE {right} ON {DATABASE}.* FROM {OWNER}")
    found = examine()
    try:
        assert found["definer"].verdict == "FIX"
        assert right in found["definer"].state
        assert f"'{OWNER}'" in found["definer"].state
        assert statements(found["definer"].to_do) == f"GRANT {right} ON `{DATABASE}`.* TO '{OWNER}'@'%'"
        assert set(found) <= {"definer", "not examined", "migrations", "rights", "tables"}
        root.execute(statements(found["definer"].to_do))
        assert examine() == {}
    finally:
        root.execute(f"GRANT {OWNER_RIGHTS} ON {DATABASE}.* TO {OWNER}")


@contextmanager
def without_owner(root: Session) -> Iterator[None]:
    """The account that applied the migrations is gone, for the block."""
    root.execute(f"DROP USER {OWNER}")
    try:
        yield
    finally:
        create_account(root, OWNER, f"GRANT {OWNER_RIGHTS} ON {DATABASE}.*")


def test_definer_that_is_gone_is_named(examine: Examine, root: Session, mysql_server: Server) -> None:
    with without_owner(root):
        as_daemon, as_root = examine(), examine(mysql_url(mysql_server, DATABASE))
    for found in (as_daemon, as_root):
        assert found["definer"].verdict == "FIX"
        assert "1449" in found["definer"].state
        assert f"CREATE USER '{OWNER}'@'%' with the rights that sql/README.md lists" in found["definer"].to_do
    assert examine() == {}


def test_procedures_of_another_definer_are_told(examine: Examine, root: Session) -> None:
    statement = str(root.row("SHOW CREATE PROCEDURE outbox_lock_waits_v1")["Create Procedure"])
    root.execute("DROP PROCEDURE outbox_lock_waits_v1")
    root.execute(statement.replace(f"`{OWNER}`@`%`", "`somebody`@`%`"))
    found = examine()
    assert found["definer"].verdict == "warn"
    assert (
        "1 procedures, the first is outbox_lock_waits_v1, run with the rights of somebody@%" in found["definer"].state
    )
    root.execute("DROP PROCEDURE outbox_lock_waits_v1")
    root.execute(statement)
