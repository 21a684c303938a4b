"""`outboxd find`: messages by key, ids, type, status or time."""

from datetime import datetime
from typing import Any

import click

from outboxd.commands.choose import TIME, key_option
from outboxd.commands.options import OPERATOR, biz_type_option, json_option, topic_option, with_settings
from outboxd.commands.output import cell, json_line, one_line, print_list
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings

_MOST = 10_000  # rows of one call


@click.command()
@topic_option
@biz_type_option
@key_option
@click.option("--status", type=click.Choice(["pending", "published", "consumed", "dead"]), help="only this status")
@click.option("--from-id", type=click.IntRange(min=0), help="only from this message on")
@click.option("--to-id", type=click.IntRange(min=0), help="only up to this message")
@click.option("--since", "from_at", type=TIME, help="only what was enqueued at this time or later, UTC")
@click.option("--until", "to_at", type=TIME, help="only what was enqueued before this time, UTC")
@click.option("--oldest-first", is_flag=True, help="from the lowest ID up; default: the newest first")
@click.option("--past", type=click.IntRange(min=0), metavar="ID", help="the next page: only past this ID")
@click.option("--limit", type=click.IntRange(min=1, max=_MOST), default=50, show_default=True, help="rows at most")
@json_option
@with_settings(*OPERATOR)
def find(settings: Settings, oldest_first: bool, past: int | None, limit: int, as_json: bool, **by: Any) -> None:
    """Find messages by key, ID, type, status or time of enqueuing; without a filter, the newest.

    It may take a while where most messages are of another key or type: then give --since or --from-id.
    """
    rows: list[Row] = []
    reached = past
    with OperatorProcedures(settings) as database:
        while True:
            page, reached = database.find(
                **by, is_newest_first=not oldest_first, past_id=reached, limit=limit - len(rows)
            )
            rows += page
            if reached is None or len(rows) == limit:
                break
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    titles = ("id", "topic", "key", "business type", "status", "failures", "enqueued at (UTC)", "error")
    cells = [
        (
            str(row["id"]),
            cell(row["topic"]),
            cell(row["message_key"]),
            cell(row["biz_type"]),
            row["status"],
            str(row["retry_count"]),
            _time(row["created_at"]),
            one_line(row["last_error"]),
        )
        for row in rows
    ]
    if rows:
        print_list(titles, cells)
    click.echo(f"{len(rows)} found{'' if reached is None else f', there may be more: --past {reached}'}")


def _time(at: datetime | None) -> str:
    return f"{at:%F %T}" if at else ""
