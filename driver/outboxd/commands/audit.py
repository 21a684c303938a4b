"""`outboxd audit`: who did what."""

import json

import click
from rich.table import Table

from outboxd.commands.options import OPERATOR, with_each
from outboxd.commands.output import cell, console, named
from outboxd.mysql import views
from outboxd.mysql.connection import Connection
from outboxd.settings import Settings


@click.command()
@click.option("--action", help="only this action, such as requeue or pause")
@click.option("--all", "everything", is_flag=True, help="also what the event outbox_retention did, one row a day")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="rows at most")
@click.option("--json", "as_json", is_flag=True, help="print all of it, one JSON object a line")
@with_each(*OPERATOR)
def audit(settings: Settings, action: str | None, everything: bool, limit: int, as_json: bool) -> None:
    """List what people did, the latest first."""
    with Connection(settings) as database:
        rows = views.audit(database, action=action, everything=everything, limit=limit)
    table = Table("id", "at (UTC)", "account", "action", "messages", "details", box=None)
    for row in rows:
        number, at, account, what, messages, details = row.values()
        if as_json:
            line = {"id": number, "at": f"{at.isoformat()}Z", "account": account, "action": what, "details": details}
            click.echo(json.dumps(named(line)))
        else:
            changed = "" if messages is None else str(messages)
            table.add_row(str(number), f"{at:%F %T}", cell(account), what, changed, cell(views.in_short(details)))
    if not as_json:
        console.print(table)
