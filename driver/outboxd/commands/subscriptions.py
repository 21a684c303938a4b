"""`outboxd subscriptions`: the inbox, which records of others take effect here."""

import json

import click
from rich.table import Table

from outboxd.commands.options import OPERATOR, with_each, with_settings
from outboxd.commands.output import cell, console, named, say
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.group()
def subscriptions() -> None:
    """List which records of others take effect here, add to them, or remove from them."""


@subscriptions.command(name="list")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="rows at most")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@with_each(*OPERATOR)
def list_subscriptions(settings: Settings, limit: int, as_json: bool) -> None:
    """List the subscriptions."""
    with OperatorProcedures(settings) as database:
        rows = database.list_subscriptions(limit)
    table = Table("source", "type", "business type", "handler", "since (UTC)", "last record", box=None)
    for row in rows:
        since, last = row["subscribed_at"], row["received_at"]
        if as_json:
            times = {"subscribed_at": f"{since.isoformat()}Z", "received_at": last and f"{last.isoformat()}Z"}
            values = {"takes_bytes": bool(row["takes_bytes"]), **times}
            click.echo(json.dumps(named(row | values), ensure_ascii=False))
        else:
            handler = row["handler"] or "none: dead letters"
            texts = (row["source"], row["event_type"], row["biz_type"], handler)
            table.add_row(*map(cell, texts), f"{since:%F %T}", f"{last:%F %H:%M}" if last else "none")
    if not as_json:
        console.print(table if rows else "no subscriptions: records of others are passed over")


@subscriptions.command()
@click.argument("source")
@click.argument("event_type", metavar="TYPE")
@click.argument("biz_type")
@with_settings(*OPERATOR)
def add(settings: Settings, source: str, event_type: str, biz_type: str) -> None:
    """Let records of SOURCE and TYPE take effect here, as BIZ_TYPE, which has a handler.

    SOURCE is their ce_source, or kafka:TOPIC for records without CloudEvents headers; % stands for any text in both.
    """
    with OperatorProcedures(settings) as database:
        is_new = database.subscribe(source, event_type, biz_type)
    said = "take effect here" if is_new else "took effect here already"
    say(f"records of {source}, type {event_type}, {said} as {biz_type}")


@subscriptions.command()
@click.argument("source")
@click.argument("event_type", metavar="TYPE")
@with_settings(*OPERATOR)
def remove(settings: Settings, source: str, event_type: str) -> None:
    """End the subscription to SOURCE and TYPE. What was received before keeps taking effect."""
    with OperatorProcedures(settings) as database:
        was_there = database.unsubscribe(source, event_type)
    if not was_there:
        raise click.ClickException(f"there is no subscription to {source}, type {event_type}")
    say(f"records of {source}, type {event_type}, are passed over from now on")
