"""What is paused, as several commands show it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import mysql.connector
from mysql.connector import errorcode

from outboxd.commands.output import kind_of, printable
from outboxd.mysql import views
from outboxd.mysql.connection import Connection
from outboxd.mysql.views import Pause

_KNOWN = (
    "SELECT 1 FROM outbox_status WHERE topic = %s OR biz_type = %s"
    " UNION ALL SELECT 1 FROM outbox_policies WHERE kind = 'biz_type' AND name = %s AND ordering IS NOT NULL LIMIT 1"
)


def in_words(pause: Pause) -> str:
    """A pause on one line."""
    what = printable(f"{kind_of(pause.kind)} {pause.name}")
    if pause.paused_at:
        since = f"{pause.paused_at:%F %T} UTC by {printable(pause.paused_by or '')}"
        return f"{what}: paused since {since}, {pause.parked} messages are parked"
    return f"{what}: resumed at {pause.resumed_at:%F %T} UTC, {pause.parked} messages are still on their way back"


def seen_by(database: Connection) -> list[Pause] | None:
    """Every pause; None for an account that may not see them."""
    with suppress(_MayNot), _may_not():
        return views.pauses(database)
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
