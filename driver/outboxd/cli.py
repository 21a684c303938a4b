"""The command line. Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage, 3 done but lines were refused."""

import json
import sys
from typing import BinaryIO, NoReturn

import click
import mysql.connector
from rich.table import Table

from outboxd import __version__, daemon, demo, migrations, operate
from outboxd import enqueue as enqueuing
from outboxd.database import Database
from outboxd.doctor import doctor
from outboxd.migrations import MigrationError
from outboxd.options import console, echo_message, progress, say, with_settings
from outboxd.retry import Unavailable
from outboxd.settings import Settings, SettingsError
from outboxd.top import top

_ERRORS = (SettingsError, MigrationError, daemon.SchemaError, demo.DemoError, Unavailable, mysql.connector.Error)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="outboxd")
def cli() -> None:
    """A transactional outbox in MySQL: deploy it, feed it, move its messages to Kafka and back, look into it.

    Settings come from flags, then OUTBOXD_... in the environment, then outboxd.toml (or $OUTBOXD_CONFIG).
    """


@cli.command()
@click.option("--only", type=click.Choice(["relay", "consumer"]), help="run only this half")
@with_settings
def run(settings: Settings, only: str | None) -> None:
    """Run the daemon: relay and consumer, until SIGTERM or SIGINT."""
    daemon.run(settings, relays=only != "consumer", consumers=only != "relay")


@cli.command()
@click.option("--status", is_flag=True, help="only show what is installed")
@click.option("--dry-run", is_flag=True, help="only print the SQL that would run, for the mysql client")
@click.option("--post", is_flag=True, help="also drop what the release before needs, once nobody calls it")
@with_settings
def migrate(settings: Settings, status: bool, dry_run: bool, post: bool) -> None:
    """Install or upgrade the schema: applies the migrations that are missing.

    Daemons and applications of the release before go on working. What they need is dropped with --post alone.
    """
    with Database(settings, answers_in_time=False) as database:  # an ALTER may take long
        if status:
            _show_migrations(database)
            return
        if dry_run:
            click.echo(migrations.script(database, post=post), nl=False)
            return
        count = 0
        for migration in migrations.apply(database, post=post):
            click.echo(f"applied {migration.file}")
            count += 1
        left = [migration.file for migration in migrations.pending(database, post=True)]
    click.echo(f"{count} applied, {len(migrations.available()) - len(left)} installed in {settings.database}")
    if left:
        click.echo(f"left for --post, once nobody calls what it drops: {', '.join(left)}")


def _show_migrations(database: Database) -> None:
    there = migrations.installed(database)
    is_empty = not there
    table = Table("version", "file", "installed", "by", "state", box=None)
    for migration in migrations.available():
        row = there.pop(migration.version, None)
        if row is None:
            state = "left for --post" if migration.is_post and not is_empty else "missing"
            table.add_row(str(migration.version), migration.file, "", "", state)
        else:
            edited = row.checksum not in (None, migration.checksum)
            state = "edited since" if edited else "ok" if row.checksum else "ok (not by outboxd migrate)"
            if row.dropped_by and not edited:
                state = f"dropped by {row.dropped_by}"
            table.add_row(str(row.version), row.file, row.installed_at, row.installed_by, state)
    for row in there.values():
        table.add_row(str(row.version), row.file, row.installed_at, row.installed_by, "newer than this outboxd")
    console.print(table)


@cli.command()
@click.option("--topic", required=True, help="Kafka topic of the messages")
@click.option("--strict", is_flag=True, help="stop at the first bad line")
@click.argument("file", type=click.File("rb"))
@with_settings
def enqueue(settings: Settings, topic: str, strict: bool, file: BinaryIO) -> None:
    """Enqueue the messages of FILE (- for standard input), one JSON object a line.

    A chat message has user_id, conversation_id, role and message; any other message biz_type, key and payload.
    Good lines before a bad one are enqueued in any case. Where it is cut off, it says behind which line to go on.
    """
    enqueued = refused = last = 0
    try:
        with Database(settings) as database, progress() as bar:
            task = bar.add_task("enqueued", total=None)
            for lines in enqueuing.enqueue(database, topic, file, strict=strict):
                enqueued += sum(line.error is None for line in lines)
                last = lines[-1].number if lines else last
                for line in lines:
                    if line.error:
                        refused += 1
                        say(f"line {line.number}: {line.error}", err=True)
                bar.update(task, completed=enqueued)
    except BaseException:
        click.echo(f"{enqueued} enqueued, {refused} refused, cut off behind line {last}")
        raise
    click.echo(f"{enqueued} enqueued, {refused} refused")
    if refused:
        sys.exit(1 if strict else 3)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON, for scripts")
@with_settings
def status(settings: Settings, as_json: bool) -> None:
    """Count the messages by status, and show the oldest due and the lag."""
    with Database(settings) as database:
        rows = {row["status"]: row for row in database.status()}
    unfinished = [rows[name] for name in ("pending", "published") if name in rows]
    lag = max((float(row["oldest_seconds"]) for row in unfinished), default=0.0)
    if as_json:
        counts = {name: row["messages"] for name, row in rows.items()}
        due = rows["pending"]["next_due_seconds"] if "pending" in rows else None
        click.echo(json.dumps({"messages": counts, "lag_seconds": lag, "next_due_seconds": due}, default=float))
        return
    table = Table("status", "messages", "oldest", "next due", box=None)
    for name in ("pending", "published", "consumed", "dead"):
        row = rows.get(name)
        due = row["next_due_seconds"] if row else None
        table.add_row(
            name,
            str(row["messages"] if row else 0),
            f"{row['oldest_seconds']:.1f} s ago" if row else "",
            "" if due is None else f"in {due:.1f} s" if due > 0 else f"overdue by {-due:.1f} s",
        )
    console.print(table)
    console.print(f"lag: {lag:.1f} s (age of the oldest message that is pending or published)")


@cli.command()
@click.argument("message_id", metavar="ID", type=click.IntRange(min=0))
@with_settings
def show(settings: Settings, message_id: int) -> None:
    """Show one message."""
    with Database(settings) as database:
        message = database.get(message_id) if message_id < 2**64 else None  # beyond BIGINT there is none
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    echo_message(message)


@cli.command(name="demo")
@click.option("--chat", type=click.Path(exists=True, dir_okay=False), help="JSON lines of chat; default: a sample")
@click.option("--broker", help="host:port of a Kafka broker; default: a mock cluster inside the demo")
@with_settings
def demo_command(settings: Settings, chat: str | None, broker: str | None) -> None:
    """Send chat through the outbox, killing the daemon once on the way, and check that every message arrived once."""
    if not demo.run(settings, chat, broker, console):
        sys.exit(1)


for command in (*operate.COMMANDS, doctor, top):
    cli.add_command(command)


def main() -> None:
    """The command `outboxd`."""
    if sys.__stdout__ is None:
        _fail("standard output is closed")
    sys.__stdout__.reconfigure(errors="backslashreplace")  # a message may have letters that its encoding has not
    try:
        cli(standalone_mode=True)
    except _ERRORS as error:
        _fail(error)
    except RuntimeError:
        if sys.__stdin__ is not None:
            raise
        _fail("standard input is closed")


def _fail(reason: object) -> NoReturn:
    click.echo(f"outboxd: {reason}", err=True)
    sys.exit(1)
