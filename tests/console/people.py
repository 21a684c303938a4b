"""The people who log in: an account for each role, whose names SQL and HTML would read as something else."""

import re
from dataclasses import dataclass

from tests.kit.installing import GRANTS
from tests.kit.server import Server

_PREFIX = "console_"


@dataclass(frozen=True, slots=True)
class Person:
    """A MySQL account with a role of grants.sql, or with none."""

    name: str
    password: str
    role: str | None


ADA = Person("ada", "p@ss:w/o#r?d %é<b>", "outbox_operator")
OLGA = Person("olga", 'olga\'s \\ "own"', "outbox_operator")
MONA = Person("mona", "mona", "outbox_monitor")
APP = Person("shop", "shop", "outbox_app")
NOBODY = Person("nobody", "nobody", None)
PEOPLE = (ADA, OLGA, MONA, APP, NOBODY)


def create(server: Server, database: str) -> None:
    """Give the roles their rights on a database, under names of their own, and the accounts their roles."""
    names = r"outbox_(app|relay|consumer|operator|monitor)([,;])"
    grants = re.sub(names, rf"{_PREFIX}\g<0>", GRANTS.read_text(encoding="utf-8"))
    with server.connect(database) as session:
        session.execute(grants)
        for person in PEOPLE:
            session.execute(f"DROP USER IF EXISTS {person.name}")
            session.execute(f"CREATE USER {person.name} IDENTIFIED BY %s", person.password)
            if person.role:
                role = f"{_PREFIX}{person.role}"
                session.execute(f"GRANT {role} TO {person.name}; SET DEFAULT ROLE ALL TO {person.name}")
