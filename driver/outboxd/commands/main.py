"""The command line. Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage, 3 done in part."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
import mysql.connector
from confluent_kafka import KafkaException

from outboxd import __version__
from outboxd.commands.demo.errors import DemoError
from outboxd.retry import Unavailable
from outboxd.schema.compatibility import SchemaError
from outboxd.schema.migrations import MigrationError
from outboxd.settings import SettingsError

_ERRORS = (SettingsError, MigrationError, SchemaError, DemoError, Unavailable, mysql.connector.Error, KafkaException)
COMMANDS = (
    *("run", "migrate", "enqueue", "status", "show", "find", "demo"),
    *("failing", "key", "retry", "give-up", "dead", "pause", "resume", "purge", "recover", "replay"),
    *("biz-type", "subscriptions", "audit"),
    *("doctor", "top", "console"),
)
"""All, in the order in which the README lists them."""
_MODULES = {
    "demo": "demo.command",
    "retry": "failing",
    "give-up": "failing",
    "doctor": "doctor.command",
    "top": "top.command",
}
"""Those that are not named like their command."""


class _OnDemand(click.Group):
    """Imports a command when it is called: all of them together take time and memory that one has no use for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Their names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        attribute = cmd_name.replace("-", "_")
        module = importlib.import_module(f"outboxd.commands.{_MODULES.get(cmd_name, attribute)}")
        command: click.Command = getattr(module, attribute)
        return command


@click.group(cls=_OnDemand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="outboxd")
def cli() -> None:
    """A transactional outbox in MySQL: deploy it, feed it, move its messages to Kafka and back, look into it.

    Settings come from flags, then OUTBOXD_... in the environment, then outboxd.toml (or $OUTBOXD_CONFIG).
    """


def load(arguments: Sequence[str]) -> None:
    """Import the command that these arguments begin with, if it is one."""
    if arguments:
        cli.get_command(click.Context(cli), arguments[0])


def main() -> None:
    """Run the command `outboxd`."""
    if sys.__stdout__ is None:
        _fail("standard output is closed")
    sys.__stdout__.reconfigure(errors="backslashreplace")  # a message may have letters that its encoding has not
    try:
        done = cli(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(done if isinstance(done, int) else 0)
    except BrokenPipeError:  # whoever read has had enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.exit(1)
    except click.Abort:
        _fail("aborted")
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(f"{error.ctx.get_usage()}\n{_help(error.ctx)}", err=True)
        _fail(error.format_message(), error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except _ERRORS as error:
        _fail(error)
    except RuntimeError:
        if sys.__stdin__ is not None:
            raise
        _fail("standard input is closed")


def _help(context: click.Context) -> str:
    return f"Try '{context.command_path} --help' for help.\n"


def _fail(reason: object, code: int = 1) -> NoReturn:
    """One line on standard error, with the one prefix that all errors have."""
    said = f"Kafka: {reason.args[0].str()}" if isinstance(reason, KafkaException) else reason
    click.echo(f"outboxd: {said}", err=True)
    sys.exit(code)
