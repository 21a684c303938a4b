"""The shop's database and its accounts, made once for all languages."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.shop import DIRECT_USER, PASSWORD, TABLES, USER, Shop
from tests.kit.installing import GRANTS, client_of, empty_database, migrate
from tests.kit.server import Server
from tests.servers.mysql_install import MySQLInstall
from tests.servers.paths import CHECKOUT

_DATABASE = "outboxd_shop"


def direct_grants(account: str) -> str:
    """The grants of one role for an account itself: what the command in the head of grants.sql prints for it."""
    found = re.search(r"^--   (sed -n .+) \| mysql DATABASE$", GRANTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    command = found[1].replace("'shop'@'%'", account)
    return subprocess.run(command, shell=True, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def shop(mysql_server: Server, mysql_programs: MySQLInstall) -> Iterator[Shop]:
    """The shop; both accounts have rights on its two tables, and those of outbox_app."""
    with empty_database(mysql_server, _DATABASE) as session:
        migrate(mysql_server, _DATABASE)
        client_of(mysql_programs, mysql_server).apply(_DATABASE, GRANTS.read_text(encoding="utf-8"))
        session.execute(TABLES)
        for account in (USER, DIRECT_USER):
            session.execute(f"DROP USER IF EXISTS {account}")
            session.execute("CREATE USER %s IDENTIFIED BY %s", account, PASSWORD)
            session.execute(f"GRANT SELECT, INSERT ON {_DATABASE}.shop_orders TO {account}")
            session.execute(f"GRANT SELECT, INSERT ON {_DATABASE}.shop_lines TO {account}")
        session.execute(f"GRANT outbox_app TO {USER}; SET DEFAULT ROLE ALL TO {USER}")
        session.execute(direct_grants(DIRECT_USER))
        yield Shop(mysql_server, _DATABASE)
        session.execute(f"DROP USER {USER}, {DIRECT_USER}")
