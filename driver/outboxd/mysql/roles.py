"""What MySQL refuses to an account, and the role that it lacks (see sql/grants.sql)."""

import re
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an account may not do. role: the one that lets it; None: it has no right on the database at all."""

    account: str
    does: str
    what: str
    role: str | None

    @property
    def in_words(self) -> str:
        """One sentence, with the statements that help."""
        if self.role is None:
            return (
                f"{self.account} has no right on database {self.what}: it needs a role (sql/grants.sql), which is"
                f" active at login: SET DEFAULT ROLE ALL TO {self.account}"
            )
        return (
            f"{self.account} may not {self.does} {self.what}: it needs the role {self.role}"
            f" (GRANT {self.role} TO {self.account}; SET DEFAULT ROLE ALL TO {self.account})"
        )


def refusal(error: mysql.connector.Error) -> Refusal | None:
    """What the error refuses to whom; None where it is another error, or about what is not outboxd's."""
    if error.errno not in _DENIED:
        return None
    text = error.msg or str(error)
    who = re.search(r"user '(.*)'@'(.*)' (?:for (?:routine|table) |to database )'(?:.*\.)?(.*)'", text)
    if who is None:
        return None
    account, what = f"'{who[1]}'@'{who[2]}'", who[3]
    if error.errno == errorcode.ER_DBACCESS_DENIED_ERROR:
        return Refusal(account, "use", what, None)
    does = "call" if error.errno == errorcode.ER_PROCACCESS_DENIED_ERROR else "read"
    roles = [role for role, calls in _CALLS.items() if what in names(calls)]
    role = roles[0] if roles else _READS.get(what)
    return Refusal(account, does, what, role) if role else None
