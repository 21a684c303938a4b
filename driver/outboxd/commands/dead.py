"""`outboxd dead`: lists, shows, requeues and discards dead letters."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
from rich.table import Table

from outboxd.commands.confirm import MOST, ask, in_parts, in_words
from outboxd.commands.options import MYSQL, all_option, biz_type_option, topic_option, with_settings, yes_option
from outboxd.commands.output import cell, console, echo_message
from outboxd.mysql.procedures import DeadFilter, OperatorProcedures
from outboxd.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ids = click.argument("message_ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))


def _filters(command: _Command) -> _Command:
    times = click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])
    command = click.option("--before", type=times, help="only what died before this time, UTC")(command)
    command = click.option("--error", help="only where this is in last_error; % and _ are wildcards")(command)
    return topic_option(biz_type_option(command))


@click.group()
def dead() -> None:
    """List, show, requeue or discard dead letters."""


@dead.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="rows at most")
@with_settings(*MYSQL)
def list_dead(settings: Settings, limit: int, **filters: Any) -> None:
    """List dead letters, the oldest first."""
    which = _which(**filters)
    with OperatorProcedures(settings) as database:
        rows = database.list_dead(which, limit)
        count = database.count("dead", **which._asdict())
    table = Table("id", "topic", "key", "business type", "failures", "died at (UTC)", "error", box=None)
    for row in rows:
        error = cell((row["last_error"] or "").replace("\n", " ")[:100])
        table.add_row(
            str(row["id"]),
            cell(row["topic"]),
            cell(row["message_key"]),
            cell(row["biz_type"]),
            str(row["retry_count"]),
            f"{row['updated_at']:%F %T}",
            error if len(row["last_error"] or "") <= 100 else f"{error}…",
        )
    if rows:
        console.print(table)
    click.echo(f"{len(rows)} of {_dead(count)}")


@dead.command(name="show")
@click.argument("message_id", metavar="ID", type=click.IntRange(min=1))
@with_settings(*MYSQL)
def show_dead(settings: Settings, message_id: int) -> None:
    """Show one dead letter whole."""
    with OperatorProcedures(settings) as database:
        message = database.get(message_id)
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    if message["status"] != "dead":
        raise click.ClickException(f"message {message_id} is not dead but {message['status']}")
    echo_message(message)


@dead.command()
@_ids
@_filters
@all_option
@click.option("--rate", type=click.IntRange(min=1), help="how many become due in a second; default: all now")
@yes_option
@with_settings(*MYSQL)
def requeue(
    settings: Settings, message_ids: Sequence[int], everything: bool, rate: int | None, yes: bool, **filters: Any
) -> None:
    """Send dead letters again, with all their retries: by ID, by filter, or --all."""
    _check_choice(message_ids, everything, filters)
    if message_ids and rate:
        raise click.UsageError("--rate is for a filter or --all, not for IDs")
    with OperatorProcedures(settings, answers_in_time=False) as database:
        if message_ids:
            _one_by_one("requeue", "requeued", database.requeue, message_ids, yes=yes)
            return
        which = _which(**filters)
        count = ask(database, "requeue", "dead", yes=yes, **which._asdict())
        if count:
            # One call for all: within a call the rate is kept, and what dies again meanwhile is not taken again.
            changed = database.requeue_dead(which, rate, min(count, MOST))
            click.echo(f"{_dead(changed)} requeued{f', {rate} a second' if rate else ''}")


@dead.command()
@_ids
@_filters
@all_option
@yes_option
@with_settings(*MYSQL)
def discard(settings: Settings, message_ids: Sequence[int], everything: bool, yes: bool, **filters: Any) -> None:
    """Delete dead letters for good: by ID, by filter, or --all. The audit keeps what they were, without payloads."""
    _check_choice(message_ids, everything, filters)
    with OperatorProcedures(settings, answers_in_time=False) as database:
        if message_ids:
            _one_by_one("discard", "discarded", database.discard, message_ids, yes=yes)
            return
        which = _which(**filters)
        count = ask(database, "discard", "dead", yes=yes, **which._asdict())
        if count:
            discarded = in_parts("discarded", count, lambda limit: database.discard_dead(which, limit))
            click.echo(f"{_dead(discarded)} discarded")


def _which(topic: str | None, biz_type: str | None, error: str | None, before: datetime | None) -> DeadFilter:
    return DeadFilter(topic, biz_type, None if error is None else f"%{error}%", before)


def _check_choice(message_ids: Sequence[int], everything: bool, filters: dict[str, Any]) -> None:
    given = [bool(message_ids), everything, any(value is not None for value in filters.values())]
    if sum(given) != 1:
        raise click.UsageError("give IDs, or filters, or --all")


def _one_by_one(verb: str, done: str, change: Callable[[int], bool], message_ids: Sequence[int], *, yes: bool) -> None:
    """Change single dead letters. Names those that are not dead; the exit code is then 3, or 1 if none was dead."""
    if len(message_ids) > 1 and not yes:
        click.confirm(f"{verb} {_dead(len(message_ids))}?", abort=True, err=True)
    changed = 0
    for message_id in message_ids:
        if change(message_id):
            changed += 1
        else:
            click.echo(f"message {message_id} is not dead", err=True)
    click.echo(f"{_dead(changed)} {done}")
    if changed < len(message_ids):
        sys.exit(3 if changed else 1)


def _dead(count: int) -> str:
    return in_words(count, "dead")
