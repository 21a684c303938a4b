"""MySQL or Kafka away, at the start or later: the daemon says so once, and goes on by itself."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.own_servers import SMALL, OwnMySQL
from tests.kit.command import Setting
from tests.kit.daemon import QUICK, Daemon, StartDaemon, daemons
from tests.kit.kafka import QUICK_GROUP, create_topic
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import application
from tests.kit.server import Connect
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually
from tests.servers.kafka_cluster import KafkaCluster
from tests.servers.mysql_install import MySQLInstall

# librdkafka's own wait between attempts is up to 10 s.
IMPATIENT = {**QUICK_GROUP, "reconnect.backoff.max.ms": 500}


def all_consumed(db: Session) -> Callable[[], bool]:
    """Whether there are messages, and all are consumed without having used up a retry."""

    def look() -> bool:
        rows = db.rows("SELECT status, retry_count FROM agent_outbox_messages")
        assert {row["retry_count"] for row in rows} <= {0}
        assert "dead" not in {row["status"] for row in rows}
        return {row["status"] for row in rows} == {"consumed"}

    return look


def said(daemon: Daemon, name: str) -> dict[str, list[str]]:
    """By worker, what it has said under this name."""
    by_worker: dict[str, list[str]] = {}
    for event in daemon.events(name):
        by_worker.setdefault(event.get("worker", "main"), []).append(event.get("reason") or event.get("what") or "")
    return by_worker


# MySQL


@pytest.fixture
def start_on_own_mysql(own_mysql: OwnMySQL, cluster: MockCluster, tmp_path: Path) -> Iterator[StartDaemon]:
    """Start daemons on the MySQL that is broken here; it runs again afterwards."""
    cluster.create_topic("chat")
    base: dict[str, Setting] = {
        "mysql_url": own_mysql.url,
        "kafka_bootstrap": cluster.bootstrap,
        "kafka_options": QUICK_GROUP,
        "topics": "chat",
        **QUICK,
    }
    own_mysql.start()
    with own_mysql.connect() as session:
        session.clean()
    with daemons(tmp_path, base) as start:
        yield start
    own_mysql.start()


def test_mysql_that_is_away_at_the_start_is_waited_for(own_mysql: OwnMySQL, start_on_own_mysql: StartDaemon) -> None:
    with own_mysql.connect() as db:
        db.enqueue("before")
    own_mysql.stop()
    daemon = start_on_own_mysql()
    daemon.says("unavailable")
    daemon.outlives(1)
    assert daemon.events("started") == []
    own_mysql.start()
    with own_mysql.connect() as db:
        daemon.eventually(all_consumed(db), "consumed", seconds=60)
        assert db.chats() == ["before"]
    assert_said_of_mysql(daemon, "watcher")
    assert daemon.stop() == 0


def test_mysql_that_goes_away_later_is_waited_for(own_mysql: OwnMySQL, start_on_own_mysql: StartDaemon) -> None:
    daemon = start_on_own_mysql(relay_workers=2)
    with own_mysql.connect() as db:
        db.enqueue("before")
        daemon.eventually(all_consumed(db), "the first is consumed")
    own_mysql.stop()
    for relay in ("relay-0", "relay-1"):
        daemon.says("unavailable", worker=relay)
    daemon.outlives(1)
    own_mysql.start()
    with own_mysql.connect() as db:
        after = db.enqueue("after")
        db.enqueue("after")
        daemon.eventually(all_consumed(db), "consumed", seconds=60)
        assert db.chats() == ["before", "after", "after"]
        assert db.message(after)["retry_count"] == 0
    for relay in ("relay-0", "relay-1"):
        assert_said_of_mysql(daemon, relay)
    assert daemon.stop() == 0


def assert_said_of_mysql(daemon: Daemon, worker: str) -> None:
    """The worker says why it waits, each reason once, and once that MySQL is back."""
    daemon.eventually(lambda: worker in said(daemon, "available"), f"{worker} is back")
    reasons = said(daemon, "unavailable")[worker]
    assert len(set(reasons)) == len(reasons), reasons
    assert all(reason.startswith("MySQL: ") for reason in reasons), reasons
    assert len(said(daemon, "available")[worker]) == 1


def test_mysql_that_is_killed_under_load_loses_and_repeats_nothing(
    own_mysql: OwnMySQL, start_on_own_mysql: StartDaemon
) -> None:
    texts = [f"{number:04}" for number in range(2000)]
    with own_mysql.connect() as db:
        db.execute("START TRANSACTION")
        for text in texts:
            db.enqueue(text[-1], payload=chat_payload(text))
        db.execute("COMMIT")
        daemon = start_on_own_mysql(batch_size=100)
        daemon.eventually(lambda: bool(db.chats()), "the first are consumed")
    own_mysql.kill()
    own_mysql.start()
    with own_mysql.connect() as db:
        daemon.eventually(all_consumed(db), "consumed", seconds=60)
        assert sorted(db.chats()) == texts
        for last_digit in "0123456789":
            of_key = [text for text in db.chats() if text.endswith(last_digit)]
            assert of_key == sorted(of_key)
    assert daemon.stop() == 0


def test_connections_that_were_ended_while_idle_are_made_again(
    own_mysql: OwnMySQL, start_on_own_mysql: StartDaemon
) -> None:
    """As a firewall or wait_timeout does at night, when nobody chats."""
    daemon = start_on_own_mysql()
    with own_mysql.connect() as db:
        db.enqueue("before")
        daemon.eventually(all_consumed(db), "the first is consumed")
        for session in db.column("SELECT id FROM performance_schema.processlist WHERE id <> CONNECTION_ID()"):
            db.execute(f"KILL {session}")
        db.enqueue("after")
        daemon.eventually(all_consumed(db), "the second is consumed", seconds=60)
    assert daemon.stop() == 0


def test_stop_ends_in_time_though_mysql_answers_nothing(own_mysql: OwnMySQL, start_on_own_mysql: StartDaemon) -> None:
    """As behind a switch that has failed: no connection is closed, and no byte comes."""
    daemon = start_on_own_mysql(stop_seconds=1)
    daemon.says("started")
    with own_mysql.connect() as db:
        daemon.eventually(lambda: db.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NULL") == 0, "slots taken")
    own_mysql.freeze()
    try:
        daemon.send(signal.SIGTERM)
        daemon.wait(45)
    finally:
        own_mysql.thaw()


def test_stop_ends_in_time_though_mysql_does_not_answer_at_the_start(
    start_daemon: StartDaemon, db: Session, connect: Connect
) -> None:
    holder = connect()
    holder.execute("LOCK TABLES outbox_migrations WRITE")
    daemon = start_daemon(stop_seconds=1, wait_ms=500)
    waits = "SELECT COUNT(*) FROM performance_schema.processlist WHERE state = 'Waiting for table metadata lock'"
    daemon.eventually(lambda: db.value(waits) == 1, "it asks for the schema")
    assert daemon.stop(seconds=45) == 0
    holder.execute("UNLOCK TABLES")
    assert daemon.events("gave up") == []


def test_message_that_fails_goes_on_while_another_of_the_batch_is_locked(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session, connect: Connect
) -> None:
    cluster.create_topic("chat", 1)
    db.execute("CREATE PROCEDURE fails (p_id BIGINT UNSIGNED, p_payload LONGTEXT) SIGNAL SQLSTATE '45000'")
    db.register("fails", "fails")
    try:
        failing = db.enqueue("a", biz_type="fails", payload="{}")
        locked = db.enqueue("b", payload=chat_payload("x" * 1500))
        holder = connect()
        holder.execute("START TRANSACTION")
        holder.rows("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", locked)
        daemon = start_daemon()
        daemon.eventually(lambda: db.message(failing)["retry_count"] > 1, "the other has failed twice")
        assert db.message(locked)["status"] in {"pending", "published"}
        holder.execute("ROLLBACK")
        daemon.eventually(lambda: db.message(locked)["status"] == "consumed", "the other is consumed")
        assert daemon.stop() == 0
    finally:
        db.execute("DROP PROCEDURE fails")


def test_call_whose_handlers_write_more_than_the_binary_log_takes_is_made_for_fewer_messages(
    own_mysql: OwnMySQL, start_on_own_mysql: StartDaemon
) -> None:
    """The server gives up in the middle of a statement, and no handler of a procedure sees that."""
    with own_mysql.connect_as_root() as root, own_mysql.connect() as db, application(db) as app:
        usual = root.value("SELECT @@GLOBAL.max_binlog_cache_size")
        app.business("writes", "INSERT INTO app_effects (message, payload) VALUES (p_id, REPEAT('x', 50000))")
        db.execute("START TRANSACTION")
        messages = [db.enqueue(f"{number}", biz_type="writes", payload="1") for number in range(100)]
        db.execute("COMMIT")
        root.execute("SET GLOBAL max_binlog_cache_size = 524288")
        try:
            daemon = start_on_own_mysql()
            daemon.eventually(all_consumed(db), "consumed", seconds=60)
        finally:
            root.execute("SET GLOBAL max_binlog_cache_size = %s", usual)
        assert sorted(app.effects()) == messages
        assert daemon.stop() == 0


def test_lock_that_a_handler_waits_for_in_vain_is_no_failure_where_the_server_rolls_all_back(
    mysql_programs: MySQLInstall, tmp_path: Path
) -> None:
    own = OwnMySQL(mysql_programs, tmp_path / "data", (*SMALL, "--innodb-rollback-on-timeout=ON"))
    own.start()
    try:
        own.prepare()
        with own.connect() as db, own.connect() as holder, application(db) as app:
            db.execute("INSERT INTO app_effects (message) VALUES (0); SET SESSION innodb_lock_wait_timeout = 1")
            app.business("waits", "UPDATE app_effects SET payload = p_payload, message = p_id WHERE id = 1")
            locked = db.enqueue_published("a", biz_type="waits", payload="1")
            free = db.enqueue_published("b")
            holder.execute("START TRANSACTION; SELECT id FROM app_effects WHERE id = 1 FOR UPDATE")
            assert db.consume(free, locked) == {free: "consumed", locked: "deferred"}
            row = db.message(locked)
            assert (row["status"], row["retry_count"]) == ("pending", 0)
            assert row["last_error"].startswith("waits for a lock: ")
            holder.execute("ROLLBACK")
            eventually(lambda: db.consume(locked) == {locked: "consumed"}, seconds=10)
            assert app.effects() == [locked]
    finally:
        own.stop()


# Kafka


@pytest.fixture
def on_own_kafka(own_kafka: KafkaCluster) -> Iterator[dict[str, Any]]:
    """Settings for a topic on the Kafka that is broken here; it runs again afterwards."""
    own_kafka.start()
    topic = create_topic(own_kafka.bootstrap)
    yield {"kafka_bootstrap": own_kafka.bootstrap, "kafka_options": IMPATIENT, "topics": topic, "group": topic}
    own_kafka.start()


@pytest.mark.kafka
def test_kafka_that_is_away_at_the_start_and_again_later_is_waited_for(
    own_kafka: KafkaCluster, on_own_kafka: dict[str, Any], start_daemon: StartDaemon, db: Session
) -> None:
    topic = on_own_kafka["topics"]
    own_kafka.stop()
    for key in "abc":
        db.enqueue(key, topic=topic)
    daemon = start_daemon(**on_own_kafka)
    daemon.says("unavailable", worker="consumer-0")
    daemon.outlives(1)
    assert set(db.statuses().values()) == {"pending"}
    own_kafka.start()
    daemon.eventually(all_consumed(db), "the first are consumed", seconds=60)
    assert_said(daemon, times=1)

    said_before = len(daemon.events("unavailable"))
    own_kafka.stop()
    for key in "abcdefgh":
        db.enqueue(key, topic=topic)
    daemon.says("unavailable", count=said_before + 1)
    daemon.outlives(1)
    assert "published" not in db.statuses().values()
    own_kafka.start()
    daemon.eventually(all_consumed(db), "all are consumed", seconds=60)
    assert sorted(db.chats()) == sorted("abcabcdefgh")
    assert_said(daemon, times=2)
    assert daemon.stop() == 0


def assert_said(daemon: Daemon, times: int) -> None:
    """Each worker that noticed says, each time, why Kafka is away, each reason once, and once that it is back."""

    def outages() -> dict[str, list[list[str]]]:
        """By worker, the reasons of each outage; the last list is of the one that is not over."""
        by_worker: dict[str, list[list[str]]] = {}
        for event in daemon.events():
            reasons = by_worker.setdefault(event.get("worker", "main"), [[]])
            if event["event"] == "unavailable":
                reasons[-1].append(event["reason"])
            elif event["event"] == "available":
                reasons.append([])
        return {worker: reasons for worker, reasons in by_worker.items() if reasons != [[]]}

    daemon.eventually(lambda: {len(of[-1]) for of in outages().values()} == {0}, "each says that Kafka is back")
    for *over, _ in outages().values():
        assert 1 <= len(over) <= times, outages()
        for reasons in over:
            kinds = {reason.rpartition(": ")[2].partition(" (")[0] for reason in reasons}
            assert len(kinds) == len(reasons) > 0, reasons
            assert all(reason.startswith("Kafka: ") for reason in reasons)


def test_messages_wait_out_kafka_though_their_timeout_passes_again_and_again(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat")
    cluster.go_down()
    messages = [db.enqueue(key) for key in "abc"]
    daemon = start_daemon(kafka_options={**IMPATIENT, "message.timeout.ms": 400}, relay_workers=1)
    daemon.says("unavailable", worker="relay-0")
    daemon.outlives(3)
    assert [(db.message(message)["status"], db.message(message)["retry_count"]) for message in messages] == [
        ("pending", 0)
    ] * 3
    cluster.come_up()
    daemon.eventually(all_consumed(db), "consumed", seconds=60)
    assert_said(daemon, times=1)
    assert daemon.stop() == 0
