"""`outboxd show`: one message."""

import click

from outboxd.commands.options import MYSQL, with_settings
from outboxd.commands.output import echo_message
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@click.argument("message_id", metavar="ID", type=click.IntRange(min=0))
@with_settings(*MYSQL)
def show(settings: Settings, message_id: int) -> None:
    """Show one message."""
    with OperatorProcedures(settings) as database:
        message = database.get(message_id) if message_id < 2**64 else None  # beyond BIGINT there is none
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    echo_message(message)
