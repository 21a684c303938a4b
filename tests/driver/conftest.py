"""Fixtures of the driver's tests: an account for the daemon, processes, and a mock cluster."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from outboxd.commands.main import cli
from outboxd.settings import Settings
from tests.driver.mock_kafka import MockCluster
from tests.driver.support import (
    QUICK,
    QUICK_GROUP,
    Account,
    Invoke,
    Run,
    Setting,
    StartDaemon,
    daemons,
    environment,
    run,
    unused,
)
from tests.sql.support import Database, Server


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a file in the working directory of whoever runs the tests counts."""
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"OUTBOXD_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def account(mysql_server: Server, installed_database: str) -> Account:
    """The daemon's account, which has EXECUTE and nothing else."""
    made = Account(mysql_server, installed_database)
    made.create()
    return made


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
def start_daemon(account: Account, cluster: MockCluster, db: Database, tmp_path: Path) -> Iterator[StartDaemon]:
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
