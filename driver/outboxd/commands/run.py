"""`outboxd run`: the daemon."""

import click

from outboxd.commands.options import ALL, with_settings
from outboxd.daemon import supervisor
from outboxd.settings import Settings


@click.command()
@click.option("--only", type=click.Choice(["relay", "consumer"]), help="run only this half")
@with_settings(*ALL)
def run(settings: Settings, only: str | None) -> None:
    """Run the daemon: relay and consumer, until SIGTERM or SIGINT."""
    supervisor.run(settings, relays=only != "consumer", consumers=only != "relay")
