"""sql/uninstall.sql: removes what the migrations have made, and nothing else."""

from collections.abc import Iterator

import pytest

from tests.kit.installing import Client, empty_database, migrate
from tests.kit.server import SQL_FOLDER, Server
from tests.kit.session import Session
from tests.servers.paths import CHECKOUT

DATABASE = "outboxd_uninstall"
UNINSTALL = (SQL_FOLDER / "uninstall.sql").read_text(encoding="utf-8")
OBJECTS = """
    SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() UNION ALL
    SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() UNION ALL
    SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE() ORDER BY 1
"""
OWN = ["orders", "outbox_of_the_shop", "outbox_shop_v1"]


@pytest.fixture
def installed(mysql_server: Server) -> Iterator[Session]:
    """A database with outboxd, and with things of an application whose names look like outboxd's."""
    with empty_database(mysql_server, DATABASE) as session:
        migrate(mysql_server, DATABASE)
        session.execute(
            "CREATE TABLE orders (id INT); CREATE VIEW outbox_of_the_shop AS SELECT id FROM orders;"
            "CREATE PROCEDURE outbox_shop_v1 () SELECT 1"
        )
        session.enqueue()
        yield session


def uninstall(client: Client) -> None:
    """As sql/README.md says."""
    written = client.run(DATABASE, UNINSTALL, "-N")
    assert (written.returncode, written.stderr) == (0, "")
    client.apply(DATABASE, written.stdout)


def section() -> str:
    """What sql/README.md says about uninstalling."""
    text = (CHECKOUT / "sql" / "README.md").read_text(encoding="utf-8")
    return text.partition("\n## Uninstall\n")[2]


def shown(first_word: str) -> str:
    """The SQL block of that section that begins with this word."""
    (block,) = (part.partition("```")[0] for part in section().split("```sql\n")[1:] if part.startswith(first_word))
    return block


def test_written_statements_are_only_written(installed: Session, client: Client) -> None:
    before = installed.column(OBJECTS)
    assert "DROP TABLE `outbox_migrations`;" in client.run(DATABASE, UNINSTALL, "-N").stdout.splitlines()[-1]
    assert installed.column(OBJECTS) == before


def test_uninstalled_are_the_objects_of_outboxd_but_for_the_messages(installed: Session, client: Client) -> None:
    uninstall(client)
    assert installed.column(OBJECTS) == sorted(["agent_outbox_messages", "chat_histories", *OWN])
    assert installed.value("SELECT COUNT(*) FROM agent_outbox_messages") == 1


def test_tables_may_be_dropped_afterwards(installed: Session, client: Client) -> None:
    uninstall(client)
    client.apply(DATABASE, shown("DROP TABLE"))
    assert installed.column(OBJECTS) == OWN


def test_table_that_stays_can_be_adopted_again(installed: Session, mysql_server: Server, client: Client) -> None:
    uninstall(client)
    client.apply(DATABASE, shown("ALTER TABLE"))
    migrate(mysql_server, DATABASE)
    assert installed.claim_ids() == [1]


def test_roles_are_dropped_by_name(installed: Session, client: Client) -> None:
    client.apply(DATABASE, (SQL_FOLDER / "grants.sql").read_text(encoding="utf-8"))
    client.apply(DATABASE, shown("DROP ROLE"))
    assert installed.column("SELECT user FROM mysql.user WHERE user LIKE 'outbox\\_%'") == []
