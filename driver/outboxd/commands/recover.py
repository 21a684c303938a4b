"""`outboxd recover`: sends messages again that nobody has consumed."""

import click

from outboxd.commands.confirm import ago, ask, in_parts, in_words
from outboxd.commands.options import OPERATOR, older_than_option, with_settings, yes_option
from outboxd.mysql.procedures import Database
from outboxd.settings import Settings


@click.command()
@older_than_option
@yes_option
@with_settings(*OPERATOR)
def recover(settings: Settings, older_than: int, yes: bool) -> None:
    """Send messages again that were published long ago and never consumed."""
    with Database(settings, answers_in_time=False) as database:
        count = ask(database, "recover", "published", yes=yes, before=ago(database, older_than))
        if count:
            done = in_parts("recovered", count, lambda limit: database.recover_published(older_than, min(limit, 1000)))
            rest = "" if done >= count else f"; {count - done} left: behind messages under way, or consumed by now"
            click.echo(f"{in_words(done, 'published')} recovered: pending again{rest}")
