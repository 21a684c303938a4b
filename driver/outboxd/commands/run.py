"""`outboxd run`: the daemon."""

from collections.abc import Callable

import click

from outboxd.commands.options import ALL, with_fleet
from outboxd.daemon import supervisor
from outboxd.fleet import Fleet


@click.command()
@click.option("--only", type=click.Choice(["relay", "consumer"]), help="run only this half")
@with_fleet(*ALL)
def run(fleet: Fleet, read_again: Callable[[], Fleet], only: str | None) -> None:
    """Run the daemon: relay and consumer, until SIGTERM or SIGINT. SIGHUP reads the databases of a fleet again."""
    supervisor.run(fleet, read_again, relays=only != "consumer", consumers=only != "relay")
