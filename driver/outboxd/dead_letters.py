"""`outboxd dead`: list, show, requeue and discard dead letters."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
from rich.table import Table

from outboxd.asking import (
    MOST,
    all_option,
    ask,
    biz_type_option,
    count_messages,
    in_parts,
    in_words,
    topic_option,
    yes_option,
)
from outboxd.database import Database
from outboxd.options import cell, console, echo_message, with_settings
from outboxd.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ids = click.argument("message_ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))


def _dead_filters(command: _Command) -> _Command:
    times = click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])
    command = click.option("--before", type=times, help="only what died before this time, UTC")(command)
    command = click.option("--error", help="only where this is in last_error; % and _ are wildcards")(command)
    return topic_option(biz_type_option(command))


@click.group()
def dead() -> None:
    """List, show, requeue or discard dead letters."""


@dead.command(name="list")
@_dead_filters
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="rows at most")
@with_settings
def list_dead(settings: Settings, limit: int, **filters: Any) -> None:
    """List dead letters, the oldest first."""
    with Database(settings) as database:
        rows = database.call("outbox_list_dead_v1", *_matching(**filters), None, limit)
        count = count_messages(database, "dead", *_matching(**filters))
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
@with_settings
def show_dead(settings: Settings, message_id: int) -> None:
    """Show one dead letter whole."""
    with Database(settings) as database:
        message = database.get(message_id)
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    if message["status"] != "dead":
        raise click.ClickException(f"message {message_id} is not dead but {message['status']}")
    echo_message(message)


@dead.command()
@_ids
@_dead_filters
@all_option
@click.option("--rate", type=click.IntRange(min=1), help="how many become due in a second; default: all now")
@yes_option
@with_settings
def requeue(
    settings: Settings, message_ids: Sequence[int], everything: bool, rate: int | None, yes: bool, **filters: Any
) -> None:
    """Send dead letters again, with all their retries: by ID, by filter, or --all."""
    _check_choice(message_ids, everything, filters)
    if message_ids and rate:
        raise click.UsageError("--rate is for a filter or --all, not for IDs")
    with Database(settings, answers_in_time=False) as database:
        if message_ids:
            _one_by_one(database, "requeue", message_ids, yes)
            return
        count = ask(database, "requeue", yes, "dead", *_matching(**filters))
        if count:
            # One call for all: within a call the rate is kept, and what dies again meanwhile is not taken again.
            arguments = (*_matching(**filters), rate, min(count, MOST))
            changed = database.call_out("outbox_requeue_dead_v1", *arguments)
            click.echo(f"{_dead(changed)} requeued{f', {rate} a second' if rate else ''}")


@dead.command()
@_ids
@_dead_filters
@all_option
@yes_option
@with_settings
def discard(settings: Settings, message_ids: Sequence[int], everything: bool, yes: bool, **filters: Any) -> None:
    """Delete dead letters for good: by ID, by filter, or --all. The audit keeps what they were, without payloads."""
    _check_choice(message_ids, everything, filters)
    with Database(settings, answers_in_time=False) as database:
        if message_ids:
            _one_by_one(database, "discard", message_ids, yes)
            return
        count = ask(database, "discard", yes, "dead", *_matching(**filters))

        def part(limit: int) -> int:
            return int(database.call_out("outbox_discard_dead_v1", *_matching(**filters), limit))

        if count:
            click.echo(f"{_dead(in_parts('discarded', count, part))} discarded")


def _matching(topic: str | None, biz_type: str | None, error: str | None, before: datetime | None) -> tuple[Any, ...]:
    """The four filter arguments that the procedures for dead letters share."""
    return topic, biz_type, None if error is None else f"%{error}%", before


def _check_choice(message_ids: Sequence[int], everything: bool, filters: dict[str, Any]) -> None:
    given = [bool(message_ids), everything, any(value is not None for value in filters.values())]
    if sum(given) != 1:
        raise click.UsageError("give IDs, or filters, or --all")


def _one_by_one(database: Database, verb: str, message_ids: Sequence[int], yes: bool) -> None:
    """Requeue or discard single dead letters; those that are not dead are named, and make the exit code 1 or 3."""
    if len(message_ids) > 1 and not yes:
        click.confirm(f"{verb} {_dead(len(message_ids))}?", abort=True, err=True)
    done = 0
    for message_id in message_ids:
        changed = database.call_out(f"outbox_{verb}_v1", message_id)
        done += changed
        if not changed:
            click.echo(f"message {message_id} is not dead", err=True)
    click.echo(f"{_dead(done)} {verb.removesuffix('e')}ed")
    if done < len(message_ids):
        sys.exit(3 if done else 1)


def _dead(count: int) -> str:
    return in_words(count, "dead")
