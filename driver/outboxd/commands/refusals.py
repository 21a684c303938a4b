"""What MySQL refuses, in the words of whoever gave the command: the role that is missing, the flag that is wrong."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
import mysql.connector
from mysql.connector import errorcode

from outboxd.mysql.procedures import (
    ApplicationProcedures,
    ConsumerProcedures,
    MonitorProcedures,
    OperatorProcedures,
    RelayProcedures,
    names,
)

# By role what its accounts call and read; of several roles the first is named.
_CALLS = {
    "outbox_operator": OperatorProcedures,
    "outbox_monitor": MonitorProcedures,
    "outbox_app": ApplicationProcedures,
    "outbox_relay": RelayProcedures,
    "outbox_consumer": ConsumerProcedures,
}
_READS = {
    "outbox_audit_log": "outbox_operator",
    "outbox_policies": "outbox_monitor",
    "outbox_status": "outbox_monitor",
    "outbox_dead_letters": "outbox_monitor",
    "outbox_failing": "outbox_monitor",
    "outbox_relays_status": "outbox_monitor",
    "outbox_topics_unavailable": "outbox_monitor",
}
_DENIED = {
    errorcode.ER_PROCACCESS_DENIED_ERROR,
    errorcode.ER_TABLEACCESS_DENIED_ERROR,
    errorcode.ER_DBACCESS_DENIED_ERROR,
}
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
        if error.errno in _DENIED:
            raise click.ClickException(refusal(error)) from error
        if error.sqlstate == "45000":
            raise click.ClickException(_with_flags(error.msg or str(error), command)) from error
        raise


def refusal(error: mysql.connector.Error) -> str:
    """What an account may not do, and which role lets it."""
    text = error.msg or str(error)
    who = re.search(r"user '(.*)'@'(.*)' (?:for (?:routine|table) |to database )'(?:.*\.)?(.*)'", text)
    if who is None:
        return str(error)
    account, what = f"'{who[1]}'@'{who[2]}'", who[3]
    if error.errno == errorcode.ER_DBACCESS_DENIED_ERROR:
        return (
            f"{account} has no right on database {what}: it needs a role (sql/grants.sql), which is active at login:"
            f" SET DEFAULT ROLE ALL TO {account}; `outboxd doctor` says more"
        )
    does = "call" if error.errno == errorcode.ER_PROCACCESS_DENIED_ERROR else "read"
    roles = [role for role, calls in _CALLS.items() if what in names(calls)]
    role = roles[0] if roles else _READS.get(what)
    if role is None:
        return str(error)
    return (
        f"{account} may not {does} {what}: it needs the role {role} (GRANT {role} TO {account};"
        f" SET DEFAULT ROLE ALL TO {account}), or set operator_url to an account that has it"
    )


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
