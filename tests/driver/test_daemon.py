"""`outboxd run`: when it refuses to start, and how it ends."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from outboxd import __version__
from tests.kit.account import Account
from tests.kit.command import OUTBOXD, Run, Setting, environment, the_one_line
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topic
from tests.kit.mock_cluster import MockCluster
from tests.kit.names import unused
from tests.kit.server import Connect, Server, migration_files
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually
from tests.servers.kafka import RunningKafka


def nobody_relays(db: Session) -> bool:
    """Whether all slots are free and no relay is known."""
    owned = db.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NOT NULL")
    return not owned and db.rows("SELECT relay FROM outbox_relays") == []


# The start


def test_daemon_refuses_a_database_without_schema_and_names_the_first_migration(
    mysql_server: Server, fresh_database: str, outboxd: Run
) -> None:
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}"
    line = the_one_line(outboxd("run", mysql_url=url, topics="chat"))
    assert fresh_database in line
    assert migration_files()[0].name in line
    assert "outboxd migrate" in line


@pytest.mark.parametrize("missing", [-1, 20], ids=["the newest", "one in between"])
def test_daemon_refuses_a_schema_that_lacks_a_migration_and_names_it(
    connect: Connect, outboxd: Run, missing: int
) -> None:
    file = migration_files()[missing].name
    session = connect()
    session.execute("START TRANSACTION")
    (row,) = session.rows("SELECT * FROM outbox_migrations WHERE file = %s", file)
    session.execute("DELETE FROM outbox_migrations WHERE file = %s; COMMIT", file)
    try:
        assert file in the_one_line(outboxd("run", topics="chat"))
    finally:
        session.execute(
            "INSERT INTO outbox_migrations (version, file, checksum, installed_at, installed_by)"
            " VALUES (%s, %s, %s, %s, %s)",
            *(row[name] for name in ("version", "file", "checksum", "installed_at", "installed_by")),
        )


@pytest.fixture
def dropped(connect: Connect) -> Iterator[str]:
    """The name of a migration that a newer release's file has dropped, a file that this outboxd does not know."""
    file = migration_files()[20].name
    session = connect()
    session.execute(
        "INSERT INTO outbox_migrations (version, file)"
        " VALUES (998, 'V998__new_v1.sql'), (999, 'V999__post_old_v1.sql');"
        f"UPDATE outbox_migrations SET dropped_by = 'V999__post_old_v1.sql' WHERE file = '{file}'"
    )
    yield file
    session.execute(
        "UPDATE outbox_migrations SET dropped_by = NULL; DELETE FROM outbox_migrations WHERE version IN (998, 999)"
    )


def test_daemon_refuses_a_newer_schema_that_dropped_what_it_needs_and_names_both(outboxd: Run, dropped: str) -> None:
    line = the_one_line(outboxd("run", topics="chat"))
    assert f"{dropped} is gone, dropped by V999__post_old_v1.sql" in line
    assert f"outboxd {__version__} is too old for this schema" in line
    assert "outboxd migrate" not in line


def test_daemon_starts_on_a_newer_schema_that_has_all_it_needs(
    connect: Connect, dropped: str, start_daemon: StartDaemon
) -> None:
    # What was dropped is of a release that this one has never heard of.
    session = connect()
    session.execute("UPDATE outbox_migrations SET dropped_by = NULL WHERE file = %s", dropped)
    session.execute("UPDATE outbox_migrations SET dropped_by = 'V999__post_old_v1.sql' WHERE version = 998")
    daemon = start_daemon()
    daemon.says("started")
    assert daemon.stop() == 0


@pytest.mark.parametrize("only", [[], ["--only", "consumer"]], ids=["both halves", "consumer"])
def test_consumer_without_topics_is_refused(outboxd: Run, db: Session, only: list[str]) -> None:
    assert db.messages() == []
    assert "topics" in the_one_line(outboxd("run", *only))


def test_relay_alone_needs_no_topics(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("--only", "relay", topics="")
    daemon.says("started")
    assert daemon.stop() == 0


def test_wrong_password_ends_the_daemon_with_one_line(account: Account, outboxd: Run) -> None:
    line = the_one_line(outboxd("run", topics="chat", mysql_options={"password": "wrong"}))
    assert "Access denied" in line
    assert account.password not in line


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_daemon_at_once_and_gives_its_slots_back(
    start_daemon: StartDaemon, db: Session, number: signal.Signals
) -> None:
    daemon = start_daemon(lease_seconds=600, stop_seconds=600)
    daemon.eventually(lambda: db.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NULL") == 0, "slots taken")
    assert daemon.stop(number) == 0
    assert nobody_relays(db)
    assert [one["signal"] for one in daemon.events("stopping")] == [number.name]
    assert daemon.events()[-1]["event"] == "stopped"


def test_signal_in_the_middle_of_work_loses_and_repeats_nothing(start_daemon: StartDaemon, db: Session) -> None:
    texts = [f"{number:04}" for number in range(1500)]
    db.execute("START TRANSACTION")
    for text in texts:
        db.enqueue(text[-2:], payload=chat_payload(text))
    db.execute("COMMIT")
    first = start_daemon(batch_size=20)
    first.eventually(lambda: not {"published", "consumed"}.isdisjoint(db.statuses().values()), "work has begun")
    assert first.stop() == 0
    assert nobody_relays(db)
    assert "pending" in db.statuses().values()
    second = start_daemon()
    second.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all consumed")
    assert sorted(db.chats()) == texts


@pytest.mark.kafka
def test_daemon_that_stops_leaves_the_consumer_group_with_its_offsets_committed(
    kafka_broker: RunningKafka, start_daemon: StartDaemon, db: Session
) -> None:
    topic, group = create_topic(kafka_broker.bootstrap), unused("group")
    for key in "abcdefgh":
        db.enqueue(key, topic=topic)
    real: dict[str, Setting] = {
        "kafka_bootstrap": kafka_broker.bootstrap,
        "kafka_options": {},
        "topics": topic,
        "group": group,
    }
    daemon = start_daemon(consumer_workers=2, **real)
    daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all consumed")
    assert daemon.stop() == 0
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap})
    described = admin.describe_consumer_groups([group])[group].result(60)
    assert described.members == []
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(60)
    assert sum(partition.offset for partition in offsets.topic_partitions) == 8


def test_daemon_that_waits_for_kafka_ends_within_stop_seconds(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.go_down()
    message = db.enqueue()
    daemon = start_daemon(stop_seconds=1)
    daemon.says("unavailable", worker="consumer-0")
    daemon.eventually(lambda: relay_waits(db), "a relay has claimed")
    assert daemon.stop(seconds=30) == 0
    assert nobody_relays(db)
    assert db.statuses() == {message: "pending"}
    assert db.message(message)["retry_count"] == 0


def test_daemon_stops_in_time_where_kafka_went_away_before_the_offsets_were_committed(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    message = db.enqueue()
    daemon = start_daemon(stop_seconds=1)
    daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")
    cluster.go_down()
    assert daemon.stop(seconds=30) == 0


def relay_waits(db: Session) -> bool:
    """Whether a relay has its batch and asks MySQL for nothing: it waits for Kafka."""
    return not db.value(
        "SELECT COUNT(*) FROM performance_schema.processlist WHERE user = %s AND info LIKE %s", Account.name, "%claim%"
    )


def test_daemon_that_waits_for_mysql_at_the_start_ends_at_once(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(mysql_url="mysql://user@127.0.0.1:1/db")
    daemon.says("unavailable")
    assert daemon.stop(seconds=30) == 0


def test_second_signal_ends_a_waiting_daemon_at_once(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.go_down()
    db.enqueue()
    daemon = start_daemon(stop_seconds=600)
    daemon.says("unavailable", worker="consumer-0")
    daemon.eventually(lambda: relay_waits(db), "a relay has claimed")
    daemon.send(signal.SIGTERM)
    daemon.says("stopping")
    daemon.outlives(1)
    assert daemon.stop(signal.SIGINT) == 130


def test_signal_that_comes_while_the_daemon_writes_its_log_is_obeyed(
    account: Account, cluster: MockCluster, db: Session, tmp_path: Path
) -> None:
    """The log is a pipe that nobody reads for a while, so that the signal comes in the middle of a line."""
    assert db.messages() == []
    settings = {"mysql_url": account.url, "kafka_bootstrap": cluster.bootstrap, "topics": "chat"}
    ours, theirs = os.pipe()
    size = fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.write(theirs, b"x" * size)
    process = subprocess.Popen([OUTBOXD, "run"], env=environment(settings), cwd=tmp_path, stderr=theirs)
    os.close(theirs)
    try:
        waits = Path(f"/proc/{process.pid}/wchan")
        eventually(lambda: "pipe" in waits.read_text())
        process.send_signal(signal.SIGTERM)
        with open(ours, "rb") as log:
            drained = os.read(log.fileno(), size)
            assert len(drained) == size
            assert process.wait(60) == 0
            assert b"stopped" in log.read()
    finally:
        process.kill()
        process.wait()


def test_worker_that_fails_for_good_ends_the_daemon_which_says_why(start_daemon: StartDaemon, db: Session) -> None:
    daemon = start_daemon()
    daemon.eventually(lambda: db.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NULL") == 0, "slots taken")
    db.execute(f"ALTER USER {Account.name} ACCOUNT LOCK")
    try:
        db.kill_sessions(Account.name)
        assert daemon.wait() == 1
    finally:
        db.execute(f"ALTER USER {Account.name} ACCOUNT UNLOCK")
    assert "Account is locked" in daemon.events("failed")[0]["error"]
    assert daemon.log.splitlines()[-1].startswith("outboxd: ")
