"""`outboxd top`: a live view of the outbox in the terminal; printed once where there is no terminal."""

import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import click
from rich.console import RenderableType
from rich.live import Live

from outboxd.commands.options import OPERATOR, json_option, with_databases
from outboxd.commands.output import console, json_line, say
from outboxd.commands.top import fleet, one
from outboxd.commands.top.watched import Watched
from outboxd.settings import Settings

_AT_ONCE = 8


@click.command()
@click.option("--interval", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="seconds")
@click.option("--once", is_flag=True, help="print once, as where there is no terminal")
@json_option
@with_databases(*OPERATOR)
def top(databases: Mapping[str, Settings], interval: float, once: bool, as_json: bool) -> None:
    """Watch counts, rates, lag, relays and the last errors; q or Ctrl-C ends.

    Needs the role outbox_monitor or outbox_operator. While MySQL is away it shows what it saw last. Counting takes
    0.3 s for a million messages, so the view is renewed less often where the table is large. Of a fleet it has a line
    for each database, and --database shows one. --json prints once.
    """
    with ExitStack() as cleanup:
        watched = [cleanup.enter_context(Watched(settings).connected()) for settings in databases.values()]
        _look(watched, is_first=True)
        if once or as_json or not (console.is_terminal and sys.stdin.isatty()):
            _print(watched, as_json=as_json)
            return
        with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_view(watched), refresh=True)
                if "q" in pressed(max(interval, 5 * sum(one.took_seconds for one in watched))):
                    return
                _look(watched)


def _look(databases: Sequence[Watched], *, is_first: bool = False) -> None:
    """Look at all; the errors of one keep no other from being shown. One by itself has to answer at first."""
    if len(databases) > 1:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda one: one.try_to_look(is_one_of_several=True), databases))
    elif is_first:
        databases[0].look()
    else:
        databases[0].try_to_look(is_one_of_several=False)


def _print(databases: Sequence[Watched], *, as_json: bool) -> None:
    """Print once; the exit code is 1 where a database of several does not answer."""
    if as_json:
        for watched in databases:
            click.echo(json_line(watched.to_json()))
    else:
        console.print(_view(databases))
    away = [watched for watched in databases if watched.away]
    for watched in away:
        say(f"outboxd: {watched.name}: {watched.away}", err=True)
    if away:
        raise click.exceptions.Exit(1)


def _view(databases: Sequence[Watched]) -> RenderableType:
    if len(databases) > 1:
        return fleet.view(databases)
    (watched,) = databases
    assert watched.sample is not None
    return one.view(watched.name, watched.sample, watched.before, watched.away)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits so many seconds for a key and returns it; restores the terminal at the end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed(seconds: float) -> str:
        return sys.stdin.read(1) if select.select([terminal], [], [], seconds)[0] else ""

    tty.setcbreak(terminal)
    try:
        yield pressed
    except KeyboardInterrupt:
        pass
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
