"""`outboxd failing`, `retry` and `give-up`: messages that have failed and wait for their retry."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from outboxd.commands.choose import check_choice, filter_options, ids_argument, one_by_one, which
from outboxd.commands.confirm import MOST, ask, in_parts, in_words
from outboxd.commands.options import OPERATOR, all_option, json_option, with_each, with_settings, yes_option
from outboxd.commands.output import cell, json_line, one_line, print_list
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings

_filters = filter_options("failed last")


@click.command()
@_filters
@click.option("--after", type=click.IntRange(min=1), metavar="ID", help="the next page: only above the last one's ID")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="rows at most")
@json_option
@with_each(*OPERATOR)
def failing(settings: Settings, after: int | None, limit: int, as_json: bool, **filters: Any) -> None:
    """List the messages that have failed and wait for their retry, the oldest first, and how many each holds back.

    `outboxd key` shows all of a topic and key, `outboxd show` each failure of one message.
    """
    chosen = which(**filters)
    with OperatorProcedures(settings) as database:
        rows = database.list_failing(chosen, after, limit)
        count = 0 if as_json else database.count("failing", **chosen._asdict())
        now = database.query("SELECT UTC_TIMESTAMP(6)")[0][0]
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    titles = ("id", "topic", "key", "business type", "failures", "next try", "behind", "error")
    cells = [
        (
            str(row["id"]),
            cell(row["topic"]),
            cell(row["message_key"]),
            cell(row["biz_type"]),
            str(row["retry_count"]),
            _until(row["next_retry_at"], now),
            "1000+" if row["followers"] >= 1000 else str(row["followers"]),
            one_line(row["last_error"]),
        )
        for row in rows
    ]
    if rows:
        print_list(titles, cells)
    click.echo(f"{len(rows)} of {in_words(count, 'failing')}")
    if len(rows) == limit < count:
        click.echo(f"the next page: --after {rows[-1]['id']}", err=True)


@click.command()
@ids_argument
@_filters
@all_option
@yes_option
@with_settings(*OPERATOR)
def retry(settings: Settings, message_ids: Sequence[int], everything: bool, yes: bool, **filters: Any) -> None:
    """Try failing messages again now: by ID, by filter, or --all. By ID also one that was enqueued with a delay."""
    check_choice(message_ids, everything, filters)
    with OperatorProcedures(settings, answers_in_time=False) as database:
        if message_ids:
            one_by_one(database, "retry", "due now", database.retry, message_ids, what="pending", yes=yes)
            return
        chosen = which(**filters)
        count = ask(database, "retry", "failing", yes=yes, **chosen._asdict())
        if count:
            # One call: what fails again meanwhile is not taken again.
            changed = database.retry_failing(chosen, min(count, MOST))
            already = "" if changed == count else f", the others are due already or at work: {count - changed}"
            click.echo(f"{in_words(changed, 'failing')} due now{already}")


@click.command(name="give-up")
@ids_argument
@_filters
@all_option
@click.option("--reason", help="why, for last_error and the audit")
@yes_option
@with_settings(*OPERATOR)
def give_up(
    settings: Settings, message_ids: Sequence[int], everything: bool, reason: str | None, yes: bool, **filters: Any
) -> None:
    """Make failing messages dead, so that what waits behind them goes on: by ID, by filter, or --all.

    `outboxd dead requeue` brings them back.
    """
    check_choice(message_ids, everything, filters)
    with OperatorProcedures(settings, answers_in_time=False) as database:
        if message_ids:
            one_by_one(
                database,
                "give up",
                "given up",
                lambda message: database.give_up(message, reason),
                message_ids,
                what="open",
                yes=yes,
            )
            return
        chosen = which(**filters)
        count = ask(database, "give up", "failing", yes=yes, **chosen._asdict())
        if count:
            given_up = in_parts("given up", count, lambda limit: database.give_up_failing(chosen, reason, limit))
            click.echo(f"{in_words(given_up, 'failing')} given up")


def _until(at: datetime, now: datetime) -> str:
    seconds = (at.replace(tzinfo=UTC) - now.replace(tzinfo=UTC)).total_seconds()
    return "due" if seconds <= 0 else f"in {seconds:.0f} s" if seconds < 600 else f"{at:%F %T}"
