"""`outboxd dead`: counts, lists, shows, requeues and discards dead letters."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from outboxd.commands.choose import check_choice, filter_options, ids_argument, one_by_one, which
from outboxd.commands.confirm import MOST, ask, in_parts, in_words
from outboxd.commands.options import OPERATOR, all_option, json_option, with_each, with_settings, yes_option
from outboxd.commands.output import cell, echo_message, json_line, one_line, print_list
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings

_filters = filter_options("died")


@click.group()
def dead() -> None:
    """Count, list, show, requeue or discard dead letters."""


@dead.command(name="list")
@_filters
@click.option("--below", type=click.IntRange(min=1), metavar="ID", help="the next page: only below the last one's ID")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="rows at most")
@json_option
@with_each(*OPERATOR)
def list_dead(settings: Settings, below: int | None, limit: int, as_json: bool, **filters: Any) -> None:
    """List dead letters, the newest first."""
    chosen = which(**filters)
    with OperatorProcedures(settings) as database:
        rows = database.list_dead(chosen, below, limit)
        count = 0 if as_json else database.count("dead", **chosen._asdict())
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    titles = ("id", "topic", "key", "business type", "failures", "died at (UTC)", "error")
    cells = [
        (
            str(row["id"]),
            cell(row["topic"]),
            cell(row["message_key"]),
            cell(row["biz_type"]),
            str(row["retry_count"]),
            f"{row['updated_at']:%F %T}",
            one_line(row["last_error"]),
        )
        for row in rows
    ]
    if rows:
        print_list(titles, cells)
    click.echo(f"{len(rows)} of {in_words(count, 'dead')}")
    if len(rows) == limit < count:
        click.echo(f"the next page: --below {rows[-1]['id']}", err=True)


@dead.command()
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="rows at most")
@json_option
@with_each(*OPERATOR)
def summary(settings: Settings, limit: int, as_json: bool, **filters: Any) -> None:
    """Count dead letters by business type and error, the most frequent first, with an example of each.

    Errors that differ in numbers or in quoted values alone are one.
    """
    with OperatorProcedures(settings) as database:
        rows = database.summarize_dead(which(**filters), limit)
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    titles = ("messages", "business type", "last died (UTC)", "example", "error")
    cells = [
        (
            str(row["messages"]),
            cell(row["biz_type"]),
            f"{row['last_died_at']:%F %T}",
            str(row["example_id"]),
            one_line(row["error"]),
        )
        for row in rows
    ]
    if rows:
        print_list(titles, cells)
    total = in_words(sum(row["messages"] for row in rows), "dead")
    click.echo(f"{total} of {len(rows)} kinds" + (", there may be more kinds: --limit" if len(rows) == limit else ""))


@dead.command(name="show")
@click.argument("message_id", metavar="ID", type=click.IntRange(min=1))
@json_option
@with_settings(*OPERATOR)
def show_dead(settings: Settings, message_id: int, as_json: bool) -> None:
    """Show one dead letter whole."""
    with OperatorProcedures(settings) as database:
        message = database.get(message_id)
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    if message["status"] != "dead":
        raise click.ClickException(f"message {message_id} is not dead but {message['status']}")
    if as_json:
        click.echo(json_line(message))
    else:
        echo_message(message)


@dead.command()
@_filters
@with_settings(*OPERATOR)
def export(settings: Settings, **filters: Any) -> None:
    """Write dead letters as JSON lines that `outboxd enqueue` takes, here or in another database; the oldest first.

    Each has a dedup key, so that a file can be enqueued again and stores nothing twice. They stay as they are. Those
    with bytes instead of a payload are left out, and counted (exit code 3).
    """
    chosen, below, ids = which(**filters), None, list[int]()
    left_out = 0
    with OperatorProcedures(settings) as database:
        while rows := database.list_dead(chosen, below, MOST):
            ids += [row["id"] for row in rows]
            below = ids[-1]
        for message_id in reversed(ids):
            message = database.get(message_id)
            if message is None or message["status"] != "dead":
                continue  # requeued or discarded meanwhile
            if message["content_type"] is not None:
                left_out += 1
                continue
            click.echo(json.dumps(_as_enqueued(message, settings.database), ensure_ascii=False))
    if left_out:
        click.echo(f"left out: {in_words(left_out, 'dead')} with bytes", err=True)
        sys.exit(3)


def _as_enqueued(message: Row, database: str) -> dict[str, Any]:
    line = {
        "biz_type": message["biz_type"],
        "topic": message["topic"],
        "key": message["message_key"],
        "payload": message["payload"],
        "max_retry": message["max_retry"],
        "dedup_key": f"dead letter {message['id']} of {database[:64]}, {message['created_at']}",
    }
    return line | ({"headers": json.loads(message["headers"])} if message["headers"] else {})


@dead.command()
@ids_argument
@_filters
@all_option
@click.option("--rate", type=click.IntRange(min=1), help="how many become due in a second; default: all now")
@yes_option
@with_settings(*OPERATOR)
def requeue(
    settings: Settings, message_ids: Sequence[int], everything: bool, rate: int | None, yes: bool, **filters: Any
) -> None:
    """Send dead letters again, with all their retries: by ID, by filter, or --all."""
    check_choice(message_ids, everything, filters)
    if message_ids and rate:
        raise click.UsageError("--rate is for a filter or --all, not for IDs")
    with OperatorProcedures(settings, answers_in_time=False) as database:
        if message_ids:
            one_by_one(database, "requeue", "requeued", database.requeue, message_ids, what="dead", yes=yes)
            return
        chosen = which(**filters)
        count = ask(database, "requeue", "dead", yes=yes, **chosen._asdict())
        if count:
            # One call for all: within a call the rate is kept, and what dies again meanwhile is not taken again.
            changed = database.requeue_dead(chosen, rate, min(count, MOST))
            click.echo(f"{in_words(changed, 'dead')} requeued{f', {rate} a second' if rate else ''}")


@dead.command()
@ids_argument
@_filters
@all_option
@yes_option
@with_settings(*OPERATOR)
def discard(settings: Settings, message_ids: Sequence[int], everything: bool, yes: bool, **filters: Any) -> None:
    """Delete dead letters for good: by ID, by filter, or --all. The audit keeps what they were, without payloads."""
    check_choice(message_ids, everything, filters)
    with OperatorProcedures(settings, answers_in_time=False) as database:
        if message_ids:
            one_by_one(database, "discard", "discarded", database.discard, message_ids, what="dead", yes=yes)
            return
        chosen = which(**filters)
        count = ask(database, "discard", "dead", yes=yes, **chosen._asdict())
        if count:
            discarded = in_parts("discarded", count, lambda limit: database.discard_dead(chosen, limit))
            click.echo(f"{in_words(discarded, 'dead')} discarded")
