"""Migrations: applies sql/**/V<nnn>__<name>.sql in the order of their numbers, and tells what is installed.

Every file enters itself into outbox_migrations, so that the mysql client and Flyway leave the same trace; this adds
the checksum, and refuses a file that was edited after it was applied.

Files only add, so that a daemon and applications of the release before go on while they are applied. What nobody calls
any more is dropped by V<nnn>__post_<name>.sql, which is applied on demand, and writes its name into the rows of those
files whose routines are gone.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mysql.connector
from mysql.connector import errorcode

from outboxd import __version__
from outboxd.database import Database
from outboxd.retry import Unavailable

_INSIDE_PACKAGE = Path(__file__).parent / "sql"
_INSIDE_CHECKOUT = Path(__file__).parents[2] / "sql"
_NAME = re.compile(r"V(\d+)__\w+\.sql")


class MigrationError(Exception):
    """A migration could not be applied, was edited after it was, or is of a newer release; the message names it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file under sql/."""

    version: int
    path: Path

    @property
    def file(self) -> str:
        """The file's name, as in outbox_migrations."""
        return self.path.name

    @property
    def is_post(self) -> bool:
        """Whether it drops what the release before needs."""
        return "__post_" in self.file

    @property
    def text(self) -> str:
        """The file's SQL."""
        return self.path.read_text(encoding="utf-8")

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, hex."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def enter_checksum(self) -> str:
        """The statement by which this file's checksum gets into outbox_migrations, where there is none yet."""
        return (
            f"UPDATE outbox_migrations SET checksum = '{self.checksum}'"
            f" WHERE version = {self.version} AND checksum IS NULL;"
        )

    @property
    def script(self) -> str:
        """What applying this file runs, for the mysql client: DELIMITER included."""
        return f"{self.text}{self.enter_checksum}\n"


@dataclass(frozen=True, slots=True)
class Installed:
    """One row of outbox_migrations."""

    version: int
    file: str
    checksum: str | None
    installed_at: str
    installed_by: str
    dropped_by: str | None


def available() -> list[Migration]:
    """The migrations of this package (or of the checkout it runs from), by number."""
    return in_folder(_INSIDE_PACKAGE if _INSIDE_PACKAGE.is_dir() else _INSIDE_CHECKOUT)


def in_folder(root: Path) -> list[Migration]:
    """The migrations in the folders below this one, by number."""
    found = ((_NAME.fullmatch(path.name), path) for path in root.glob("*/V*.sql"))
    return sorted((Migration(int(name[1]), path) for name, path in found if name), key=lambda m: m.version)


def installed(database: Database) -> dict[int, Installed]:
    """What outbox_migrations says is installed, by number; empty where there is no such table."""
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


def why_too_old(dropped_by: Mapping[int, str | None]) -> str | None:
    """Why this outboxd does not fit a newer schema, or None: a file that it does not know has dropped what it may call.

    Takes dropped_by of what is installed, by number.
    """
    known = available()
    files = {migration.file for migration in known}
    for migration in known:
        dropper = dropped_by.get(migration.version)
        if dropper is not None and dropper not in files:
            return (
                f"{migration.file} is gone, dropped by {dropper}:"
                f" outboxd {__version__} is too old for this schema, use the release that {dropper} came with, or newer"
            )
    return None


def pending(database: Database, *, post: bool = False) -> list[Migration]:
    """The migrations that are missing, in order; those that drop something only with `post`, or where nothing is in.

    Raises MigrationError for a file that was edited after it was applied, and where a newer release has dropped what
    this one brings.
    """
    there = installed(database)
    too_old = why_too_old({version: row.dropped_by for version, row in there.items()})
    if too_old:
        raise MigrationError(too_old)
    for migration in available():
        applied = there.get(migration.version)
        if applied and applied.checksum not in (None, migration.checksum):
            raise MigrationError(f"{migration.file} was edited after it was applied at {applied.installed_at} UTC")
    with_post = post or not there
    return [m for m in available() if m.version not in there and (with_post or not m.is_post)]


def script(database: Database, *, post: bool = False) -> str:
    """What `apply` would run now, as one script for the mysql client; empty where there is nothing to do.

    Raises MigrationError as `pending` does.
    """
    steps = [f"-- {migration.file}\n{migration.script}\n" for migration in pending(database, post=post)]
    return "".join(steps + [f"{migration.enter_checksum}\n" for migration in _without_checksum(database)])


def apply(database: Database, *, post: bool = False) -> Iterator[Migration]:
    """Apply what is missing as `pending` tells, in order, yielding each migration when it is in.

    Raises MigrationError as `pending` does, before anything is changed, and for a file that fails; files before it stay
    applied, and a later run goes on from there.
    """
    if database.query("SELECT GET_LOCK(CONCAT('outboxd ', LEFT(DATABASE(), 56)), 30)") != [(1,)]:
        raise MigrationError("another `outboxd migrate` is at work on this database: try again when it is done")
    for migration in pending(database, post=post):
        try:
            database.run_script(migration.script)
        except mysql.connector.Error as error:
            raise MigrationError(f"{migration.file}: {error}") from error
        except Unavailable as error:
            raise MigrationError(f"{migration.file}: {error}; {_way_out(error)}") from error
        yield migration
    for migration in _without_checksum(database):
        database.query(migration.enter_checksum)


def _way_out(error: Unavailable) -> str:
    cause = error.__cause__
    if isinstance(cause, mysql.connector.Error) and cause.errno == errorcode.ER_LOCK_WAIT_TIMEOUT:
        return (
            "an open transaction of another session uses what this file changes: wait until it has ended"
            " (performance_schema.metadata_locks names it), and run `outboxd migrate` again"
        )
    return "run `outboxd migrate` again"


def _without_checksum(database: Database) -> list[Migration]:
    """What another tool has applied: the file has entered itself, but no file knows its own checksum."""
    there = installed(database)
    return [m for m in available() if m.version in there and there[m.version].checksum is None]
