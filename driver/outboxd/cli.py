"""The command line. Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage, 3 done but lines were refused."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, get_origin

import click
import mysql.connector
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from outboxd import __version__, daemon, demo, logs, migrations
from outboxd import enqueue as enqueuing
from outboxd.database import Database
from outboxd.migrations import MigrationError
from outboxd.retry import Unavailable
from outboxd.settings import Settings, SettingsError, load

_ERRORS = (SettingsError, MigrationError, daemon.SchemaError, demo.DemoError, Unavailable, mysql.connector.Error)
# A pipe has no width: nothing is cut off there.
console = Console(width=None if sys.stdout.isatty() else 1000)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every setting, and the loaded Settings as its first argument."""

    def run(**arguments: Any) -> Any:
        flags = {name: arguments.pop(name) for name in Settings.model_fields}
        for name, value in flags.items():
            if isinstance(value, tuple) and name != "topics":
                flags[name] = dict(_pair(item, typed=name == "mysql_options") for item in value)
        logs.configure(verbose=arguments.pop("verbose"))
        return command(load(**flags), **arguments)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for name, setting in reversed(Settings.model_fields.items()):
        is_mapping = get_origin(setting.annotation) is dict
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            multiple=is_mapping,
            metavar="NAME=VALUE" if is_mapping else None,
            help=f"{setting.description}  [env: OUTBOXD_{name.upper()}]",
        )
        run = option(run)
    return click.option("--verbose", is_flag=True, help="log debug lines too")(run)


def _pair(item: str, *, typed: bool) -> tuple[str, Any]:
    """Name and value; typed: with numbers and booleans told from text, as the connector wants them."""
    name, equals, text = item.partition("=")
    if not equals:
        raise click.BadParameter(f"{item!r} is not NAME=VALUE")
    with suppress(ValueError):
        return name, json.loads(text) if typed else text
    return name, text


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
@with_settings
def migrate(settings: Settings, status: bool) -> None:
    """Install or upgrade the schema: applies the migrations that are missing."""
    with Database(settings) as database:
        if status:
            _show_migrations(database)
            return
        count = 0
        for migration in migrations.apply(database):
            click.echo(f"applied {migration.file}")
            count += 1
    click.echo(f"{count} applied, {len(migrations.available())} installed in {settings.database}")


def _show_migrations(database: Database) -> None:
    there = migrations.installed(database)
    table = Table("version", "file", "installed", "by", "state", box=None)
    for migration in migrations.available():
        row = there.pop(migration.version, None)
        if row is None:
            table.add_row(str(migration.version), migration.file, "", "", "missing")
        else:
            edited = row.checksum not in (None, migration.checksum)
            state = "edited since" if edited else "ok" if row.checksum else "ok (not by outboxd migrate)"
            table.add_row(str(row.version), row.file, row.installed_at, row.installed_by, state)
    for row in there.values():
        table.add_row(str(row.version), row.file, row.installed_at, row.installed_by, "newer than this outboxd")
    console.print(table)


@cli.command()
@click.option("--topic", required=True, help="Kafka topic of the messages")
@click.option("--strict", is_flag=True, help="stop at the first bad line")
@click.argument("file", type=click.File(encoding="utf-8"))
@with_settings
def enqueue(settings: Settings, topic: str, strict: bool, file: TextIO) -> None:
    """Enqueue the messages of FILE (- for standard input), one JSON object a line.

    A chat message has user_id, conversation_id, role and message; any other message biz_type, key and payload.
    Good lines before a bad one are enqueued in any case.
    """
    enqueued = refused = 0
    with Database(settings) as database, _progress() as progress:
        task = progress.add_task("enqueued", total=None)
        for lines in enqueuing.enqueue(database, topic, file, strict=strict):
            for line in lines:
                if line.error:
                    refused += 1
                    click.echo(f"line {line.number}: {line.error}", err=True)
            enqueued += sum(line.error is None for line in lines)
            progress.update(task, completed=enqueued)
    click.echo(f"{enqueued} enqueued, {refused} refused")
    if refused:
        sys.exit(1 if strict else 3)


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


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
        message = database.get(message_id)
    if message is None:
        raise click.ClickException(f"there is no message {message_id}")
    for name, value in message.items():
        click.echo(f"{name:14} {'' if value is None else value}")


@cli.command(name="demo")
@click.option("--chat", type=click.Path(exists=True, dir_okay=False), help="JSON lines of chat; default: a sample")
@click.option("--broker", help="host:port of a Kafka broker; default: a mock cluster inside the demo")
@with_settings
def demo_command(settings: Settings, chat: str | None, broker: str | None) -> None:
    """Send chat through the outbox, killing the daemon once on the way, and check that every message arrived once."""
    if not demo.run(settings, chat, broker, console):
        sys.exit(1)


def main() -> None:
    """The command `outboxd`."""
    try:
        cli(standalone_mode=True)
    except _ERRORS as error:
        click.echo(f"outboxd: {error}", err=True)
        sys.exit(1)
