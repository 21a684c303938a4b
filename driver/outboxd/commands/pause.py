"""`outboxd pause`: stops relaying a topic or a business type."""

import click

from outboxd.commands import pauses
from outboxd.commands.options import OPERATOR, check_one, topic_or_biz_type, with_each
from outboxd.commands.output import is_of_several, kind_of, say
from outboxd.mysql import views
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@topic_or_biz_type
@with_each(*OPERATOR)
def pause(settings: Settings, topic: str | None, biz_type: str | None) -> None:
    """Stop relaying a topic or a business type; without either, list what is paused.

    Enqueuing goes on. What is in Kafka already is still consumed.
    """
    with OperatorProcedures(settings) as database:
        if topic is None and biz_type is None:
            paused = views.pauses(database)
            for one in paused:
                click.echo(pauses.in_words(one))
            click.echo(f"{sum(one.paused_at is not None for one in paused)} paused")
            return
        if is_of_several():
            raise click.UsageError("give --database NAME")
        check_one(topic, biz_type)
        row = database.pause(topic, biz_type)
        since = f" since {row['paused_at']:%F %T} UTC by {row['paused_by']}"
        is_unheard_of = pauses.is_unheard_of(database, topic, biz_type)
    say(f"{kind_of(row['kind'])} {row['name']} is paused{'' if row['changed'] else f' already,{since}'}")
    if is_unheard_of:
        say(f"but no message here has ever had {kind_of(row['kind'])} {row['name']}: is it spelled right?", err=True)
