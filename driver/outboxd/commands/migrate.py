"""`outboxd migrate`: installs or upgrades the schema, or shows what is installed."""

import click
from rich.table import Table

from outboxd.commands.options import MYSQL, with_each
from outboxd.commands.output import console
from outboxd.mysql.connection import Connection
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.schema import files, migrations
from outboxd.schema.files import Migration
from outboxd.schema.migrations import Installed
from outboxd.settings import Settings


@click.command()
@click.option("--status", is_flag=True, help="only show what is installed")
@click.option("--dry-run", is_flag=True, help="only print the SQL that would run, for the mysql client")
@click.option("--post", is_flag=True, help="also drop what only older releases call")
@click.option("--new-identity", is_flag=True, help="then make it another outbox: for a copy of a database")
@with_each(*MYSQL)
def migrate(settings: Settings, status: bool, dry_run: bool, post: bool, new_identity: bool) -> None:
    """Install or upgrade the schema: applies the migrations that are missing.

    Daemons and applications of the release before go on working. What they need is dropped with --post alone.
    """
    with OperatorProcedures(settings, answers_in_time=False) as database:  # an ALTER may take long
        if status:
            _show(database)
            return
        if dry_run:
            click.echo(migrations.script(database, post=post), nl=False)
            return
        count = 0
        for migration in migrations.apply(database, post=post):
            click.echo(f"applied {migration.file}")
            count += 1
        left = [migration.file for migration in migrations.pending(database, post=True)]
        identity = database.new_identity() if new_identity else None
    click.echo(f"{count} applied, {len(files.available()) - len(left)} installed in {settings.database}")
    if identity:
        click.echo(f"new identity: source {identity.source}, consumer group {identity.consumer_group}")
    if left:
        click.echo(f"left for --post, once nobody calls what it drops: {', '.join(left)}")


def _show(database: Connection) -> None:
    there = migrations.installed(database)
    is_empty = not there
    table = Table("version", "file", "installed", "by", "state", box=None)
    for migration in files.available():
        row = there.pop(migration.version, None)
        if row is None:
            state = "left for --post" if migration.is_post and not is_empty else "missing"
            table.add_row(str(migration.version), migration.file, "", "", state)
        else:
            table.add_row(str(row.version), row.file, row.installed_at, row.installed_by, _state(migration, row))
    for row in there.values():
        table.add_row(str(row.version), row.file, row.installed_at, row.installed_by, "newer than this outboxd")
    console.print(table)


def _state(migration: Migration, row: Installed) -> str:
    if row.checksum not in (None, migration.checksum):
        return "edited since"
    if row.dropped_by:
        return f"dropped by {row.dropped_by}"
    return "ok" if row.checksum else "ok (not by outboxd migrate)"
