"""Whether this outboxd and an installed schema fit: neither lacks what the other needs."""

from collections.abc import Mapping

import mysql.connector
from mysql.connector import errorcode

from outboxd import __version__
from outboxd.mysql.procedures import WorkerProcedures
from outboxd.schema import files


class SchemaError(Exception):
    """The database has no schema of outboxd, or one that this daemon does not know."""


def check_schema(database: WorkerProcedures, name: str) -> None:
    """Raise SchemaError where the daemon and the schema do not fit.

    `name` is the database's own. The error names the first migration that the daemon needs and the database does not
    have, or the one whose routine a newer release has dropped. Migrations that the daemon does not know do
    no harm, nor does a missing one that only drops.
    """
    try:
        rows = database.installed()
    except mysql.connector.Error as error:
        if error.errno != errorcode.ER_SP_DOES_NOT_EXIST:
            raise
        rows = []
    dropped_by = {row["version"]: row["dropped_by"] for row in rows}
    needed = [migration for migration in files.available() if not migration.is_post]
    missing = [migration.file for migration in needed if migration.version not in dropped_by]
    if missing:
        raise SchemaError(
            f"database {name} lacks migration {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}: run `outboxd migrate`"
        )
    too_old = why_too_old(dropped_by)
    if too_old:
        raise SchemaError(f"database {name}: {too_old}")
    known = {migration.file for migration in needed}
    gone = [row["gone"] for row in rows if row["gone"] and row["file"] in known]
    if gone:
        raise SchemaError(
            f"database {name} lacks {gone[0]}{f' and {len(gone) - 1} more' if gone[1:] else ''}, which its"
            " migrations have made (a dump without routines?): run `outboxd migrate`, which makes them again, and apply"
            " sql/grants.sql"
        )


def why_too_old(dropped_by: Mapping[int, str | None]) -> str | None:
    """Why this outboxd is too old for the schema, or None: a file that it does not know has dropped what it may call.

    dropped_by: of each migration that is installed, by number, the file that has dropped what it made.
    """
    known = files.available()
    names = {migration.file for migration in known}
    for migration in known:
        dropper = dropped_by.get(migration.version)
        if dropper is not None and dropper not in names:
            return (
                f"{migration.file} is gone, dropped by {dropper}:"
                f" outboxd {__version__} is too old for this schema, use the release that {dropper} came with, or newer"
            )
    return None
