"""`outboxd doctor`: looks at MySQL, the schema, the account and Kafka, and says what to do where something is wrong."""

from collections.abc import Iterator

import click
import mysql.connector

from outboxd import doctor_kafka, doctor_mysql
from outboxd.database import Database
from outboxd.finding import Finding
from outboxd.options import with_settings
from outboxd.retry import Unavailable
from outboxd.settings import Settings


@click.command()
@with_settings
def doctor(settings: Settings) -> None:
    """Look for what is wrong with MySQL, the schema, the account's rights and Kafka; exit 1 if something must be done.

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
    """Everything that can be looked at, in order; what a server that does not answer would tell is left out."""
    packet = None
    with Database(settings) as database:
        try:
            yield from doctor_mysql.findings(database, settings)
            packet = int(database.query("SELECT @@max_allowed_packet")[0][0])
        except (Unavailable, mysql.connector.Error) as error:
            where = settings.mysql_arguments()
            to_do = f"see that {where.get('host')}:{where.get('port')} answers, and check mysql_url and mysql_options"
            yield Finding("MySQL", str(error).removeprefix("MySQL: "), to_do)
    yield from doctor_kafka.findings(settings, packet)
