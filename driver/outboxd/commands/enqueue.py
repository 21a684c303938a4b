"""`outboxd enqueue`: puts the messages of a file into the outbox."""

import sys
from pathlib import Path
from typing import BinaryIO

import click

from outboxd import jsonl
from outboxd.commands.interrupts import interruptible
from outboxd.commands.options import MYSQL, with_settings
from outboxd.commands.output import progress, say
from outboxd.mysql.procedures import ApplicationProcedures
from outboxd.settings import Settings


@click.command()
@click.option("--topic", help="Kafka topic of the messages whose line has none")
@click.option("--strict", is_flag=True, help="stop at the first wrong line")
@click.option("--source", help="what the dedup keys of the lines begin with [default: the file's name and the topic]")
@click.option("--again", is_flag=True, help="enqueue also what was enqueued before: without dedup keys")
@click.argument("file", type=click.File("rb"))
@with_settings(*MYSQL)
def enqueue(
    settings: Settings, topic: str | None, strict: bool, source: str | None, again: bool, file: BinaryIO
) -> None:
    """Enqueue the messages of FILE (- for standard input), one JSON object a line.

    A chat message has user_id, conversation_id, role and message; any other message biz_type, key and payload, and may
    have the options of outbox_enqueue_with_options_v1. Right lines before a wrong one are enqueued in any case.

    Where it was cut off, run it again: a line that was enqueued before is passed over. It is known by its dedup key:
    the source, its number and its text. Standard input has dedup keys only with --source.
    """
    if again and source:
        raise click.UsageError("--again and --source exclude each other")
    path = Path(str(getattr(file, "name", "-")))
    if not source and not again and path.is_file():
        source = f"{path.name}:{topic or ''}"
    enqueued = known = rejected = last = 0

    def summary() -> str:
        return f"{enqueued} enqueued, {f'{known} known, ' if known else ''}{rejected} rejected"

    try:
        with ApplicationProcedures(settings) as database, progress() as bar, interruptible(file) as given:
            task = bar.add_task("enqueued", total=None)
            for done in jsonl.enqueue(database, topic, given, source=source, strict=strict):
                enqueued, known, last = enqueued + done.enqueued, known + done.known, done.last
                for line in done.rejected:
                    rejected += 1
                    say(f"line {line.number}: {line.error}", err=True)
                bar.update(task, completed=enqueued)
    except BaseException:
        click.echo(f"{summary()}, cut off behind line {last}")
        raise
    click.echo(summary())
    if known:
        click.echo("what is known was enqueued before, and was passed over; --again enqueues it again", err=True)
    if rejected:
        sys.exit(1 if strict else 3)
