"""What commands share that change many messages: count them, ask, and change them in parts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from outboxd.commands.output import progress
from outboxd.mysql.connection import Connection
from outboxd.mysql.procedures import OperatorProcedures

MOST = 1_000_000
"""How many messages one call takes at most."""
_PART = 10_000  # messages in one call where there are many, so that a progress bar moves


def ask(database: OperatorProcedures, verb: str, status: str, *, yes: bool, **filters: Any) -> int:
    """Count the messages of a status that match the filters of outbox_count_v1, and return their number.

    Says so if there are none, and asks if there are several, unless `yes`; a no ends the command.
    """
    count = database.count(status, **filters)
    if count == 0:
        click.echo(f"nothing to {verb}: no {_name(status)} matches")
    elif count > 1 and not yes:
        click.confirm(f"{verb} {in_words(count, status)}?", abort=True, err=True)
    return count


def in_parts(description: str, total: int | None, part: Callable[[int], int]) -> int:
    """Call part with a limit until total are done, or nothing more is found; returns how many were done.

    A total of None is one that is not known.

    If a part fails, or Ctrl-C ends it, says how many were done before.
    """
    done = 0
    try:
        with progress() as bar:
            task = bar.add_task(description, total=total)
            while (left := _PART if total is None else min(_PART, total - done)) and (changed := part(left)):
                done += changed
                bar.update(task, completed=done)
    except BaseException:
        of_them = "" if total is None else f" of {total}"
        click.echo(f"cut off: {done}{of_them} {description}; how much of the next part, `outboxd audit` shows")
        raise
    return done


def ago(database: Connection, seconds: int) -> datetime:
    """The time that many seconds ago, by the server's clock, in UTC."""
    time: datetime = database.query("SELECT UTC_TIMESTAMP(6) - INTERVAL %s SECOND", seconds)[0][0]
    return time


def in_words(count: int, status: str) -> str:
    """A number of messages of a status, such as: 3 dead letters."""
    return f"{count} {_name(status)}{'' if count == 1 else 's'}"


def _name(status: str) -> str:
    return "dead letter" if status == "dead" else f"{status} message"
