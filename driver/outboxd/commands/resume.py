"""`outboxd resume`: ends a pause."""

import click

from outboxd.commands.options import OPERATOR, check_one, topic_or_biz_type, with_settings
from outboxd.commands.output import kind_of, say
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@topic_or_biz_type
@with_settings(*OPERATOR)
def resume(settings: Settings, topic: str | None, biz_type: str | None) -> None:
    """Resume relaying a topic or a business type that was paused."""
    check_one(topic, biz_type)
    with OperatorProcedures(settings) as database:
        row = database.resume(topic, biz_type)
    say(f"{kind_of(row['kind'])} {row['name']} {'is relayed again' if row['changed'] else 'was not paused'}")
