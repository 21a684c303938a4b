"""`outboxd key`: the lane of a topic and key."""

import click

from outboxd.commands.options import OPERATOR, json_option, with_settings
from outboxd.commands.output import cell, json_line, one_line, print_list, say
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@click.argument("topic")
@click.argument("message_key", metavar="KEY")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="rows at most")
@json_option
@with_settings(*OPERATOR)
def key(settings: Settings, topic: str, message_key: str, limit: int, as_json: bool) -> None:
    """Show what is open of a topic and key: the first message, why it waits, and everything held behind it."""
    with OperatorProcedures(settings) as database:
        rows = database.lane(topic, message_key, limit)
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    if not rows:
        say(f"nothing is open of topic {topic}, key {message_key}: all that there was is consumed or dead")
        return
    head = rows[0]
    say(
        f"message {head['id']} {head['waits']} (UTC)"
        if " at " in head["waits"]
        else f"message {head['id']} {head['waits']}"
    )
    if head["last_error"]:
        say(f"its last error: {head['last_error']}")
    titles = ("id", "business type", "status", "failures", "enqueued at (UTC)", "waits")
    cells = [
        (
            str(row["id"]),
            cell(row["biz_type"]),
            row["status"],
            str(row["retry_count"]),
            f"{row['created_at']:%F %T}",
            one_line(row["waits"]),
        )
        for row in rows
    ]
    if rows:
        print_list(titles, cells)
    behind = head["behind"]
    click.echo(f"{behind} {'is' if behind == 1 else 'are'} behind it" if behind else "nothing is behind it")
