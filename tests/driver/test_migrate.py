"""`outboxd migrate` as a DBA runs it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.command import Invoke, Run, the_one_line
from tests.kit.server import Server, migration_files
from tests.kit.session import Session


@pytest.fixture
def fresh_url(mysql_server: Server, fresh_database: str) -> str:
    """mysql_url of an empty database, with an account that may do anything in it."""
    return f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}"


@pytest.fixture
def fresh(mysql_server: Server, fresh_database: str) -> Iterator[Session]:
    """A session on the same empty database."""
    with mysql_server.connect(fresh_database) as session:
        yield session


def test_migrate_installs_everything_and_then_has_nothing_to_do(outboxd: Run, fresh: Session, fresh_url: str) -> None:
    done = outboxd("migrate", mysql_url=fresh_url)
    files = [path.name for path in migration_files()]
    assert done.returncode == 0
    assert done.stdout.splitlines()[:-1] == [f"applied {file}" for file in files]
    assert fresh.column("SELECT file FROM outbox_migrations ORDER BY version") == files
    assert fresh.value("SELECT COUNT(*) FROM outbox_migrations WHERE checksum IS NULL") == 0
    assert fresh.enqueue() == 1

    again = outboxd("migrate", mysql_url=fresh_url)
    assert (again.returncode, again.stdout.splitlines()[0][:9]) == (0, "0 applied")


def test_migrate_status_names_every_file_that_is_missing_and_changes_nothing(
    outboxd: Run, fresh: Session, fresh_url: str
) -> None:
    done = outboxd("migrate", "--status", mysql_url=fresh_url)
    assert done.returncode == 0
    assert done.stdout.count("missing") == len(migration_files())
    # In full, although the output is no terminal and has no width.
    assert [path.name for path in migration_files() if path.name not in done.stdout] == []
    assert fresh.rows("SHOW TABLES") == []


def test_edited_migration_is_refused_by_name_before_anything_is_changed(
    invoke: Invoke, outboxd: Run, fresh: Session, fresh_url: str
) -> None:
    assert invoke("migrate", mysql_url=fresh_url).exit_code == 0
    edited = migration_files()[9].name
    fresh.execute("UPDATE outbox_migrations SET checksum = REPEAT('0', 64) WHERE file = %s", edited)
    fresh.execute("DELETE FROM outbox_migrations ORDER BY version DESC LIMIT 1")
    before = fresh.rows("SELECT * FROM outbox_migrations")

    assert edited in the_one_line(outboxd("migrate", mysql_url=fresh_url))
    assert fresh.rows("SELECT * FROM outbox_migrations") == before
    status = invoke("migrate", "--status", mysql_url=fresh_url).stdout
    assert status.count("edited since") == 1
    assert status.count("missing") == 1


def test_newer_schema_that_dropped_what_this_release_brings_is_refused_by_name_and_left_alone(
    invoke: Invoke, outboxd: Run, fresh: Session, fresh_url: str
) -> None:
    assert invoke("migrate", mysql_url=fresh_url).exit_code == 0
    gone = migration_files()[20]
    fresh.execute("INSERT INTO outbox_migrations (version, file) VALUES (999, 'V999__post_old_v1.sql')")
    fresh.execute("UPDATE outbox_migrations SET dropped_by = 'V999__post_old_v1.sql' WHERE file = %s", gone.name)
    before = fresh.rows("SELECT * FROM outbox_migrations")

    line = the_one_line(outboxd("migrate", mysql_url=fresh_url))
    assert f"{gone.name} is gone, dropped by V999__post_old_v1.sql" in line
    assert "too old for this schema" in line
    assert fresh.rows("SELECT * FROM outbox_migrations") == before
    status = invoke("migrate", "--status", mysql_url=fresh_url).stdout
    assert status.count("dropped by V999__post_old_v1.sql") == 1
    assert status.count("newer than this outboxd") == 1


def test_newer_schema_that_has_all_that_this_release_brings_is_left_alone(
    invoke: Invoke, fresh: Session, fresh_url: str
) -> None:
    assert invoke("migrate", mysql_url=fresh_url).exit_code == 0
    fresh.execute("INSERT INTO outbox_migrations (version, file) VALUES (999, 'V999__new_v1.sql')")
    assert invoke("migrate", mysql_url=fresh_url).stdout.startswith("0 applied")


def test_file_that_cannot_have_its_lock_is_named_and_may_be_run_again(
    invoke: Invoke, outboxd: Run, fresh: Session, fresh_url: str, mysql_server: Server, fresh_database: str
) -> None:
    assert invoke("migrate", mysql_url=fresh_url).exit_code == 0
    (file,) = (path for path in migration_files() if path.name.endswith("__enqueue_v1.sql"))
    fresh.execute("DELETE FROM outbox_migrations WHERE file = %s", file.name)
    with mysql_server.connect(fresh_database) as other:
        other.execute("START TRANSACTION")
        other.enqueue()
        impatient = {"init_command": "SET SESSION lock_wait_timeout = 1"}
        line = the_one_line(outboxd("migrate", mysql_url=fresh_url, mysql_options=impatient))
    assert file.name in line
    assert "Lock wait timeout" in line
    assert "again" in line
    assert f"applied {file.name}" in invoke("migrate", mysql_url=fresh_url).stdout


def test_migrations_that_the_mysql_client_applied_are_taken_over(
    invoke: Invoke, fresh: Session, fresh_url: str, fresh_database: str, mysql_server: Server
) -> None:
    mysql_server.migrate(fresh_database)
    assert "not by outboxd migrate" in invoke("migrate", "--status", mysql_url=fresh_url).stdout
    assert invoke("migrate", mysql_url=fresh_url).exit_code == 0
    assert fresh.value("SELECT COUNT(*) FROM outbox_migrations WHERE checksum IS NULL") == 0


def test_two_migrates_at_once_apply_each_file_once(outboxd: Run, fresh: Session, fresh_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(outboxd, "migrate", mysql_url=fresh_url) for _ in range(2)]
    applied = "".join(one.result().stdout for one in both).count("applied V")
    assert [one.result().returncode for one in both] == [0, 0]
    assert applied == len(migration_files()) == fresh.value("SELECT COUNT(*) FROM outbox_migrations")


def test_account_without_rights_on_tables_cannot_migrate(outboxd: Run, db: Session) -> None:
    """The account of the tests has EXECUTE alone."""
    before = db.rows("SELECT * FROM outbox_migrations")
    assert "denied" in the_one_line(outboxd("migrate"))
    assert db.rows("SELECT * FROM outbox_migrations") == before
