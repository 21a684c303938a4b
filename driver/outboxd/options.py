"""What the commands share: an option for every setting, and the terminal that they print to."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, get_origin

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from outboxd import logs
from outboxd.settings import Settings, load

# A pipe has no width: nothing is cut off there.
console = Console(width=None if os.isatty(1) else 1000)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every setting, and the loaded Settings as its first argument."""

    def run(**arguments: Any) -> Any:
        flags = {name: arguments.pop(name) for name in Settings.model_fields}
        for name, value in flags.items():
            if isinstance(value, tuple) and name != "topics":
                flags[name] = dict(_pair(item, typed=name == "mysql_options") for item in value)
        logs.configure(verbose=arguments.pop("verbose"))
        return command(load(**flags), **arguments)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for name, setting in reversed(Settings.model_fields.items()):
        is_mapping = get_origin(setting.annotation) is dict
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            multiple=is_mapping,
            metavar="NAME=VALUE" if is_mapping else None,
            help=f"{setting.description}  [env: OUTBOXD_{name.upper()}]",
        )
        run = option(run)
    return click.option("--verbose", is_flag=True, help="log debug lines too")(run)


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


def say(text: str, *, err: bool = False) -> None:
    """Print a line that has what users wrote in it."""
    click.echo(printable(text), err=err)


def printable(text: str) -> str:
    """A line of what users wrote, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def cell(text: str) -> str:
    """The same for a table, where rich would read [red] as a style."""
    return escape(printable(text))


def _pair(item: str, *, typed: bool) -> tuple[str, Any]:
    """Name and value; typed: with numbers and booleans told from text, as the connector wants them."""
    name, equals, text = item.partition("=")
    if not equals:
        raise click.BadParameter("what was given is not NAME=VALUE")  # and is not repeated: it may be a password
    with suppress(ValueError):
        return name, json.loads(text) if typed else text
    return name, text
