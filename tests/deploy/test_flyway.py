"""Flyway installs from sql/, and knows nothing but that folder."""

import os
from collections.abc import Iterator

import pytest

from tests.deploy import flyway
from tests.kit.installing import empty_database, migrate
from tests.kit.schema import create_statements, describe
from tests.kit.server import Server, migration_files
from tests.kit.session import Session
from tests.servers.missing import skip_or_fail

NAME = "outboxd_flyway"
HISTORY = "flyway_schema_history"


@pytest.fixture(scope="module")
def tool() -> flyway.Flyway:
    """Flyway; skipped where it cannot be had, but never in CI."""
    reason = flyway.available()
    if reason is not None:
        skip_or_fail(reason)
    return flyway.find()


@pytest.fixture(scope="module")
def migrated(tool: flyway.Flyway, mysql_server: Server) -> Iterator[Session]:
    """A database that was empty until Flyway came."""
    with empty_database(mysql_server, NAME) as session:
        tool.run("migrate", mysql_server, NAME)
        yield session


def test_flyway_installs_the_same_as_outboxd_migrate(migrated: Session, db: Session) -> None:
    ours, theirs = describe(migrated), describe(db)
    for kind, rows in theirs.items():
        assert [row for row in ours[kind] if row.get("TABLE_NAME") != HISTORY] == rows, kind
    assert create_statements(migrated) == create_statements(db)


def test_flyway_applies_every_file_and_each_enters_itself(migrated: Session) -> None:
    files = [path.name for path in migration_files()]
    history = migrated.rows(f"SELECT script, success FROM {HISTORY} ORDER BY installed_rank")
    assert [os.path.basename(row["script"]) for row in history] == files
    assert {row["success"] for row in history} == {1}
    assert migrated.column("SELECT file FROM outbox_migrations ORDER BY version") == files


def test_flyway_and_outboxd_migrate_leave_alone_what_the_other_did(
    migrated: Session, tool: flyway.Flyway, mysql_server: Server
) -> None:
    assert migrate(mysql_server, NAME) == []
    before = describe(migrated)
    assert "is up to date" in tool.run("migrate", mysql_server, NAME)
    assert describe(migrated) == before
    assert migrated.enqueue() == 1
