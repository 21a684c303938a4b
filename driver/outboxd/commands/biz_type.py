"""`outboxd biz-type`: lists business types and their policies, and sets one."""

from typing import Any

import click
from rich.table import Table

from outboxd.commands.options import OPERATOR, age, json_option, with_each, with_settings
from outboxd.commands.output import cell, console, json_line, printable, say
from outboxd.mysql import views
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.group(name="biz-type")
def biz_type() -> None:
    """List business types, register one, change its policy, or delete it."""


@biz_type.command(name="list")
@json_option
@with_each(*OPERATOR)
def list_policies(settings: Settings, as_json: bool) -> None:
    """List the business types, their handlers and policies."""
    with OperatorProcedures(settings) as database:
        rows = views.policies(database)
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    columns = ("business type", "handler", "ordering", "max retry", "backoff", "paused since (UTC)", "batch handler")
    table = Table(*columns, box=None)
    for row in rows:
        name, handler, batch_handler, ordering, max_retry, base, cap, paused_at = row.values()
        backoff = f"{base} to {cap} s" if ordering else ""
        since = f"{paused_at:%F %T}" if paused_at else ""
        retries = str(max_retry or "as enqueued") if ordering else ""
        without = "none: publish-only" if ordering else "not registered: publish-only"
        handlers = cell(handler or without), cell(batch_handler or "")
        table.add_row(cell(name), handlers[0], ordering, retries, backoff, since, handlers[1])
    console.print(table)


@biz_type.command(name="set")
@click.argument("name", metavar="BIZ_TYPE")
@click.option("--handler", help="procedure (p_id, p_payload) of this database")
@click.option("--no-handler", is_flag=True, help="none: Kafka's acknowledgement consumes the messages (publish-only)")
@click.option("--batch-handler", help="procedure (p_is_check) of this database, which takes many messages at once")
@click.option("--no-batch-handler", is_flag=True, help="the handler takes each message by itself")
@click.option(
    "--bytes/--no-bytes", "takes_bytes", default=None, help="received values need be no JSON; the handler gets base64"
)
@click.option("--ordering", type=click.Choice(["key", "none"]), help="order by topic and key, or none")
@click.option("--max-retry", type=click.IntRange(min=0), help="failures until dead; 0: as enqueued")
@click.option("--backoff-base", type=age, help="wait after the first failure, such as 1s")
@click.option("--backoff-cap", type=age, help="longest wait, such as 15m")
@with_settings(*OPERATOR)
def set_policy(
    settings: Settings,
    name: str,
    handler: str | None,
    no_handler: bool,
    batch_handler: str | None,
    no_batch_handler: bool,
    takes_bytes: bool | None,
    **policy: Any,
) -> None:
    """Register BIZ_TYPE, or change what is given of it.

    A new one without --handler is publish-only. With another handler it loses its batch handler.
    """
    if handler is not None and no_handler:
        raise click.UsageError("give --handler or --no-handler")
    if batch_handler is not None and no_batch_handler:
        raise click.UsageError("give --batch-handler or --no-batch-handler")
    with OperatorProcedures(settings) as database:
        row = database.register_biz_type(name, handler="" if no_handler else handler, **policy)
        is_changed = bool(row["changed"])
        if batch_handler is not None or no_batch_handler:
            is_changed |= database.register_batch_handler(name, batch_handler)
        if takes_bytes is not None:
            is_changed |= database.register_bytes(name, takes_bytes)
    retries = "max retry as enqueued" if row["max_retry"] is None else f"max retry {row['max_retry']}"
    backoff = f"backoff {row['backoff_base_seconds']} to {row['backoff_cap_seconds']} s"
    done = "is set" if is_changed else "was so already"
    in_bulk = f", batch handler {batch_handler}" if batch_handler else ""
    as_bytes = "" if takes_bytes is None else f", {'takes' if takes_bytes else 'does not take'} bytes"
    handles = f"handler {row['handler']}" if row["handler"] else "publish-only"
    say(f"{name} {done}: {handles}, ordering {row['ordering']}, {retries}, {backoff}{in_bulk}{as_bytes}")


@biz_type.command(name="delete")
@click.argument("biz_type", metavar="BIZ_TYPE")
@with_settings(*OPERATOR)
def delete(settings: Settings, biz_type: str) -> None:
    """Delete BIZ_TYPE, which must have no open messages; its later messages are publish-only.

    Its procedures stay.
    """
    with OperatorProcedures(settings) as database:
        is_deleted = database.delete_biz_type(biz_type)
    if not is_deleted:
        raise click.ClickException(f"there is no business type {printable(biz_type)}")
    say(f"{biz_type} is deleted")
