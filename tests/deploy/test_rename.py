"""sql/rename.sql: moves outboxd to another database, with every row and its identity."""

from collections.abc import Iterator

import pytest

from tests.kit.installing import Client, empty_database, migrate
from tests.kit.server import SQL_FOLDER, Server
from tests.kit.session import Session

OLD, NEW = "outboxd_old_name", "outboxd_new_name"
RENAME = f"SET @new_database = '{NEW}';\n" + (SQL_FOLDER / "rename.sql").read_text(encoding="utf-8")


@pytest.fixture
def both(mysql_server: Server) -> Iterator[tuple[Session, Session]]:
    """A database with outboxd and an application's own things, and an empty one."""
    with empty_database(mysql_server, OLD) as old, empty_database(mysql_server, NEW) as new:
        migrate(mysql_server, OLD)
        old.execute("CREATE TABLE orders (id INT); CREATE PROCEDURE outbox_shop_v1 () SELECT 1")
        yield old, new


def test_outbox_goes_on_in_the_new_database(
    both: tuple[Session, Session], mysql_server: Server, client: Client
) -> None:
    old, new = both
    published, pending = old.enqueue_published("a"), old.enqueue("b")
    identity = old.call("outbox_identity_v1")[0]
    record = old.record(published)

    written = client.run(OLD, RENAME, "-N")
    assert (written.returncode, written.stderr) == (0, "")
    assert old.statuses() == {published: "published", pending: "pending"}, "it has written only"
    client.apply(OLD, written.stdout)
    assert old.column("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()") == ["orders"]
    routines = "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
    assert old.column(routines) == ["outbox_shop_v1"]

    assert migrate(mysql_server, NEW)
    assert {row["level"] for row in new.call("outbox_doctor_v1")} == {"ok"}
    assert new.claim_ids() == [pending]
    assert new.consume(record) == {published: "consumed"}
    identity["source"] = identity["source"].replace(OLD, NEW)
    assert new.call("outbox_identity_v1") == [identity]
