"""`outboxd enqueue`: puts the messages of a file into the outbox."""

import sys
from typing import BinaryIO

import click

from outboxd import jsonl
from outboxd.commands.interrupts import interruptible
from outboxd.commands.options import MYSQL, with_settings
from outboxd.commands.output import progress, say
from outboxd.mysql.procedures import ApplicationProcedures
from outboxd.settings import Settings


@click.command()
@click.option("--topic", required=True, help="Kafka topic of the messages")
@click.option("--strict", is_flag=True, help="stop at the first wrong line")
@click.argument("file", type=click.File("rb"))
@with_settings(*MYSQL)
def enqueue(settings: Settings, topic: str, strict: bool, file: BinaryIO) -> None:
    """Enqueue the messages of FILE (- for standard input), one JSON object a line.

    A chat message has user_id, conversation_id, role and message; any other message biz_type, key and payload.
    Right lines before a wrong one are enqueued in any case. Where it is cut off, it says behind which line to go on.
    """
    enqueued = rejected = last = 0
    try:
        with ApplicationProcedures(settings) as database, progress() as bar, interruptible(file) as given:
            task = bar.add_task("enqueued", total=None)
            for lines in jsonl.enqueue(database, topic, given, strict=strict):
                enqueued += sum(line.error is None for line in lines)
                last = lines[-1].number if lines else last
                for line in lines:
                    if line.error:
                        rejected += 1
                        say(f"line {line.number}: {line.error}", err=True)
                bar.update(task, completed=enqueued)
    except BaseException:
        click.echo(f"{enqueued} enqueued, {rejected} rejected, cut off behind line {last}")
        raise
    click.echo(f"{enqueued} enqueued, {rejected} rejected")
    if rejected:
        sys.exit(1 if strict else 3)
