"""`outboxd doctor`: nothing to do where all is well, and what to do where it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from outboxd.mysql.connection import Connection
from outboxd.schema import files
from tests.kit.account import Account
from tests.kit.command import Invoke, settings
from tests.kit.daemon import StartDaemon
from tests.kit.doctor import findings
from tests.kit.kafka import create_topic, joined, members, put
from tests.kit.mock_cluster import MockCluster
from tests.kit.server import Connect, Server
from tests.kit.session import Row, Session
from tests.kit.waiting import eventually
from tests.servers.kafka import RunningKafka


@pytest.fixture
def cluster(cluster: MockCluster) -> MockCluster:
    """A mock cluster with a topic."""
    cluster.create_topic("chat", partitions=4)
    return cluster


def root_url(server: Server, database: str) -> str:
    """The address of a database for the owner of its tables."""
    return f"mysql://{server.user}@{server.host}:{server.port}/{database}"


@contextmanager
def variable(db: Session, name: str, value: str | int) -> Iterator[None]:
    """Give a global variable of the server another value for a while."""
    before = db.value(f"SELECT @@GLOBAL.{name}")
    db.execute(f"SET GLOBAL {name} = %s", value)
    try:
        yield
    finally:
        db.execute(f"SET GLOBAL {name} = %s", before)


def test_nothing_is_to_be_done_where_all_is_well(
    invoke: Invoke, cluster: MockCluster, mysql_server: Server, installed_database: str, db: Session
) -> None:
    url = root_url(mysql_server, installed_database)
    with variable(db, "innodb_flush_log_at_trx_commit", 1), variable(db, "sync_binlog", 1):
        as_daemon = invoke("doctor", kafka_bootstrap=cluster.bootstrap)
        as_owner = invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_url=url)
    for done in (as_daemon, as_owner):
        found = findings(done)
        assert {name: what for name, what in found.items() if what[0] != "ok"} == {}
        assert set(found) >= {
            *("server version", "sql_mode", "isolation", "binary log", "clocks", "migrations", "rights"),
            *("event scheduler", "Kafka", "identity", "redo log", "binary log sync"),
        }
    assert found["migrations"][1] == "all installed, none edited"


def test_ids_that_jump_or_run_out_are_found(
    invoke: Invoke, cluster: MockCluster, mysql_server: Server, installed_database: str, db: Session
) -> None:
    url = root_url(mysql_server, installed_database)
    db.enqueue()
    next_id = int(db.value("SELECT MAX(id) + 1 FROM agent_outbox_messages"))
    try:
        for jump, text, expected in (
            (next_id + 2 * 10**9, "the last message has", "warn"),
            (2**64 - 100, "soon every enqueue fails", "FIX"),
        ):
            db.execute(f"ALTER TABLE agent_outbox_messages AUTO_INCREMENT = {jump}")
            verdict, state, _ = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_url=url))["ids"]
            assert (verdict, str(jump) in state, text in state) == (expected, True, True)
    finally:
        db.execute(f"ALTER TABLE agent_outbox_messages AUTO_INCREMENT = {next_id}")
    assert findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_url=url))["ids"][0] == "ok"


@pytest.mark.parametrize(
    "lock",
    ["START TRANSACTION; UPDATE agent_outbox_messages SET max_retry = 9", "LOCK TABLES agent_outbox_messages READ"],
)
def test_session_that_keeps_locks_is_found(
    invoke: Invoke,
    mysql_server: Server,
    installed_database: str,
    db: Session,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    lock: str,
) -> None:
    monkeypatch.setattr("outboxd.commands.doctor.mysql._LONG_LOCK_SECONDS", 1)
    url = root_url(mysql_server, installed_database)
    db.enqueue()
    holder = connect()
    holder.execute(lock)

    def is_found() -> bool:
        verdict, state, to_do = findings(invoke("doctor", kafka_bootstrap="127.0.0.1:2", mysql_url=url))["locks"]
        return verdict == "FIX" and f"session {holder.session_id} " in state and f"KILL {holder.session_id}" in to_do

    eventually(is_found)
    holder.execute("ROLLBACK; UNLOCK TABLES")
    found = findings(invoke("doctor", kafka_bootstrap="127.0.0.1:2", mysql_url=url))
    assert found["locks"][:2] == ("ok", "no session has kept any for 1 s")


def test_servers_that_do_not_answer_are_named(invoke: Invoke) -> None:
    found = findings(invoke("doctor", mysql_url="mysql://user@127.0.0.1:1/db", kafka_bootstrap="127.0.0.1:2"))
    assert found["MySQL"][0] == found["Kafka"][0] == "FIX"
    assert "127.0.0.1:1" in found["MySQL"][2]
    assert "127.0.0.1:2" in found["Kafka"][2]


def test_missing_and_edited_migrations_are_named(
    invoke: Invoke, cluster: MockCluster, mysql_server: Server, fresh_database: str
) -> None:
    url = root_url(mysql_server, fresh_database)
    first, second = files.available()[:2]
    with Connection(settings(url)) as owner:
        owner.run_script(first.script)
    state = findings(invoke("doctor", mysql_url=url, kafka_bootstrap=cluster.bootstrap))["migrations"]
    assert state == (
        "FIX",
        f"{len(files.available()) - 1} missing, the first is {second.file}",
        "outboxd migrate, and then apply sql/grants.sql",
    )
    with mysql_server.connect(fresh_database) as session:
        session.execute("UPDATE outbox_migrations SET checksum = REPEAT('0', 64)")
    verdict, told, _ = findings(invoke("doctor", mysql_url=url, kafka_bootstrap=cluster.bootstrap))["migrations"]
    assert verdict == "FIX"
    assert f"{first.file} was edited" in told


def test_account_that_may_not_call_what_the_daemon_calls_is_told_which_roles_to_get(
    invoke: Invoke, cluster: MockCluster, account: Account, db: Session
) -> None:
    db.execute("DROP USER IF EXISTS outboxd_poor; CREATE USER outboxd_poor")
    db.execute(f"GRANT EXECUTE ON PROCEDURE {account.database}.outbox_version_v1 TO outboxd_poor")
    url = f"mysql://outboxd_poor@{account.server.host}:{account.server.port}/{account.database}"
    verdict, state, to_do = findings(invoke("doctor", mysql_url=url, kafka_bootstrap=cluster.bootstrap))["rights"]
    assert verdict == "FIX"
    assert "outbox_claim_v1" in state
    assert "outbox_version_v1" not in state
    assert "GRANT outbox_relay, outbox_consumer TO 'outboxd_poor'@'%'; SET DEFAULT ROLE ALL" in to_do


def test_server_that_cuts_texts_off_is_told(invoke: Invoke, cluster: MockCluster, db: Session) -> None:
    with variable(db, "sql_mode", "ANSI"):
        verdict, _, to_do = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap))["sql_mode"]
    assert verdict == "warn"
    assert "STRICT_TRANS_TABLES" in to_do


def test_retention_that_is_wanted_and_does_not_run_is_told(
    invoke: Invoke, cluster: MockCluster, db: Session, mysql_server: Server, installed_database: str
) -> None:
    url = root_url(mysql_server, installed_database)
    db.execute("ALTER EVENT outbox_retention ENABLE")
    try:
        with variable(db, "event_scheduler", "OFF"):
            found = findings(invoke("doctor", mysql_url=url, kafka_bootstrap=cluster.bootstrap))
    finally:
        db.execute("ALTER EVENT outbox_retention DISABLE")
    verdict, state, to_do = found["event scheduler"]
    assert (verdict, state) == ("warn", "off; the event outbox_retention is enabled")
    assert "event_scheduler = ON" in to_do


def test_clock_and_isolation_that_are_not_the_expected_are_told(invoke: Invoke, cluster: MockCluster) -> None:
    options = {"init_command": "SET timestamp = UNIX_TIMESTAMP() + 3600"}
    found = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_options=options))
    verdict, state, _ = found["clocks"]
    assert (verdict, state.endswith(" s ahead of this host's")) == ("warn", True)
    assert abs(float(state.split()[2]) - 3600) < 5
    assert found["isolation"][:2] == ("warn", "REPEATABLE-READ in the daemon's sessions")


def test_topics_that_are_missing_or_small_are_told(invoke: Invoke, cluster: MockCluster) -> None:
    found = findings(
        invoke("doctor", kafka_bootstrap=cluster.bootstrap, topics="chat,orders,^ch,^nothing", consumer_workers=5)
    )
    assert found["topic chat"][:2] == ("warn", "4 partitions for 5 consumer_workers of this daemon")
    assert found["topic orders"][:2] == ("FIX", "is not there")
    assert found["topic orders"][2].endswith(f"--bootstrap-server {cluster.bootstrap} --create --topic orders")
    assert found["topic ^nothing"][:2] == ("FIX", "is not there")


def test_topic_for_sending_again_that_is_missing_is_told(invoke: Invoke, cluster: MockCluster, db: Session) -> None:
    db.execute("INSERT INTO outbox_retry_topics (topic, origin_topic) VALUES ('chat.outboxd.own', 'chat')")
    done = invoke("doctor", kafka_bootstrap=cluster.bootstrap, topics="chat")
    assert findings(done)["topic chat.outboxd.own"][:2] == ("FIX", "is not there")


@pytest.mark.parametrize(
    ("name", "subject"), [("innodb_flush_log_at_trx_commit", "redo log"), ("sync_binlog", "binary log sync")]
)
def test_setting_by_which_committed_messages_may_be_lost_is_told(
    invoke: Invoke, cluster: MockCluster, db: Session, name: str, subject: str
) -> None:
    with variable(db, name, 0):
        verdict, state, to_do = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap))[subject]
    assert (verdict, state) == ("warn", f"{name} is 0")
    assert to_do.startswith(f"SET PERSIST {name} = 1")


def identity(db: Session) -> Row:
    """Who the outbox of the tests is."""
    (row,) = db.call("outbox_identity_v1")
    return row


@pytest.mark.kafka
def test_consumer_of_another_installation_in_the_group_is_told(
    invoke: Invoke, kafka_broker: RunningKafka, start_daemon: StartDaemon, db: Session
) -> None:
    topic = create_topic(kafka_broker.bootstrap, 4)
    start_daemon("--only", "consumer", kafka_bootstrap=kafka_broker.bootstrap, topics=topic, kafka_options={})

    def doctor() -> tuple[str, str, str]:
        return findings(invoke("doctor", kafka_bootstrap=kafka_broker.bootstrap, topics=topic))["consumer group"]

    group = str(identity(db)["consumer_group"])
    eventually(lambda: len(members(kafka_broker.bootstrap, group)) == 1, seconds=60)
    verdict, state, _ = doctor()
    assert (verdict, state) == ("ok", f"{group}: 1 members")
    with joined(kafka_broker.bootstrap, group, "outboxd-elsewhere-0a1b2c3d", topic):
        verdict, state, to_do = doctor()
    assert (verdict, state) == ("FIX", f"{group}: 2 members, not of this outbox: outboxd-elsewhere-0a1b2c3d")
    assert to_do.startswith("each installation needs a group of its own")


@pytest.mark.kafka
def test_records_of_another_installation_under_the_same_source_are_told(
    invoke: Invoke, kafka_broker: RunningKafka, db: Session
) -> None:
    topic = create_topic(kafka_broker.bootstrap, 2)
    message = db.enqueue("k", topic=topic)
    time = f"{db.message(message)['created_at'].isoformat()}Z"
    headers = {"ce_source": "/shop", "ce_id": str(message), "ce_time": time}

    def doctor() -> tuple[str, str, str]:
        shop = invoke("doctor", kafka_bootstrap=kafka_broker.bootstrap, topics=topic, source="/shop")
        return findings(shop)["source"]

    put(kafka_broker.bootstrap, topic, {"key": "k", "value": "{}", "headers": headers})
    assert doctor()[:2] == ("ok", "/shop: 1 records")
    old = headers | {"ce_time": "2020-01-01T00:00:00Z"}
    put(kafka_broker.bootstrap, topic, {"key": "k", "value": "{}", "headers": old})
    verdict, state, _ = doctor()
    assert verdict == "FIX"
    assert "its ce_time is not that of message" in state
