"""The migrations: the same whoever applies them, once each, and by an account without special rights."""

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from outboxd.schema import files, migrations
from tests.kit.installing import OWNER_RIGHTS, driver, empty_database
from tests.kit.schema import create_statements, describe
from tests.kit.server import SQL_FOLDER, Server, migration_files
from tests.kit.session import Session, chat_payload
from tests.servers.mysql_install import MySQLInstall

FILES = [path.name for path in migration_files()]
ROUTINES = [path for path in migration_files() if "CREATE PROCEDURE" in path.read_text(encoding="utf-8")]
CLIENTS = {
    "plain": (),
    "of other defaults": ("--default-character-set=latin1", "--init-command=SET SESSION sql_mode = 'ANSI'"),
}


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# With the mysql client


@pytest.fixture(scope="module", params=list(CLIENTS.values()), ids=list(CLIENTS))
def by_client(request: pytest.FixtureRequest, mysql_server: Server, mysql_programs: MySQLInstall) -> Iterator[Session]:
    """A database installed with the mysql client, as a DBA would."""
    with empty_database(mysql_server, "outboxd_by_client") as session:
        where = [f"--host={mysql_server.host}", f"--port={mysql_server.port}", "--protocol=TCP"]
        client = [str(mysql_programs.mysql), *where, f"--user={mysql_server.user}", *request.param, "outboxd_by_client"]
        done = subprocess.run(
            ["bash", "-O", "globstar", "-o", "pipefail", "-c", 'cat sql/**/V*.sql | "$@"', "bash", *client],
            cwd=SQL_FOLDER.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        yield session


def test_mysql_client_installs_the_same_as_the_connector(
    by_client: Session, mysql_server: Server, installed_database: str
) -> None:
    with mysql_server.connect(installed_database) as by_connector:
        ours, theirs = describe(by_client), describe(by_connector)
        for kind, rows in theirs.items():
            assert ours[kind] == rows, kind
        assert create_statements(by_client) == create_statements(by_connector)
    assert len(ours["routines"]) == len(ROUTINES)


def test_every_file_enters_itself(by_client: Session) -> None:
    rows = by_client.rows("SELECT * FROM outbox_migrations ORDER BY version")
    assert [row["file"] for row in rows] == FILES
    assert [f"V{row['version']:04}" for row in rows] == [file[:5] for file in FILES]
    assert {row["installed_by"] for row in rows} == {by_client.value("SELECT USER()")}
    now = by_client.value("SELECT UTC_TIMESTAMP(6)")
    assert all(0 <= (now - row["installed_at"]).total_seconds() < 600 for row in rows)
    assert by_client.out("outbox_version_v1") == rows[-1]["version"]


def test_outboxd_migrate_takes_over_what_the_client_installed(by_client: Session, mysql_server: Server) -> None:
    before = describe(by_client), by_client.rows("SELECT version, file, installed_at FROM outbox_migrations")
    with driver(mysql_server, "outboxd_by_client") as connection:
        assert {entry.checksum for entry in migrations.installed(connection).values()} <= {None}
        assert list(migrations.apply(connection)) == []
        checksums = {entry.file: entry.checksum for entry in migrations.installed(connection).values()}
    assert checksums == {path.name: checksum(path) for path in migration_files()}
    assert (describe(by_client), by_client.rows("SELECT version, file, installed_at FROM outbox_migrations")) == before


# With `outboxd migrate`


@pytest.fixture(scope="module")
def fresh(mysql_server: Server) -> Iterator[Session]:
    """A database that an account with rights on it alone has installed, in two runs."""
    with empty_database(mysql_server, "outboxd_fresh") as session:
        # With the binary log on, functions and triggers would need more rights than these.
        assert session.value("SELECT @@log_bin") == 1
        session.execute("DROP USER IF EXISTS outboxd_dba; CREATE USER outboxd_dba")
        session.execute(f"GRANT {OWNER_RIGHTS} ON outboxd_fresh.* TO outboxd_dba")
        with driver(mysql_server, "outboxd_fresh", "outboxd_dba") as connection:
            assert migrations.installed(connection) == {}
            half = [migration.file for migration in islice(migrations.apply(connection), 12)]
        assert half == FILES[:12] == session.column("SELECT file FROM outbox_migrations ORDER BY version")
        with driver(mysql_server, "outboxd_fresh", "outboxd_dba") as connection:
            assert [migration.file for migration in migrations.apply(connection)] == FILES[12:]
        yield session
        session.execute("DROP USER outboxd_dba")


def test_row_format_does_not_depend_on_the_servers_default(mysql_server: Server) -> None:
    """An index of outboxd is longer than a compact row's index may be."""
    with empty_database(mysql_server, "outboxd_compact") as session:
        before = session.value("SELECT @@GLOBAL.innodb_default_row_format")
        session.execute("SET GLOBAL innodb_default_row_format = 'compact'")
        try:
            with driver(mysql_server, "outboxd_compact") as connection:
                assert [migration.file for migration in migrations.apply(connection)] == FILES
        finally:
            session.execute(f"SET GLOBAL innodb_default_row_format = '{before}'")
        formats = "SELECT DISTINCT row_format FROM information_schema.tables WHERE table_schema = DATABASE()"
        assert session.column(f"{formats} AND engine IS NOT NULL") == ["Dynamic"]
        message = session.enqueue()
        assert session.consume(message) == {message: "consumed"}


def test_migrate_in_two_runs_installs_the_same_as_in_one(
    fresh: Session, mysql_server: Server, installed_database: str
) -> None:
    with mysql_server.connect(installed_database) as whole:
        assert describe(fresh) == describe(whole)
        assert create_statements(fresh) == create_statements(whole)


def test_migrate_records_version_file_checksum_time_and_who(fresh: Session, mysql_server: Server) -> None:
    with driver(mysql_server, "outboxd_fresh") as connection:
        installed = migrations.installed(connection)
    assert [(f"V{version:04}", entry.file, entry.checksum) for version, entry in sorted(installed.items())] == [
        (path.name[:5], path.name, checksum(path)) for path in migration_files()
    ]
    assert {entry.installed_by.partition("@")[0] for entry in installed.values()} == {"outboxd_dba"}
    today = str(fresh.value("SELECT CAST(UTC_TIMESTAMP() AS CHAR(19))"))
    assert all(len(entry.installed_at) == 19 and entry.installed_at <= today for entry in installed.values())


def test_available_migrations_are_the_files_of_the_folder_by_number() -> None:
    assert [migration.file for migration in files.available()] == FILES
    versions = [migration.version for migration in files.available()]
    assert versions == sorted(set(versions))


@contextmanager
def missing(session: Session, *versions: int) -> Iterator[None]:
    """Let these migrations be missing from outbox_migrations, which is put back at the end."""
    session.execute("CREATE TABLE saved AS SELECT * FROM outbox_migrations")
    session.execute(f"DELETE FROM outbox_migrations WHERE version IN ({', '.join(map(str, versions))})")
    try:
        yield
    finally:
        session.execute("DELETE FROM outbox_migrations; INSERT INTO outbox_migrations SELECT * FROM saved")
        session.execute("DROP TABLE saved")


def test_file_that_fails_is_named_and_the_ones_before_it_stay(fresh: Session, mysql_server: Server) -> None:
    with missing(fresh, 107, 851, 901), driver(mysql_server, "outboxd_fresh") as connection:
        # As if the tables of V0107 had been there before outboxd.
        with pytest.raises(migrations.MigrationError, match=r"V0107__slots\.sql: .*'outbox_relays' already exists"):
            list(migrations.apply(connection))
        assert {107, 851, 901} & migrations.installed(connection).keys() == set()


def test_file_that_was_cut_off_before_it_entered_itself_may_be_applied_again(
    fresh: Session, mysql_server: Server
) -> None:
    before = describe(fresh)
    versions = [int(path.name[1:5]) for path in ROUTINES]
    with missing(fresh, *versions), driver(mysql_server, "outboxd_fresh", "outboxd_dba") as connection:
        assert [migration.file for migration in migrations.apply(connection)] == [path.name for path in ROUTINES]
    assert describe(fresh) == before


# What is installed


def test_routines_are_procedures_and_there_are_no_triggers(fresh: Session) -> None:
    schema = describe(fresh)
    assert {row["ROUTINE_TYPE"] for row in schema["routines"]} == {"PROCEDURE"}
    assert schema["triggers"] == []


def test_routines_and_views_run_with_the_installers_rights(fresh: Session) -> None:
    schema = describe(fresh)
    assert {row["SECURITY_TYPE"] for row in [*schema["routines"], *schema["views"]]} == {"DEFINER"}


def test_every_routine_has_its_manual_in_the_database(fresh: Session) -> None:
    comments = {row["ROUTINE_NAME"]: row["ROUTINE_COMMENT"] for row in describe(fresh)["routines"]}
    assert all("Example\n  mysql> " in comment for comment in comments.values())
    assert "the record's key" in comments["outbox_enqueue_v1"]


def test_outbox_of_an_ordinary_account_works_end_to_end(fresh: Session, mysql_server: Server) -> None:
    with mysql_server.connect("outboxd_fresh", user="outboxd_dba") as session:
        message = session.enqueue(payload=chat_payload("hello"))
        claimed = session.claim()
        assert [row["id"] for row in claimed] == [message]
        assert session.mark("published", claimed) == 1
        assert session.consume(message) == {message: "consumed"}
        assert session.message(message)["status"] == "consumed"
        session.call("outbox_leave_v1", "relay-a")
    fresh.clean()
