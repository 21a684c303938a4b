"""Migrations: applies the files that a database lacks, and tells what is installed.

Every file enters itself into outbox_migrations, so that the mysql client and Flyway leave the same trace; this adds
the checksum, and rejects a file that was edited after it was applied.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import mysql.connector
from mysql.connector import errorcode

from outboxd.mysql.connection import Connection
from outboxd.retry import Unavailable
from outboxd.schema import files, presence
from outboxd.schema.compatibility import why_too_old
from outboxd.schema.files import Migration


class MigrationError(Exception):
    """A migration could not be applied, was edited after it was, or is of a newer release; the message names it."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One row of outbox_migrations."""

    version: int
    file: str
    checksum: str | None
    installed_at: str
    installed_by: str
    dropped_by: str | None


def installed(database: Connection) -> dict[int, Installed]:
    """The rows of outbox_migrations by number; empty where there is no such table."""
    try:
        rows = database.query(
            "SELECT version, file, checksum, CAST(installed_at AS CHAR(19)), installed_by, dropped_by"
            " FROM outbox_migrations"
        )
    except mysql.connector.Error as error:
        if error.errno != errorcode.ER_NO_SUCH_TABLE:
            raise
        return {}
    return {row[0]: Installed(*row) for row in rows}


def pending(database: Connection, *, post: bool = False) -> list[Migration]:
    """The migrations that are missing, in order. Those that drop something count with `post`, or in an empty database.

    So do those that are installed and whose procedure, view or event the server does not have, as after a dump without
    routines.

    Raises MigrationError for a file that was edited after it was applied, and where a newer release has dropped what
    this one brings.
    """
    there = installed(database)
    too_old = why_too_old({version: row.dropped_by for version, row in there.items()})
    if too_old:
        raise MigrationError(too_old)
    for migration in files.available():
        applied = there.get(migration.version)
        if applied and applied.checksum not in (None, migration.checksum):
            raise MigrationError(f"{migration.file} was edited after it was applied at {applied.installed_at} UTC")
    with_post = post or not there
    gone = presence.gone(database, {version: row.dropped_by for version, row in there.items()})
    return [m for m in files.available() if m in gone or (m.version not in there and (with_post or not m.is_post))]


def script(database: Connection, *, post: bool = False) -> str:
    """What `apply` would execute, as one script for the mysql client; empty where there is nothing to do.

    Raises MigrationError as `pending` does.
    """
    there = installed(database)
    steps = [
        f"-- {migration.file}\n{_again(migration, there)}{migration.script}\n"
        for migration in pending(database, post=post)
    ]
    return "".join(steps + [f"{migration.enter_checksum}\n" for migration in _without_checksum(database)])


def apply(database: Connection, *, post: bool = False) -> Iterator[Migration]:
    """Apply what `pending` returns, in order, and yield each migration after it is installed.

    Raises MigrationError as `pending` does, before anything is changed, and for a file that fails; files before it stay
    applied, and a later run goes on from there.
    """
    if database.query("SELECT GET_LOCK(CONCAT('outboxd ', LEFT(DATABASE(), 56)), 30)") != [(1,)]:
        raise MigrationError("another `outboxd migrate` is at work on this database: try again when it is done")
    there = installed(database)
    for migration in pending(database, post=post):
        try:
            database.run_script(_again(migration, there) + migration.script)
        except mysql.connector.Error as error:
            raise MigrationError(f"{migration.file}: {error}") from error
        except Unavailable as error:
            raise MigrationError(f"{migration.file}: {error}; {_way_out(error)}") from error
        yield migration
    for migration in _without_checksum(database):
        database.query(migration.enter_checksum)


def _again(migration: Migration, there: Mapping[int, Installed]) -> str:
    """What goes before a migration that is applied a second time: a file enters itself."""
    return f"DELETE FROM outbox_migrations WHERE version = {migration.version};\n" if migration.version in there else ""


def _way_out(error: Unavailable) -> str:
    cause = error.__cause__
    if isinstance(cause, mysql.connector.Error) and cause.errno == errorcode.ER_LOCK_WAIT_TIMEOUT:
        return (
            "an open transaction of another session uses what this file changes: wait until it has ended"
            " (performance_schema.metadata_locks names it), and run `outboxd migrate` again"
        )
    return "run `outboxd migrate` again"


def _without_checksum(database: Connection) -> list[Migration]:
    """What another tool has applied: a file enters itself, but does not know its own checksum."""
    there = installed(database)
    return [m for m in files.available() if m.version in there and there[m.version].checksum is None]
