"""The terminal that commands print to, and what keeps users' texts from controlling it."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_database: ContextVar[str] = ContextVar("of_database", default="")

# A pipe has no width: nothing is cut off there.
console = Console(width=None if os.isatty(1) else 1000)


@contextmanager
def of_database(name: str, *, is_json: bool) -> Iterator[None]:
    """What is printed in the block is of this database of several: it gets a heading, or JSON a member `database`."""
    token = _database.set(name)
    if not is_json:
        click.echo(f"{name}:")
    try:
        yield
    finally:
        _database.reset(token)


def is_of_several() -> bool:
    """Whether what is printed is of one database of several."""
    return bool(_database.get())


def named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that is about to be JSON, with the name of its database where there are several."""
    return {"database": _database.get(), **row} if _database.get() else dict(row)


def progress() -> Progress:
    """A progress bar on standard error; none where that is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def echo_message(message: Mapping[str, Any]) -> None:
    """Print a message, a column a line."""
    for name, value in message.items():
        say(f"{name:14} {'' if value is None else value}")


def json_line(row: Mapping[str, Any]) -> str:
    """A row as one line of JSON: times as text in UTC, bytes in hexadecimal."""

    def as_text(value: Any) -> Any:
        if isinstance(value, datetime):
            return f"{value.isoformat()}Z"
        return value.hex() if isinstance(value, bytes | bytearray) else float(value)

    return json.dumps(named(row), default=as_text)


_FREE = ("topic", "key", "business type", "error", "waits")


def print_list(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of one line a row; on a narrow terminal users' texts are cut, ids and numbers are not."""
    widths = {title: max(len(title), *(cell_len(row[place]) for row in rows)) for place, title in enumerate(titles)}
    free = [title for title in titles if title in _FREE]
    left = console.width - sum(widths[title] for title in titles if title not in free) - 2 * len(titles)
    for number, title in enumerate(sorted(free, key=lambda title: widths[title])):
        widths[title] = max(4, min(widths[title], left // (len(free) - number)))
        left -= widths[title]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, no_wrap=True, overflow="ellipsis", width=widths[title])
    for row in rows:
        table.add_row(*row)
    console.print(table)


def one_line(text: str | None) -> str:
    """A user's text as one cell of a table, its first 100 letters."""
    line = (text or "").replace("\n", " ")
    return cell(line[:100]) + ("…" if len(line) > 100 else "")


def say(text: str, *, err: bool = False) -> None:
    """Print a line that contains users' texts."""
    click.echo(printable(text), err=err)


def printable(text: str) -> str:
    """The text, with a replacement character for each that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def cell(text: str) -> str:
    """The printable text for a table, in which rich would read [red] as a style."""
    return escape(printable(text))


def kind_of(kind: str) -> str:
    """`kind` of outbox_policies in words."""
    return "topic" if kind == "topic" else "business type"
