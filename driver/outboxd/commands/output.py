"""The terminal that commands print to, and what keeps users' texts from controlling it."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

# A pipe has no width: nothing is cut off there.
console = Console(width=None if os.isatty(1) else 1000)


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

    return json.dumps(row, default=as_text)


def list_table(*titles: str) -> Table:
    """A table of one line a row; on a narrow terminal long cells are cut, ids and numbers are not."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in titles:
        is_text = title in {"topic", "key", "business type", "error", "waits"}
        table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=6 if is_text else len(title))
    return table


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
