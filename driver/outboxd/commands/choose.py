"""How operators choose dead letters and failing messages: by ID, by filters that both have, or all of them."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from outboxd.commands.confirm import in_words
from outboxd.commands.options import biz_type_option, topic_option
from outboxd.mysql.procedures import Filter, OperatorProcedures

_Command = TypeVar("_Command", bound=Callable[..., Any])
TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])
"""The type of an option that is a time in UTC."""

_STATUSES = {"dead": ("dead",), "pending": ("pending",), "open": ("pending", "published")}
ids_argument = click.argument("message_ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
key_option = click.option("--key", "message_key", help="only this key")


def filter_options(what: str) -> Callable[[_Command], _Command]:
    """Give a command the options of Filter; `what` says what --before is about."""

    def decorate(command: _Command) -> _Command:
        command = click.option("--before", type=TIME, help=f"only what {what} before this time, UTC")(command)
        command = click.option("--error", help="only where this is in last_error; % and _ are wildcards")(command)
        return topic_option(biz_type_option(key_option(command)))

    return decorate


def which(
    topic: str | None, biz_type: str | None, message_key: str | None, error: str | None, before: datetime | None
) -> Filter:
    """The filter of these options."""
    return Filter(topic, biz_type, message_key, None if error is None else f"%{error}%", before)


def check_choice(message_ids: Sequence[int], everything: bool, filters: dict[str, Any]) -> None:
    """Raise UsageError unless there are either IDs, or filters, or --all."""
    given = [bool(message_ids), everything, any(value is not None for value in filters.values())]
    if sum(given) != 1:
        raise click.UsageError("give IDs, or filters, or --all")


def one_by_one(
    database: OperatorProcedures,
    verb: str,
    done: str,
    change: Callable[[int], bool],
    message_ids: Sequence[int],
    *,
    what: str,
    yes: bool,
) -> None:
    """Change single messages that are dead, pending or open, which is `what`; asks if they are several, unless `yes`.

    Names those that are not there or have another status; the exit code is then 3, or 1 if none could be changed.
    """
    wanted = list(dict.fromkeys(message_ids))
    found = []
    for message_id in wanted:
        rows = database.find(from_id=message_id, to_id=message_id)[0] if message_id < 2**64 else []
        if rows and rows[0]["status"] in _STATUSES[what]:
            found.append(message_id)
        else:
            is_what = f"message {message_id} is not {what} but {rows[0]['status']}" if rows else None
            click.echo(is_what or f"there is no message {message_id}", err=True)
    if len(found) > 1 and not yes:
        click.confirm(f"{verb} {in_words(len(found), what)}?", abort=True, err=True)
    changed = 0
    for message_id in found:
        if change(message_id):
            changed += 1
        else:
            click.echo(f"message {message_id} is as it was: it is not {what} any more, or due already", err=True)
    click.echo(f"{in_words(changed, what)} {done}")
    if changed < len(wanted):
        sys.exit(3 if changed else 1)
