"""What is paused, as several commands show it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import mysql.connector
from mysql.connector import errorcode

from outboxd.commands.output import kind_of, printable
from outboxd.mysql.connection import Connection

_PAUSED = (
    "SELECT kind, name, paused_at, paused_by, resumed_at, parked FROM outbox_policies"
    " WHERE paused_at IS NOT NULL OR resumed_at IS NOT NULL"
)
_KNOWN = (
    "SELECT 1 FROM outbox_status WHERE topic = %s OR biz_type = %s"
    " UNION ALL SELECT 1 FROM outbox_policies WHERE kind = 'biz_type' AND name = %s AND ordering IS NOT NULL LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Pause:
    """A topic or business type that is paused, or was and whose messages are on their way back (resumed_at)."""

    kind: str
    name: str
    paused_at: datetime | None
    paused_by: str | None
    resumed_at: datetime | None
    parked: int

    @property
    def in_words(self) -> str:
        """On one line."""
        what = printable(f"{kind_of(self.kind)} {self.name}")
        if self.paused_at:
            since = f"{self.paused_at:%F %T} UTC by {printable(self.paused_by or '')}"
            return f"{what}: paused since {since}, {self.parked} messages are parked"
        return f"{what}: resumed at {self.resumed_at:%F %T} UTC, {self.parked} messages are still on their way back"


def all_of(database: Connection) -> list[Pause]:
    """Every pause; needs the role outbox_monitor or outbox_operator."""
    return [Pause(*row) for row in database.query(_PAUSED)]


def seen_by(database: Connection) -> list[Pause] | None:
    """Every pause; None for an account that may not see them."""
    with suppress(_MayNot), _may_not():
        return all_of(database)
    return None


def is_unheard_of(database: Connection, topic: str | None, biz_type: str | None) -> bool:
    """Whether no message here has this topic or type, and no type has the name; False where that cannot be seen."""
    with suppress(_MayNot), _may_not():
        return not database.query(_KNOWN, topic, biz_type, biz_type)
    return False


class _MayNot(Exception):
    """The account lacks the role."""


@contextmanager
def _may_not() -> Iterator[None]:
    try:
        yield
    except mysql.connector.Error as error:
        if error.errno != errorcode.ER_TABLEACCESS_DENIED_ERROR:
            raise
        raise _MayNot from error
