"""What MySQL refuses, in the words of whoever gave the command: the role that is missing, the flag that is wrong."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
import mysql.connector

from outboxd.mysql import roles

_HINTS = {True: "; `outboxd doctor` says more", False: ", or set operator_url to an account that has it"}
# Parameters whose flag has another name.
_FLAGS = {
    "p_before": "--older-than or --before",
    "p_error_like": "--error",
    "p_event_type": "TYPE",
    "p_per_second": "--rate",
}


@contextmanager
def in_the_words_of(command: click.Command) -> Iterator[None]:
    """Errors of MySQL in the block are told with the command's own flags, and with the role that the account lacks."""
    try:
        yield
    except mysql.connector.Error as error:
        if refused := roles.refusal(error):
            raise click.ClickException(f"{refused.in_words}{_HINTS[refused.role is None]}") from error
        if error.sqlstate == "45000":
            raise click.ClickException(_with_flags(error.msg or str(error), command)) from error
        raise


def _with_flags(text: str, command: click.Command) -> str:
    """The text with the command's flag, or argument, in the place of each parameter of a procedure.

    What stands in parentheses is not the command's: the parameters that a handler has.
    """
    known: dict[str, str] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            known[f"p_{parameter.name}"] = parameter.opts[-1]
        elif isinstance(parameter, click.Argument):
            shown = (parameter.metavar or str(parameter.name).upper()).strip("[].")
            known[f"p_{shown.lower()}"] = shown

    def flag(found: re.Match[str]) -> str:
        name = found[0]
        return known.get(name) or _FLAGS.get(name) or name.removeprefix("p_").replace("_", " ")

    return re.sub(r"(?<!\()\bp_[a-z]\w*(?![^(]*\))", flag, text)
