"""`outboxd pause`: stops relaying a topic or a business type."""

import click

from outboxd.commands.options import MYSQL, check_one, topic_or_biz_type, with_settings
from outboxd.commands.output import kind_of, say
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings

_PAUSED = (
    "SELECT kind, name, paused_at, paused_by, resumed_at, parked FROM outbox_policies"
    " WHERE paused_at IS NOT NULL OR resumed_at IS NOT NULL"
)


@click.command()
@topic_or_biz_type
@with_settings(*MYSQL)
def pause(settings: Settings, topic: str | None, biz_type: str | None) -> None:
    """Stop relaying a topic or a business type; without either, list what is paused.

    Enqueuing goes on. What is in Kafka already is still consumed.
    """
    with OperatorProcedures(settings) as database:
        if topic is None and biz_type is None:
            rows = database.query(_PAUSED)
            for kind, name, paused_at, paused_by, resumed_at, parked in rows:
                if paused_at:
                    since = f"paused since {paused_at:%F %T} UTC by {paused_by}, {parked} messages are parked"
                else:
                    since = f"resumed at {resumed_at:%F %T} UTC, {parked} messages are still on their way back"
                say(f"{kind_of(kind)} {name}: {since}")
            click.echo(f"{sum(paused_at is not None for _, _, paused_at, *_ in rows)} paused")
            return
        check_one(topic, biz_type)
        row = database.pause(topic, biz_type)
    since = f" since {row['paused_at']:%F %T} UTC by {row['paused_by']}"
    say(f"{kind_of(row['kind'])} {row['name']} is paused{'' if row['changed'] else f' already,{since}'}")
