"""The bundle: one script for the mysql client that installs, upgrades, and may be run again."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from outboxd import __version__
from outboxd.schema import bundle, files
from outboxd.schema.bundle import BundleError
from outboxd.schema.files import Migration
from tests.kit.installing import (
    OWNER_RIGHTS,
    Client,
    all_files,
    create_account,
    driver,
    empty_database,
    migrate,
    together,
)
from tests.kit.schema import create_statements, describe
from tests.kit.server import Server, migration_files
from tests.kit.session import Row, Session

NAME = "outboxd_bundle"
OWNER = "outboxd_bundler"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundle, as `make bundle` makes it."""
    folder = tmp_path_factory.mktemp("bundle") / "build"
    done = subprocess.run(
        [sys.executable, "-m", "outboxd.schema.bundle", folder], capture_output=True, text=True, timeout=30, check=True
    )
    path = Path(done.stdout.strip())
    assert path == folder / f"outboxd-{__version__}.sql"
    return path.read_text(encoding="utf-8")


@pytest.fixture
def empty(mysql_server: Server) -> Iterator[Session]:
    """A session on an empty database of an ordinary account's."""
    with empty_database(mysql_server, NAME) as session:
        create_account(session, OWNER, f"GRANT {OWNER_RIGHTS} ON {NAME}.*")
        yield session
        session.execute(f"DROP USER {OWNER}")


@pytest.fixture
def by_bundle(client: Client, script: str) -> Callable[[], None]:
    """Apply the bundle to that database."""
    return lambda: client.apply(NAME, script, user=OWNER)


def everything(session: Session) -> tuple[object, ...]:
    """All that a run of the bundle could have changed, and when it was made."""
    return (
        describe(session),
        session.rows("SELECT * FROM outbox_migrations ORDER BY version"),
        session.rows("SELECT * FROM outbox_biz_types ORDER BY biz_type"),
        session.rows(
            "SELECT routine_name, created, last_altered FROM information_schema.routines"
            " WHERE routine_schema = DATABASE() ORDER BY routine_name"
        ),
        session.rows(
            "SELECT table_name, create_time FROM information_schema.tables"
            " WHERE table_schema = DATABASE() ORDER BY table_name"
        ),
        session.rows("SELECT event_name, created, last_altered FROM information_schema.events"),
    )


def is_like(ours: Session, installed: Session) -> None:
    """Compare with a database that the files themselves have made."""
    assert create_statements(ours) == create_statements(installed)
    mine, theirs = describe(ours), describe(installed)
    for kind, rows in theirs.items():
        assert mine[kind] == rows, kind
    for table in ("outbox_biz_types", "outbox_slots"):
        query = f"SELECT * FROM {table} ORDER BY 1"
        assert ours.rows(query) == installed.rows(query)


def entries(session: Session) -> list[Row]:
    return session.rows("SELECT version, file, checksum FROM outbox_migrations ORDER BY version")


def all_entries() -> list[Row]:
    """What outbox_migrations should hold."""
    return [{"version": m.version, "file": m.file, "checksum": m.checksum} for m in files.available()]


def test_bundle_installs_what_the_files_do(empty: Session, by_bundle: Callable[[], None], db: Session) -> None:
    by_bundle()
    is_like(empty, db)
    assert entries(empty) == all_entries()
    assert {row["installed_by"].partition("@")[0] for row in empty.rows("SELECT * FROM outbox_migrations")} == {OWNER}
    message = empty.enqueue()
    assert empty.claim_ids() == [message]


def test_bundle_run_again_changes_nothing(empty: Session, by_bundle: Callable[[], None], mysql_server: Server) -> None:
    by_bundle()
    # What a site may have changed on purpose stays as well.
    empty.execute("ALTER EVENT outbox_retention ENABLE; UPDATE outbox_biz_types SET backoff_cap_seconds = 600")
    before = everything(empty)
    by_bundle()
    assert everything(empty) == before
    assert migrate(mysql_server, NAME, OWNER) == []
    assert everything(empty) == before


def test_bundle_after_outboxd_migrate_changes_nothing(
    empty: Session, by_bundle: Callable[[], None], mysql_server: Server
) -> None:
    migrate(mysql_server, NAME, OWNER)
    before = everything(empty)
    by_bundle()
    assert everything(empty) == before


def test_bundle_after_the_files_adds_their_checksums(
    empty: Session, by_bundle: Callable[[], None], client: Client
) -> None:
    client.apply(NAME, all_files(), user=OWNER)
    before = everything(empty)
    assert {row["checksum"] for row in entries(empty)} == {None}
    by_bundle()
    assert entries(empty) == all_entries()
    empty.execute("UPDATE outbox_migrations SET checksum = NULL")
    assert everything(empty) == before


@pytest.mark.parametrize("count_installed", [1, 3, 12])
def test_bundle_completes_what_is_half_installed(
    empty: Session, by_bundle: Callable[[], None], client: Client, db: Session, count_installed: int
) -> None:
    client.apply(NAME, together(migration_files()[:count_installed]), user=OWNER)
    installed_at = empty.value("SELECT MAX(installed_at) FROM outbox_migrations")
    by_bundle()
    is_like(empty, db)
    assert entries(empty) == all_entries()
    old = empty.value("SELECT COUNT(*) FROM outbox_migrations WHERE installed_at <= %s", installed_at)
    assert old == count_installed


def test_bundle_that_was_cut_off_is_run_again(
    empty: Session, by_bundle: Callable[[], None], client: Client, db: Session, script: str
) -> None:
    # Between two statements of a step, and after a routine that has not entered itself yet.
    for place in ("CALL outboxd_bundle_step();", "CALL outboxd_bundle_enter(30,"):
        first_half, _, _ = script.partition(place)
        client.apply(NAME, first_half, user=OWNER)
    by_bundle()
    is_like(empty, db)
    assert entries(empty) == all_entries()


def test_bundle_adopts_the_tables_of_the_legacy_go_service_with_their_rows(
    empty: Session, by_bundle: Callable[[], None], client: Client
) -> None:
    first_two = together(migration_files()[:2])
    tables = re.findall(r"CREATE TABLE IF NOT EXISTS .*?;", first_two, re.DOTALL)
    client.apply(NAME, "".join(tables), user=OWNER)
    empty.execute(
        "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload) VALUES ('mail', 'm', 'k', '{}')"
    )
    by_bundle()
    assert [row["pending_slot"] for row in empty.messages()] == [empty.value("SELECT CRC32('k') % 64")]


@pytest.mark.parametrize("mode", ["ANSI", "", "TRADITIONAL,NO_BACKSLASH_ESCAPES"])
def test_bundle_does_not_care_about_the_sessions_settings(
    empty: Session, client: Client, script: str, db: Session, mode: str
) -> None:
    settings = f"SET SESSION sql_mode = '{mode}', time_zone = '+05:30', autocommit = 0"
    for _ in range(2):
        client.apply(NAME, script, "--default-character-set=latin1", f"--init-command={settings}", user=OWNER)
    is_like(empty, db)
    assert entries(empty) == all_entries()


def test_file_that_was_edited_is_refused_by_name_before_anything_is_changed(
    empty: Session, by_bundle: Callable[[], None], client: Client, script: str
) -> None:
    client.apply(NAME, together(migration_files()[:20]), user=OWNER)
    empty.execute("UPDATE outbox_migrations SET checksum = REPEAT('0', 64) WHERE version = 204")
    before = everything(empty)[1:]
    done = client.run(NAME, script, user=OWNER)
    assert done.returncode == 1
    assert "V0204__internal_require_no_transaction_v1.sql was edited after it was applied" in done.stderr
    assert everything(empty)[1] == before[0]
    empty.execute("UPDATE outbox_migrations SET checksum = NULL WHERE version = 204")
    by_bundle()
    assert empty.column("SELECT routine_name FROM information_schema.routines WHERE routine_name LIKE 'outboxd%'") == []


def test_bundle_waits_for_a_migration_that_is_under_way(
    empty: Session, client: Client, script: str, mysql_server: Server
) -> None:
    with driver(mysql_server, NAME) as other:
        assert other.query(f"SELECT GET_LOCK('outboxd {NAME}', 0)") == [(1,)]
        done = client.run(NAME, script.replace(", 30), FALSE)", ", 0), FALSE)"), user=OWNER)
    assert done.returncode == 1
    assert "another migration is at work" in done.stderr
    assert empty.rows("SHOW TABLES") == []


# A release to come, in files that no folder has


@pytest.fixture
def release(tmp_path: Path) -> Callable[[str], Migration]:
    """Make a migration of this text, with the next number."""
    numbers = count(101)

    def make(text: str) -> Migration:
        number = next(numbers)
        path = tmp_path / f"V{number:04}__made_up.sql"
        entry = f"INSERT INTO outbox_migrations (version, file) VALUES ({number}, '{path.name}');\n"
        path.write_text(f"SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;\n{text}\n{entry}", encoding="utf-8")
        return Migration(number, path)

    return make


def test_routine_that_a_later_release_drops_is_dropped_once_and_not_made_again(
    empty: Session, client: Client, release: Callable[[str], Migration]
) -> None:
    table = release(migration_files()[0].read_text(encoding="utf-8").partition("INSERT INTO")[0])
    procedure = "DROP PROCEDURE IF EXISTS {0};\nDELIMITER $$\nCREATE PROCEDURE {0} ()\nBEGIN END $$\nDELIMITER ;"
    old, new = release(procedure.format("claim_v1")), release(procedure.format("claim_v2"))
    client.apply(NAME, bundle.bundle([table, old, new]), user=OWNER)
    assert create_statements(empty).keys() == {"claim_v1", "claim_v2"}
    post = release("-- Nobody calls it any more: it's gone.\nDROP PROCEDURE IF EXISTS claim_v1;")
    for _ in range(2):
        client.apply(NAME, bundle.bundle([table, old, new, post]), user=OWNER)
        assert create_statements(empty).keys() == {"claim_v2"}
    assert len(entries(empty)) == 4


def test_statement_of_a_release_runs_once_whatever_is_written_in_it(
    empty: Session, client: Client, release: Callable[[str], Migration]
) -> None:
    table = release(migration_files()[0].read_text(encoding="utf-8").partition("INSERT INTO")[0])
    odd = release(
        "-- It's a comment; with both.\n"
        "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT);\n"
        "INSERT INTO notes (note) VALUES ('it''s; \\'odd\\' -- and\n"
        "goes on'), ('ü 😀'); -- why; not\n"
    )
    for _ in range(2):
        client.apply(NAME, bundle.bundle([table, odd]), user=OWNER)
    assert empty.column("SELECT note FROM notes ORDER BY id") == ["it's; 'odd' -- and\ngoes on", "ü 😀"]


def test_stored_function_is_refused_by_its_files_name(release: Callable[[str], Migration]) -> None:
    bad = release("DELIMITER $$\nCREATE FUNCTION f () RETURNS INT DETERMINISTIC RETURN 1 $$\nDELIMITER ;")
    with pytest.raises(BundleError, match=r"V0101__made_up\.sql creates neither a procedure nor an event"):
        bundle.bundle([bad])
