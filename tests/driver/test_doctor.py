"""`outboxd doctor`: nothing to do where all is well, and what to do where it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import Result

from outboxd.mysql.connection import Connection
from outboxd.schema import files
from tests.kit.account import Account
from tests.kit.command import Invoke, settings
from tests.kit.kafka import create_topic
from tests.kit.mock_cluster import MockCluster
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.kafka import RunningKafka


@pytest.fixture
def cluster(cluster: MockCluster) -> MockCluster:
    """A mock cluster with a topic."""
    cluster.create_topic("chat", partitions=4)
    return cluster


def findings(done: Result) -> dict[str, tuple[str, str, str]]:
    """By subject: ok or FIX, how it is, and what to do; the last one of a subject."""
    found: dict[str, tuple[str, str, str]] = {}
    subject = ""
    for line in done.output.splitlines():
        if line.startswith(("ok ", "FIX")):
            verdict, subject, state = line[:3].strip(), line[5:25].strip(), line[25:]
            found[subject] = (verdict, state, "")
        else:
            verdict, state, _ = found[subject]
            found[subject] = (verdict, state, line.strip().removeprefix("-> "))
    assert done.exit_code == any(verdict == "FIX" for verdict, _, _ in found.values()), done.output
    return found


def root_url(server: Server, database: str) -> str:
    """The address of a database for the owner of its tables."""
    return f"mysql://{server.user}@{server.host}:{server.port}/{database}"


@contextmanager
def variable(db: Session, name: str, value: str) -> Iterator[None]:
    """Give a global variable of the server another value for a while."""
    before = db.value(f"SELECT @@GLOBAL.{name}")
    db.execute(f"SET GLOBAL {name} = %s", value)
    try:
        yield
    finally:
        db.execute(f"SET GLOBAL {name} = %s", before)


def test_nothing_is_to_be_done_where_all_is_well(
    invoke: Invoke, cluster: MockCluster, mysql_server: Server, installed_database: str
) -> None:
    url = root_url(mysql_server, installed_database)
    as_daemon = invoke("doctor", kafka_bootstrap=cluster.bootstrap)
    as_owner = invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_url=url)
    for done in (as_daemon, as_owner):
        found = findings(done)
        assert {verdict for verdict, _, _ in found.values()} == {"ok"}
        assert set(found) >= {
            *("server version", "sql_mode", "isolation", "binary log", "clocks", "migrations", "rights"),
            *("event scheduler", "Kafka", "max_allowed_packet"),
        }
    assert found["migrations"][1] == "all installed, none edited"


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
    assert state == ("FIX", f"{len(files.available()) - 1} missing, the first is {second.file}", "outboxd migrate")
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
    assert verdict == "FIX"
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
    assert (verdict, state) == ("FIX", "off; the event outbox_retention is enabled")
    assert "event_scheduler = ON" in to_do


def test_clock_and_isolation_that_are_not_the_expected_are_told(invoke: Invoke, cluster: MockCluster) -> None:
    options = {"init_command": "SET timestamp = UNIX_TIMESTAMP() + 3600"}
    found = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_options=options))
    verdict, state, _ = found["clocks"]
    assert (verdict, state.endswith(" s ahead of this host's")) == ("FIX", True)
    assert abs(float(state.split()[2]) - 3600) < 5
    assert found["isolation"][:2] == ("FIX", "REPEATABLE-READ in the daemon's sessions")


def test_topics_that_are_missing_or_small_are_told(invoke: Invoke, cluster: MockCluster) -> None:
    found = findings(
        invoke("doctor", kafka_bootstrap=cluster.bootstrap, topics="chat,orders,^ch,^nothing", consumer_workers=5)
    )
    assert found["topic chat"][:2] == ("FIX", "4 partitions for 5 consumer_workers of this daemon")
    assert found["topic orders"][:2] == ("FIX", "is not there")
    assert found["topic orders"][2].endswith(f"--bootstrap-server {cluster.bootstrap} --create --topic orders")
    assert found["topic ^nothing"][:2] == ("FIX", "is not there")


def test_pattern_of_topics_that_is_none_is_told(invoke: Invoke, cluster: MockCluster) -> None:
    found = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap, topics="^(,chat"))
    assert found["topic ^("] == (
        *("FIX", "is no pattern: missing ), unterminated subpattern at position 1", "correct setting topics"),
    )
    assert found["topic chat"][0] == "ok"


def test_batches_that_do_not_fit_into_a_packet_are_told(invoke: Invoke, cluster: MockCluster, db: Session) -> None:
    packet = int(db.value("SELECT @@GLOBAL.max_allowed_packet"))
    found = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap, batch_bytes=packet))
    verdict, _, to_do = found["max_allowed_packet"]
    assert verdict == "FIX"
    assert f"set batch_bytes to {packet // 2} or less" in to_do


@pytest.mark.kafka
def test_records_that_do_not_fit_into_a_packet_are_told(
    invoke: Invoke, kafka_broker: RunningKafka, db: Session
) -> None:
    packet = int(db.value("SELECT @@GLOBAL.max_allowed_packet"))
    topics = {
        "ok": create_topic(kafka_broker.bootstrap, 4, **{"max.message.bytes": str(packet // 2)}),
        "FIX": create_topic(kafka_broker.bootstrap, 4, **{"max.message.bytes": str(packet // 2 + 1)}),
    }
    for verdict, topic in topics.items():
        output = invoke("doctor", kafka_bootstrap=kafka_broker.bootstrap, topics=topic).output
        (line,) = [line for line in output.splitlines() if line[5:].startswith("records of ")]
        assert line.startswith(verdict)
