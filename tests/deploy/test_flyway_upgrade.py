"""An upgrade with Flyway in two steps, as sql/README.md says: pre migrations, and later the post migrations."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import flyway, next_outboxd
from tests.deploy.release import POST, PRE
from tests.kit.installing import empty_database
from tests.kit.server import SQL_FOLDER, Server
from tests.kit.session import Session
from tests.servers.missing import skip_or_fail

NAME = "outboxd_flyway_upgrade"


@pytest.fixture
def tool() -> flyway.Flyway:
    """Flyway; skipped where it cannot be had, but never in CI."""
    reason = flyway.available()
    if reason is not None:
        skip_or_fail(reason)
    return flyway.find()


@pytest.fixture
def session(mysql_server: Server) -> Iterator[Session]:
    """A session on an empty database."""
    with empty_database(mysql_server, NAME) as database:
        yield database


def later(session: Session) -> list[str]:
    """The files of the next release that are installed."""
    return session.column("SELECT file FROM outbox_migrations WHERE version > 1000 ORDER BY version")


def test_flyway_upgrades_in_two_steps(
    session: Session, tool: flyway.Flyway, mysql_server: Server, tmp_path: Path
) -> None:
    everything, without_post = tmp_path / "sql", tmp_path / "pre"
    shutil.copytree(SQL_FOLDER, everything)
    shutil.copytree(next_outboxd.FOLDER, everything, dirs_exist_ok=True)
    shutil.copytree(everything, without_post, ignore=shutil.ignore_patterns("*__post_*"))
    tool.run("migrate", mysql_server, NAME)
    tool.run("migrate", mysql_server, NAME, location=without_post)
    assert later(session) == PRE
    tool.run("migrate", mysql_server, NAME, "-outOfOrder=true", location=everything)
    assert later(session) == sorted([*PRE, *POST])
