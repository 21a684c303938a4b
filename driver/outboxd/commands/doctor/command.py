"""`outboxd doctor`: examines MySQL, the schema, the account and Kafka, and says what to do about what is wrong."""

import json
from collections.abc import Iterator
from dataclasses import asdict, astuple

import click
from mysql.connector import Error

from outboxd.commands.doctor import kafka, mysql
from outboxd.commands.doctor.connecting import why_not
from outboxd.commands.doctor.finding import Finding
from outboxd.commands.options import MYSQL, with_each
from outboxd.commands.output import named, printable
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.retry import Unavailable
from outboxd.settings import Settings

# `name` is in the client.id that the brokers know.
_USED = (
    *(*MYSQL, "kafka_bootstrap", "kafka_options", "name", "topics", "source", "group"),
    *("consumer_workers", "stale_seconds"),
)
_EXIT_CODES = {"ok": 0, "warning": 1, "error": 2}
_MARKS = {"ok": "ok", "warning": "warn", "error": "FIX"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object: level, and findings")
@with_each(*_USED)
def doctor(settings: Settings, as_json: bool) -> None:
    """Check MySQL, the schema, the account's rights, what messages wait for, and Kafka.

    Exit codes: 0 all is well, 1 there are warnings, 2 there are errors (FIX). Run it with the daemon's settings.
    """
    found = []
    for finding in diagnose(settings):
        found.append(finding)
        if not as_json:
            click.echo(f"{_MARKS[finding.level]:4}  {printable(finding.subject):18}  {printable(finding.state)}")
            if finding.to_do:
                click.echo(f"{'':24}  -> {printable(finding.to_do)}")
    worst = max((finding.level for finding in found), key=_EXIT_CODES.__getitem__, default="ok")
    if as_json:
        click.echo(json.dumps(named({"level": worst, "findings": [asdict(finding) for finding in found]})))
    raise click.exceptions.Exit(_EXIT_CODES[worst])


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Everything that can be examined, in order; a server that does not answer is one finding."""
    with ConsumerProcedures(settings) as database:
        try:
            yield from mysql.findings(database, settings)
        except (Unavailable, Error) as error:
            yield why_not(error, settings)
        identified = _identified(database, settings)
        if identified:
            yield Finding("identity", f"source {identified.source}, consumer group {identified.group}")
        yield from kafka.findings(
            identified or settings, database if identified else None, has_source=bool(settings.source)
        )


def _identified(database: ConsumerProcedures, settings: Settings) -> Settings | None:
    """The settings of the outbox that is installed; None where that cannot be asked, which other findings tell."""
    try:
        return settings.identified(*astuple(database.identity()))
    except (Unavailable, Error):
        return None
