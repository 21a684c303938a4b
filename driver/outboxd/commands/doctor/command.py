"""`outboxd doctor`: examines MySQL, the schema, the account and Kafka, and says what to do about what is wrong."""

from collections.abc import Iterator
from dataclasses import astuple

import click
from mysql.connector import Error

from outboxd.commands.doctor import kafka, mysql
from outboxd.commands.doctor.finding import Finding
from outboxd.commands.options import MYSQL, with_settings
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.retry import Unavailable
from outboxd.settings import Settings

# `name` is in the client.id that the brokers know.
_USED = (*MYSQL, "kafka_bootstrap", "kafka_options", "name", "topics", "source", "group", "consumer_workers")


@click.command()
@with_settings(*_USED)
def doctor(settings: Settings) -> None:
    """Check MySQL, the schema, the account's rights and Kafka; exit 1 if something must be done.

    Run it with the daemon's settings.
    """
    wrong = 0
    for finding in diagnose(settings):
        click.echo(f"{'FIX' if finding.to_do else 'ok '}  {finding.subject:18}  {finding.state}")
        if finding.to_do:
            wrong += 1
            click.echo(f"{'':23}  -> {finding.to_do}")
    if wrong:
        raise click.exceptions.Exit(1)


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Everything that can be examined, in order; a server that does not answer is one finding."""
    with ConsumerProcedures(settings) as database:
        try:
            yield from mysql.findings(database, settings)
        except (Unavailable, Error) as error:
            where = settings.mysql_arguments()
            to_do = f"see that {where.get('host')}:{where.get('port')} answers, and check mysql_url and mysql_options"
            yield Finding("MySQL", str(error).removeprefix("MySQL: "), to_do)
        identified = _identified(database, settings)
        if identified:
            yield Finding("identity", f"source {identified.source}, consumer group {identified.group}")
        yield from kafka.findings(identified or settings, database if settings.source else None)


def _identified(database: ConsumerProcedures, settings: Settings) -> Settings | None:
    """The settings of the outbox that is installed; None where that cannot be asked, which other findings tell."""
    try:
        return settings.identified(*astuple(database.identity()))
    except (Unavailable, Error):
        return None
