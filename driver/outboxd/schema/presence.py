"""Whether the server has what the migrations have made: a dump without routines, or RENAME TABLE, leaves some behind.

`gone` is what `outboxd migrate` makes again; `differences` are what only a person can judge. Both need an account that
sees the definitions, such as the one that applied the migrations. What tables lack, outbox_doctor_v1 finds.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outboxd.mysql.connection import Connection
from outboxd.schema import files
from outboxd.schema.files import Migration

_OBJECTS = (
    "SELECT 'PROCEDURE', routine_name, routine_definition FROM information_schema.routines"
    " WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'"
    " UNION ALL SELECT 'VIEW', table_name, NULL FROM information_schema.views WHERE table_schema = DATABASE()"
    " UNION ALL SELECT 'EVENT', event_name, event_definition FROM information_schema.events"
    " WHERE event_schema = DATABASE()"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the migrations have made it, and the statement or step that mends it."""

    what: str
    to_do: str


def _bare(sql: str) -> str:
    """Without comments, which some clients do not send, with single spaces, and without the delimiter at its end."""
    return " ".join(re.sub(r"--[ \t][^\n]*", "", sql).split()).rstrip("; ")


def gone(database: Connection, dropped_by: Mapping[int, str | None]) -> list[Migration]:
    """The installed migrations whose procedure, view or event the server does not have, in order.

    dropped_by: of each migration that is installed, by number, the file that has dropped what it made.
    """
    there = {(kind, name) for kind, name, _ in database.query(_OBJECTS)}
    return [
        migration
        for migration in files.available()
        if migration.version in dropped_by
        and dropped_by[migration.version] is None
        and not set(migration.creates) <= there
    ]


def differences(database: Connection) -> Iterator[Difference]:
    """The procedures and the event that have another body than their migration; for the rest, outbox_doctor_v1."""
    bodies = {(kind, name): body for kind, name, body in database.query(_OBJECTS) if body}
    for migration in files.available():
        for kind, name in migration.creates:
            if (kind, name) in bodies and _bare(bodies[kind, name]) not in _bare(migration.text):
                yield Difference(
                    f"{kind.lower()} {name} is not that of {migration.file}",
                    f"DROP {kind} {name}, and run `outboxd migrate`, which makes it again",
                )
