"""Binary logs: a replica ends equal, and neither it nor group replication has anything to object to."""

from collections.abc import Iterator

import pytest

from tests.deploy.replication import Pair, contents, pair
from tests.kit.installing import migrate
from tests.kit.session import Session, chat_payload, refused
from tests.servers.mysql_install import MySQLInstall

UNSAFE = 1592


@pytest.fixture(scope="module")
def servers(mysql_programs: MySQLInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A source and its replica."""
    with pair(mysql_programs, tmp_path_factory.mktemp("replication")) as made:
        yield made


class Watched(Session):
    """A session that fails the test where a statement has a warning about the binary log."""

    def rows(self, sql: str, *params: object) -> list[dict[str, object]]:
        """As the base class, and looks at the warnings."""
        result = super().rows(sql, *params)
        if sql.startswith("CALL"):
            warnings = super().rows("SHOW WARNINGS")
            assert UNSAFE not in {warning["Code"] for warning in warnings}, (sql, warnings)
        return result


def installed(servers: Pair, name: str, binlog_format: str) -> Watched:
    """A session with this format of the binary log, on a new database that has all migrations."""
    servers.source.create_database(name)
    with servers.source.connect("mysql") as session:
        session.execute(f"SET GLOBAL binlog_format = '{binlog_format}'")
    migrate(servers.source, name)
    session = Watched(host=servers.source.host, port=servers.source.port, user=servers.source.user, database=name)
    assert session.value("SELECT @@binlog_format") == binlog_format
    return session


def work(db: Session) -> None:
    """Send messages all ways that there are."""
    db.execute("CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY, payload TEXT)")
    db.execute(
        "CREATE PROCEDURE handle_order (p_id BIGINT UNSIGNED, p_payload LONGTEXT)"
        " INSERT INTO orders VALUES (p_id, p_payload)"
    )
    db.call("outbox_register_biz_type_v1", "order", "handle_order", "none", 3, 1, 8)

    chats = [db.enqueue(f"key {number % 7}", payload=chat_payload(f"text {number}")) for number in range(40)]
    orders = [db.enqueue(f"key {number % 7}", biz_type="order", payload="{}") for number in range(10)]
    odd = [db.enqueue("key 1", biz_type="nobody knows it"), db.enqueue("key 2", payload="[]")]
    db.execute("START TRANSACTION")
    db.enqueue("rolled back")
    db.execute("ROLLBACK")

    db.claim("relay-a")
    db.claim("relay-b")
    claims = {relay: db.claim(relay) for relay in ("relay-a", "relay-b", "relay-a")}
    for relay, rows in claims.items():
        db.mark("failed", rows[:2], relay)
        db.mark("dead", rows[2:3], relay)
        db.mark("published", rows[3:], relay)
    db.execute("UPDATE orders SET id = id")
    db.execute(f"INSERT INTO orders VALUES ({orders[5]}, 'in the way')")  # this one's handler fails
    db.consume(*chats, *orders, *odd)
    db.consume(chats[-1], 10**6)
    for message, status in db.statuses().items():
        if status == "pending":
            db.call("outbox_mark_failed_v1", message, "once more")
    for relay in claims:
        db.call("outbox_heartbeat_v1", relay, 30)
        db.call("outbox_leave_v1", relay)

    dead = [message for message, status in db.statuses().items() if status == "dead"]
    assert len(dead) >= 3
    db.out("outbox_requeue_v1", dead[0])
    db.out("outbox_discard_v1", dead[1])
    db.out("outbox_requeue_dead_v1", None, None, None, None, None, 10, 100)
    db.call("outbox_pause_v1", "chat", None)
    db.call("outbox_resume_v1", "chat", None)
    db.out("outbox_recover_published_v1", 0, 10)
    db.call("outbox_purge_v1", db.value("SELECT UTC_TIMESTAMP(6)"), 5)
    assert set(db.statuses().values()) == {"pending", "consumed"}


@pytest.mark.parametrize("binlog_format", ["MIXED", "ROW"])
def test_replica_ends_equal_row_by_row(servers: Pair, binlog_format: str) -> None:
    name = f"outboxd_{binlog_format.lower()}"
    with installed(servers, name, binlog_format) as db:
        work(db)
        servers.wait(db)
        ours, theirs = contents(servers.source, name), contents(servers.replica, name)
        assert len(ours["agent_outbox_messages"]) > 40
        assert len(ours["chat_histories"]) > 20
        assert len(ours["outbox_audit"]) > 5
        for table, rows in ours.items():
            assert theirs[table] == rows, table
    with servers.replica.connect(name) as replica:
        assert replica.value("SELECT SUM(messages) FROM outbox_status") == len(ours["agent_outbox_messages"])
        assert replica.row("SHOW GLOBAL STATUS LIKE 'Replica_open_temp_tables'")["Value"] == "0"


def test_every_commit_waited_for_the_replica(servers: Pair) -> None:
    with installed(servers, "outboxd_semisync", "MIXED") as db:
        before = servers.semisync()
        db.consume(db.enqueue())
    after = servers.semisync()
    assert after["status"] == "ON"
    assert int(after["yes_tx"]) >= int(before["yes_tx"]) + 2
    assert after["no_tx"] == before["no_tx"]


def test_log_of_statements_takes_what_applications_do_and_refuses_the_rest(servers: Pair) -> None:
    name = "outboxd_statement"
    with installed(servers, name, "MIXED") as db:
        db.execute("SET SESSION binlog_format = 'STATEMENT'")
        for number in range(10):
            db.enqueue(f"key {number}", payload=chat_payload("it's 😀"))
        # READ COMMITTED, on which no transaction of outboxd's own can do without, is not for a log of statements.
        with pytest.raises(Exception, match="BINLOG_FORMAT = STATEMENT"):
            db.claim()
        db.execute("ROLLBACK")
        servers.wait(db)
        assert contents(servers.source, name) == contents(servers.replica, name)


def test_every_table_has_a_primary_key(servers: Pair) -> None:
    # The source would have refused one without (sql_require_primary_key), a temporary one included.
    with installed(servers, "outboxd_keys", "ROW") as db:
        assert db.value("SELECT @@sql_require_primary_key") == 1
        assert db.consume(db.enqueue()) != {}
        without = db.column(
            "SELECT t.table_name FROM information_schema.tables AS t"
            " LEFT JOIN information_schema.table_constraints AS c"
            " ON c.table_schema = t.table_schema AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY'"
            " WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND c.constraint_name IS NULL"
        )
        engines = db.column(
            "SELECT DISTINCT engine FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
        )
    assert (without, engines) == ([], ["InnoDB"])


def test_group_replication_accepts_everything(servers: Pair) -> None:
    # Last, because from here on the source takes nothing but ROW.
    with installed(servers, "outboxd_group", "ROW") as db:
        servers.start_group()
        work(db)
        with refused(30004, "there is no such message"):
            db.call("outbox_mark_dead_v1", 10**6, "x")
        servers.wait(db)
        assert contents(servers.source, "outboxd_group") == contents(servers.replica, "outboxd_group")
    log = servers.error_log.read_text(encoding="utf-8", errors="replace")
    assert "not compatible with Group Replication" not in log
    assert "nsafe statement" not in log
