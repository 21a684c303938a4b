"""pytest fixtures that several folders use: a database, the command and the daemon on it, and a mock cluster."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from pytest_mysql.executor import MySQLExecutor

from outboxd.commands.main import cli
from outboxd.settings import Settings
from tests.kit.account import Account
from tests.kit.command import Invoke, Run, Setting, environment, run
from tests.kit.daemon import QUICK, StartDaemon, daemons
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.names import unused
from tests.kit.server import Connect, Server, closing_all
from tests.kit.session import Session

_DATABASE = "outboxd_tests"
_MONITOR = "outboxd_monitor"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a file in the working directory of whoever runs the tests counts."""
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"OUTBOXD_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def mysql_server(mysql_proc: MySQLExecutor) -> Server:
    """How to connect to the test server."""
    return Server(host=mysql_proc.host, port=mysql_proc.port, user=mysql_proc.user)


@pytest.fixture(scope="session")
def installed_database(mysql_server: Server) -> str:
    """The name of a database that has all migrations, made once per session."""
    mysql_server.create_database(_DATABASE)
    mysql_server.migrate(_DATABASE)
    return _DATABASE


@pytest.fixture
def connect(mysql_server: Server, installed_database: str) -> Iterator[Connect]:
    """Open further sessions on the database; all are closed after the test."""
    with closing_all(lambda: mysql_server.connect(installed_database)) as open_one:
        yield open_one


@pytest.fixture
def db(mysql_server: Server, installed_database: str) -> Iterator[Session]:
    """A session (autocommit) on an installed database without messages."""
    with mysql_server.connect(installed_database) as database:
        database.clean()
        yield database


@pytest.fixture(scope="session")
def account(mysql_server: Server, installed_database: str) -> Account:
    """The daemon's account, which has EXECUTE and nothing else."""
    made = Account(mysql_server, installed_database)
    made.create()
    return made


@pytest.fixture
def monitor_url(account: Account, db: Session) -> str:
    """The address of the database for an account with the rights of the role outbox_monitor."""
    db.execute(f"DROP USER IF EXISTS {_MONITOR}; CREATE USER {_MONITOR}")
    for view in (
        "outbox_status",
        "outbox_dead_letters",
        "outbox_relays_status",
        "outbox_topics_unavailable",
        "outbox_policies",
    ):
        db.execute(f"GRANT SELECT ON {account.database}.{view} TO {_MONITOR}")
    for procedure in ("outbox_lock_waits_v1", "outbox_lag_v1"):
        db.execute(f"GRANT EXECUTE ON PROCEDURE {account.database}.{procedure} TO {_MONITOR}")
    return f"mysql://{_MONITOR}@{account.server.host}:{account.server.port}/{account.database}"


@pytest.fixture
def fresh_database(mysql_server: Server) -> Iterator[str]:
    """The name of an empty database."""
    name = unused("outboxd").replace("-", "_")
    mysql_server.create_database(name)
    yield name
    with mysql_server.connect("mysql") as session:
        session.execute(f"DROP DATABASE {name}")


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """A mock cluster of the test's own."""
    with MockCluster() as made:
        yield made


@pytest.fixture
def outboxd(account: Account, tmp_path: Path) -> Run:
    """Run the command in an empty folder, on the tests' database unless told otherwise."""

    def run_it(*arguments: str, stdin: bytes = b"", **settings: Setting) -> subprocess.CompletedProcess[str]:
        return run(tmp_path, {"mysql_url": account.url, **settings}, arguments, stdin)

    return run_it


@pytest.fixture
def invoke(account: Account) -> Iterator[Invoke]:
    """Call the command inside this process, on the tests' database unless told otherwise."""

    def invoke_it(*arguments: str, stdin: bytes = b"", **settings: Setting) -> Result:
        own = environment({"mysql_url": account.url, **settings})
        return CliRunner().invoke(cli, arguments, input=stdin, env=own)

    yield invoke_it
    structlog.reset_defaults()  # the command has pointed the log to a stream that is gone


@pytest.fixture
def start_daemon(account: Account, cluster: MockCluster, db: Session, tmp_path: Path) -> Iterator[StartDaemon]:
    """Start daemons on the tests' database and the mock cluster."""
    base: dict[str, Setting] = {
        "mysql_url": account.url,
        "kafka_bootstrap": cluster.bootstrap,
        "kafka_options": QUICK_GROUP,
        "topics": "chat",
        **QUICK,
    }
    with daemons(tmp_path, base) as start:
        yield start
    account.settle(db)
