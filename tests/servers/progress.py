"""Progress of slow steps: a moving line on a terminal, plain lines elsewhere. All on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


def say(message: str) -> None:
    """Print one plain line on stderr, which keeps stdout for the caller's own output."""
    print(f"outboxd servers: {message}", file=sys.stderr, flush=True)


@contextmanager
def step(message: str) -> Iterator[Callable[[float], None]]:
    """Show that `message` is under way; yields a function that takes the percentage done.

    A step that cannot tell its percentage never calls it: the bar then just pulses.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"{message} ...")
        yield lambda _percent: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(message, total=None)
        yield lambda percent: progress.update(task, total=100.0, completed=percent)
        progress.update(task, total=100.0, completed=100.0)
