"""`outboxd show`: one message."""

import click

from outboxd.commands.options import OPERATOR, json_option, with_settings
from outboxd.commands.output import echo_message, json_line, say
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@click.argument("message_id", metavar="ID", type=click.IntRange(min=0))
@json_option
@with_settings(*OPERATOR)
def show(settings: Settings, message_id: int, as_json: bool) -> None:
    """Show one message, and every failure that it had."""
    with OperatorProcedures(settings) as database:
        message = database.get(message_id) if message_id < 2**64 else None  # beyond BIGINT there is none
        failures = database.list_failures(message_id) if message else []
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    if as_json:
        click.echo(json_line(message | {"failures": failures}))
        return
    echo_message(message)
    for row in failures:
        errno = f" {row['errno']}" if row["errno"] else ""
        text = (row["error"] or "").replace("\n", " ")
        say(f"failure {row['failure']}, {row['at']:%F %T} UTC, {row['stage']}{errno}: {text}")
