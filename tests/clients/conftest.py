"""The shop's database and its accounts, made once for all languages."""

from collections.abc import Iterator

import pytest

from tests.clients.shop import DIRECT_USER, PASSWORD, TABLES, USER, Shop
from tests.kit.installing import GRANTS, client_of, direct_grants, empty_database, migrate
from tests.kit.server import Server
from tests.servers.mysql_install import MySQLInstall

_DATABASE = "outboxd_shop"


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
