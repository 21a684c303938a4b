"""`outboxd migrate --dry-run`: the SQL that `outboxd migrate` would run, for a DBA to read, or to run instead."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from outboxd.schema import files
from tests.kit.command import run, the_one_line
from tests.kit.installing import Client, empty_database, migrate, mysql_url, together
from tests.kit.schema import create_statements, describe
from tests.kit.server import Server, migration_files
from tests.kit.session import Session

NAME = "outboxd_dry"


@pytest.fixture
def empty(mysql_server: Server) -> Iterator[Session]:
    """A session on an empty database."""
    with empty_database(mysql_server, NAME) as session:
        yield session


class DryRun:
    """The command, on that database."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.settings = {"mysql_url": mysql_url(server, NAME)}
        self.folder = folder

    def output(self) -> str:
        """What it prints, where it goes well."""
        done = run(self.folder, self.settings, ["migrate", "--dry-run"])
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def complaint(self) -> str:
        """What it says, where it does not."""
        return the_one_line(run(self.folder, self.settings, ["migrate", "--dry-run"]))


@pytest.fixture
def dry_run(empty: Session, mysql_server: Server, tmp_path: Path) -> DryRun:
    """The command, on an empty database."""
    assert empty.rows("SHOW TABLES") == []
    return DryRun(mysql_server, tmp_path)


def test_dry_run_changes_nothing(empty: Session, dry_run: DryRun) -> None:
    assert "CREATE TABLE outbox_migrations" in dry_run.output()
    assert empty.rows("SHOW TABLES") == []


def test_what_dry_run_prints_installs_the_same_as_migrate(
    empty: Session, dry_run: DryRun, client: Client, db: Session
) -> None:
    client.apply(NAME, dry_run.output())
    ours, theirs = describe(empty), describe(db)
    assert {kind: ours[kind] for kind in theirs} == theirs
    assert create_statements(empty) == create_statements(db)
    checksums = {row["file"]: row["checksum"] for row in empty.rows("SELECT file, checksum FROM outbox_migrations")}
    assert checksums == {migration.file: migration.checksum for migration in files.available()}


def test_dry_run_prints_only_what_is_missing(dry_run: DryRun, client: Client, mysql_server: Server) -> None:
    client.apply(NAME, together(migration_files()[:20]))
    output = dry_run.output()
    entered = re.findall(r"INSERT INTO outbox_migrations \(version, file\) VALUES \(\d+, '(.*)'\)", output)
    assert entered == [path.name for path in migration_files()[20:]]
    # The files that another tool has applied lack their checksums.
    assert output.count("UPDATE outbox_migrations SET checksum") == len(migration_files())
    client.apply(NAME, output)
    assert migrate(mysql_server, NAME) == []
    assert dry_run.output() == ""


def test_dry_run_refuses_a_file_that_was_edited(empty: Session, dry_run: DryRun, client: Client) -> None:
    client.apply(NAME, together(migration_files()[:3]))
    empty.execute("UPDATE outbox_migrations SET checksum = REPEAT('0', 64) WHERE version = 102")
    assert "V0102__legacy_tables.sql was edited after it was applied" in dry_run.complaint()
