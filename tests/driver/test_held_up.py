"""Both servers answer and nothing moves: the daemon says so, counts nothing against messages, and goes on by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from outboxd.mysql.procedures import RelayProcedures
from tests.kit.account import Account
from tests.kit.application import Application
from tests.kit.command import settings
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import count_records
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import OBSERVED, observe
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session


@pytest.fixture
def app(db: Session) -> Iterator[Application]:
    """Lend an application with handlers."""
    application = Application(db)
    yield application
    application.remove()


@pytest.fixture(autouse=True)
def topic(cluster: MockCluster) -> None:
    """A consumer whose topic does not exist is not ready."""
    cluster.create_topic("chat")


@contextmanager
def refusing(db: Session, errno: int) -> Iterator[None]:
    """The server refuses every change of a message for a reason of its own."""
    signal = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'the server has trouble'"
    db.execute(f"CREATE TRIGGER refuses BEFORE UPDATE ON agent_outbox_messages FOR EACH ROW {signal}")
    try:
        yield
    finally:
        db.execute("DROP TRIGGER refuses")


def test_relay_whose_marks_are_refused_is_not_ready_and_says_why(start_daemon: StartDaemon, db: Session) -> None:
    seen = observe(start_daemon("--only", "relay", **OBSERVED))
    seen.turns("/readyz", 200, "ok")
    with refusing(db, 1030):
        message = db.enqueue()
        seen.daemon.says("unavailable", reason="MySQL: 1030 (HY000): the server has trouble")
        seen.turns("/readyz", 503, "relay-0 has moved nothing for", seconds=60)
        seen.turns("/readyz", 503, "the server has trouble")
        seen.eventually(lambda now: now['outboxd_held_up_seconds{worker="relay-0"}'] > 30, "the metric says so")
        assert db.message(message)["retry_count"] == 0
    seen.turns("/readyz", 200, "ok")
    seen.eventually(lambda now: now['outboxd_held_up_seconds{worker="relay-0"}'] == 0, "the metric is back")
    assert db.statuses() == {message: "published"}


@pytest.mark.parametrize(
    ("lock", "unlock", "state"),
    [
        ("LOCK TABLES agent_outbox_messages READ", "UNLOCK TABLES", "table metadata lock"),
        ("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", "lock"),
    ],
)
def test_daemon_says_which_lock_it_waits_for_and_goes_on_when_it_is_free(
    start_daemon: StartDaemon, db: Session, connect: Connect, lock: str, unlock: str, state: str
) -> None:
    holder = connect()
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    message = db.enqueue()
    seen.daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")
    message = db.enqueue()
    holder.execute(lock)
    try:
        seen.daemon.says("waits for a lock")
        seen.turns("/readyz", 503, state)
        # Longer than the daemon's lock_wait_timeout.
        seen.daemon.says("unavailable", seconds=60)
    finally:
        holder.execute(unlock)
    seen.daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all is consumed")
    assert {row["retry_count"] for row in db.messages()} == {0}
    seen.turns("/readyz", 200, "ok")


@pytest.mark.parametrize(
    "lock", ["LOCK TABLES chat_histories READ", "START TRANSACTION; SELECT * FROM chat_histories FOR UPDATE"]
)
def test_lock_on_chat_histories_is_told_and_holds_up_no_other_type(
    start_daemon: StartDaemon, db: Session, app: Application, connect: Connect, lock: str
) -> None:
    app.business("records")
    holder = connect()
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    holder.execute(lock)
    chats = [db.enqueue(f"chat {number}") for number in range(20)]
    seen.daemon.says("waits for a lock", biz_type=CHAT)
    others = [db.enqueue(f"key {number}", biz_type="records", payload="{}") for number in range(20)]
    seen.daemon.eventually(
        lambda: {db.statuses()[other] for other in others} == {"consumed"}, "the others are consumed"
    )
    assert db.chats() == []
    holder.execute("UNLOCK TABLES; ROLLBACK")
    seen.daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all is consumed")
    assert {db.message(chat)["retry_count"] for chat in chats} == {0}


def test_locked_message_is_told_and_holds_up_its_lane_alone(
    start_daemon: StartDaemon, db: Session, connect: Connect
) -> None:
    holder = connect()
    daemon = start_daemon("--only", "relay")
    locked, follower = db.enqueue("a"), db.enqueue("a")
    daemon.eventually(lambda: set(db.statuses().values()) == {"published"}, "published")
    holder.execute("START TRANSACTION")
    holder.call("outbox_mark_dead_v1", locked, "not committed")
    consumer = start_daemon("--only", "consumer")
    consumer.says("waits for a lock", id=locked)
    others = [db.enqueue(f"key {number}") for number in range(20)]
    consumer.eventually(lambda: {db.statuses()[other] for other in others} == {"consumed"}, "the others are consumed")
    holder.execute("ROLLBACK")
    consumer.eventually(lambda: {db.statuses()[id_] for id_ in (locked, follower)} == {"consumed"}, "all is consumed")
    assert [event["id"] for event in consumer.events() if event["event"] == "waits for a lock"].count(locked) == 1


def test_mark_passes_over_a_locked_message_which_is_not_sent_again(
    start_daemon: StartDaemon, db: Session, connect: Connect, cluster: MockCluster
) -> None:
    holder = connect()
    locked = db.enqueue("a", topic="chat")
    holder.execute("START TRANSACTION; SELECT * FROM agent_outbox_messages WHERE id = %s FOR UPDATE", locked)
    daemon = start_daemon("--only", "relay")
    daemon.says("waits for a lock", id=locked)
    others = [db.enqueue(f"key {number}") for number in range(20)]
    daemon.eventually(lambda: {db.statuses()[other] for other in others} == {"published"}, "the others are published")
    holder.execute("ROLLBACK")
    daemon.eventually(lambda: set(db.statuses().values()) == {"published"}, "all is published")
    assert count_records(cluster.bootstrap, ["chat"]) == 1 + len(others)


def test_backup_lock_holds_up_nothing(start_daemon: StartDaemon, db: Session, connect: Connect) -> None:
    holder = connect()
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    holder.execute("LOCK INSTANCE FOR BACKUP")
    message = db.enqueue()
    seen.daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")


def test_read_only_database_is_waited_out(start_daemon: StartDaemon, db: Session, account: Account) -> None:
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    message = db.enqueue()
    db.execute(f"ALTER DATABASE {account.database} READ ONLY = 1")
    try:
        seen.daemon.eventually(lambda: "read only mode" in seen.daemon.log, "it says so")
    finally:
        db.execute(f"ALTER DATABASE {account.database} READ ONLY = 0")
    seen.daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")
    assert db.message(message)["retry_count"] == 0


@contextmanager
def slow_log(db: Session, seconds: float) -> Iterator[None]:
    """What takes longer is entered into mysql.slow_log, by sessions that are opened inside the block."""
    names = ("slow_query_log", "log_output", "long_query_time")
    usual = {name: db.value(f"SELECT @@GLOBAL.{name}") for name in names}
    try:
        for name, value in zip(names, (1, "TABLE", seconds), strict=True):
            db.execute(f"SET GLOBAL {name} = %s", value)
        yield
    finally:
        for name, value in usual.items():
            db.execute(f"SET GLOBAL {name} = %s", value)
        db.execute("TRUNCATE mysql.slow_log")


@pytest.mark.parametrize(("waits_for_work", "lines"), [(True, 0), (False, 3)])
def test_claims_that_wait_for_work_are_no_slow_queries(
    account: Account, db: Session, waits_for_work: bool, lines: int
) -> None:
    with slow_log(db, 0.1):
        with RelayProcedures(settings(account.url, wait_ms=300), waits_for_work=waits_for_work) as relay:
            for _ in range(3):
                assert list(relay.claim("relay-a", 100, 30, 300)) == []
        claims = "SELECT COUNT(*) FROM mysql.slow_log WHERE CONVERT(sql_text USING utf8mb4) LIKE 'CALL outbox_claim%'"
        assert db.value(claims) == lines
