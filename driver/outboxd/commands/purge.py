"""`outboxd purge`: deletes old messages that are final."""

from datetime import datetime

import click

from outboxd.commands.confirm import ago, ask, in_parts, in_words
from outboxd.commands.options import OPERATOR, older_than_option, with_settings, yes_option
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@older_than_option
@click.option("--dead", "dead_too", is_flag=True, help="purge dead letters, instead of consumed messages")
@click.option("--dedup-keys", is_flag=True, help="purge dedup keys, instead of messages")
@yes_option
@with_settings(*OPERATOR)
def purge(settings: Settings, older_than: int, dead_too: bool, dedup_keys: bool, yes: bool) -> None:
    """Delete old consumed messages, or with --dead old dead letters, or with --dedup-keys old dedup keys.

    A message that is enqueued with a purged dedup key again is stored again.
    """
    if dead_too and dedup_keys:
        raise click.UsageError("--dead and --dedup-keys exclude each other")
    with OperatorProcedures(settings, answers_in_time=False) as database:
        before = ago(database, older_than)
        if dedup_keys:
            _purge_dedup_keys(database, before, yes)
        else:
            _purge_messages(database, "dead" if dead_too else "consumed", before, yes)


def _purge_messages(database: OperatorProcedures, status: str, before: datetime, yes: bool) -> None:
    referenced = 0

    def delete(limit: int) -> int:
        nonlocal referenced
        if status == "dead":
            return database.purge_dead(before, limit)
        deleted, referenced = database.purge(before, limit)
        return deleted

    count = ask(database, "purge", status, yes=yes, before=before)
    if count:
        purged = in_parts("purged", count, delete)
        click.echo(f"{in_words(purged, status)} purged")
        if referenced:
            click.echo(f"{in_words(referenced, status)} left: a foreign key of another table points there")


def _purge_dedup_keys(database: OperatorProcedures, before: datetime, yes: bool) -> None:
    if not yes:
        first_used = f"{before:%Y-%m-%d %H:%M:%S} UTC"
        click.confirm(f"purge dedup keys that were first used before {first_used}?", abort=True, err=True)
    purged = in_parts("purged", None, lambda limit: database.purge_dedup_keys(before, limit))
    click.echo(f"{purged} dedup key{'' if purged == 1 else 's'} purged")
