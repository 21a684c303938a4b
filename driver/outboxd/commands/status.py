"""`outboxd status`: counts by status, and the lag."""

import json

import click
from rich.table import Table

from outboxd.commands import pauses
from outboxd.commands.options import OPERATOR, with_each
from outboxd.commands.output import console, named
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON, for scripts")
@with_each(*OPERATOR)
def status(settings: Settings, as_json: bool) -> None:
    """Count the messages by status, and show the oldest due, the lag, and what is paused."""
    with OperatorProcedures(settings) as database:
        rows = {row["status"]: row for row in database.status()}
        paused = pauses.seen_by(database)
        failing = database.lag()["failing"]
    unfinished = [rows[name] for name in ("pending", "published") if name in rows]
    lag = max((float(row["oldest_seconds"]) for row in unfinished), default=0.0)
    if as_json:
        counts = {name: row["messages"] for name, row in rows.items()}
        due = rows["pending"]["next_due_seconds"] if "pending" in rows else None
        received = {name: row["received"] for name, row in rows.items()}
        told = {
            "messages": counts,
            "received": received,
            "failing": failing,
            "lag_seconds": lag,
            "next_due_seconds": due,
        }
        if paused is not None:
            told["pauses"] = [{"kind": one.kind, "name": one.name, "parked": one.parked} for one in paused]
        click.echo(json.dumps(named(told), default=float))
        return
    has_inbox = any(row["received"] for row in rows.values())
    table = Table("status", "messages", *(["received"] if has_inbox else []), "oldest", "next due", box=None)
    for name in ("pending", "published", "consumed", "dead"):
        row = rows.get(name)
        due = row["next_due_seconds"] if row else None
        table.add_row(
            name,
            str(row["messages"] if row else 0),
            *([str(row["received"] if row else 0)] if has_inbox else []),
            f"{row['oldest_seconds']:.1f} s ago" if row else "",
            "" if due is None else f"in {due:.1f} s" if due > 0 else f"overdue by {-due:.1f} s",
        )
    console.print(table)
    console.print(f"lag: {lag:.1f} s (age of the oldest message that is pending or published)")
    for one in paused or ():
        click.echo(pauses.in_words(one))
    if has_inbox:
        console.print("received: how many of the messages are the inbox's, `outboxd top` has their topics")
    if failing:
        console.print(f"failing: {failing} of the pending wait for their retry, `outboxd failing` lists them")
