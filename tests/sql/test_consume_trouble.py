"""Trouble of the server while a batch is consumed: it is no message's fault, and nothing is half done."""

import time

import pytest
from mysql.connector.errors import Error

from tests.kit.application import Application
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, chat_payload
from tests.kit.waiting import background, eventually


@pytest.mark.parametrize("state", ["pending", "published"])
def test_locked_message_is_not_reached_and_holds_up_its_lane_alone(db: Session, connect: Connect, state: str) -> None:
    other = connect()
    first, locked, follower = (db.enqueue_in(state, "a") for _ in range(3))
    free = db.enqueue_published("b")
    other.execute("START TRANSACTION")
    other.call("outbox_mark_failed_v1", locked, "not committed")
    before = db.messages()
    rows = db.consume_rows(first, locked, follower, free)
    assert [row["outcome"] for row in rows] == ["consumed", "not reached", "not reached", "consumed"]
    assert rows[1]["error"] == f"another session has locked message {locked}"
    # That of a published one has its published follower locked, too.
    named = f"{locked} of its lane" if state == "pending" else str(follower)
    assert rows[2]["error"] == f"another session has locked message {named}"
    assert [row for row in db.messages() if row["id"] in {locked, follower}] == before[1:3]
    other.execute("ROLLBACK")
    assert db.consume(locked, follower) == {locked: "consumed", follower: "consumed"}
    assert db.chats() == ["a", "b", "a", "a"]


def test_record_of_a_message_that_is_not_committed_waits_for_nothing(db: Session, connect: Connect) -> None:
    other = connect()
    other.execute("START TRANSACTION")
    own = other.enqueue("a")
    free = db.enqueue_published("b")
    assert db.consume(own, free) == {own: "unknown", free: "consumed"}


LOCKS = {
    "rows": "START TRANSACTION; SELECT * FROM {table} FOR UPDATE",
    "table": "LOCK TABLES {table} READ",
}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(("biz_type", "table"), [(CHAT, "chat_histories"), ("records", "app_effects")])
def test_lock_on_the_table_of_a_type_delays_its_messages_alone_and_counts_no_failure(
    db: Session, app: Application, connect: Connect, lock: str, biz_type: str, table: str
) -> None:
    app.business("records")
    app.business("free", "DO 0")
    other = connect()
    blocked = [db.enqueue_published(f"key {n % 7}", biz_type=biz_type, payload=chat_payload(str(n))) for n in range(20)]
    free = db.enqueue_published("z", biz_type="free", payload="{}")
    other.execute(LOCKS[lock].format(table=table))
    db.execute("SET innodb_lock_wait_timeout = 1, lock_wait_timeout = 1")
    # Each call waits once: the first has the effect of the other type, and later ones hold the type that waits.
    calls = []
    while "published" in db.statuses().values():
        began = time.monotonic()
        calls.append(db.consume_once(*(id_ for id_, status in db.statuses().items() if status == "published")))
        assert time.monotonic() - began < 1.9
    assert calls[0][free] == "consumed"
    assert len(calls) <= 3
    assert set(calls[0].values()) == {"consumed", "not reached"} | ({"deferred"} if biz_type != CHAT else set())
    assert set(calls[-1].values()) == {"deferred"}
    assert {(db.message(id_)["status"], db.message(id_)["retry_count"]) for id_ in blocked} == {("pending", 0)}
    assert "waits for a lock: Lock wait timeout" in db.message(blocked[0])["last_error"]
    # The next call does not try again: it would wait for the lock.
    began = time.monotonic()
    assert set(db.consume(*blocked).values()) == {"deferred"}
    assert time.monotonic() - began < 0.9
    other.execute("UNLOCK TABLES; ROLLBACK")
    db.execute("SET @outbox_held = NULL")
    while "pending" in db.statuses().values():
        db.consume(*blocked)
    assert set(db.statuses().values()) == {"consumed"}
    if biz_type == CHAT:
        assert sorted(db.chats(), key=int) == [str(n) for n in range(20)]


def test_lock_that_one_message_needs_delays_its_lane_alone(db: Session, app: Application, connect: Connect) -> None:
    app.business("counts", "UPDATE app_effects SET payload = 'done' WHERE message = p_payload")
    db.execute("INSERT INTO app_effects (message) VALUES (1), (2); ALTER TABLE app_effects ADD KEY (message)")
    other = connect()
    blocked, follower = (db.enqueue_published("b", biz_type="counts", payload=payload) for payload in "12")
    free = db.enqueue_published("a", biz_type="counts", payload="2")
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked' WHERE message = 1")
    db.execute("SET innodb_lock_wait_timeout = 1")
    assert db.consume(blocked, follower, free) == {blocked: "deferred", follower: "deferred", free: "consumed"}
    assert db.message(blocked)["retry_count"] == 0
    assert db.message(blocked)["next_retry_at"] < db.message(follower)["next_retry_at"]
    other.execute("ROLLBACK")
    assert db.consume(blocked, follower) == {blocked: "consumed", follower: "consumed"}
    assert db.message(blocked)["last_error"] is None


def test_message_alone_that_waits_for_a_lock_is_tried_once_a_call(
    db: Session, app: Application, connect: Connect
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = 'done' WHERE message = p_payload")
    db.execute("INSERT INTO app_effects (message) VALUES (1)")
    other = connect()
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    db.execute("SET innodb_lock_wait_timeout = 1")
    # The second message that waits says that the whole type does.
    for number, seconds in enumerate([1, 1, 0]):
        message = db.enqueue_published(f"key {number}", biz_type="counts", payload="1")
        began = time.monotonic()
        assert db.consume(message) == {message: "deferred"}
        assert seconds - 0.1 < time.monotonic() - began < seconds + 0.9
        assert "waits for a lock" in db.message(message)["last_error"]
    other.execute("ROLLBACK")
    time.sleep(1)
    assert set(db.consume(*db.statuses()).values()) == {"consumed"}


def test_killed_statement_is_raised_and_the_callers_rollback_undoes_everything(
    db: Session, app: Application, connect: Connect
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = p_payload WHERE message = 0")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    consumer, other = connect(), connect()
    chat = db.enqueue_published("a")
    blocked = db.enqueue_published("b", biz_type="counts", payload="{}")
    before = db.messages()
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    with background(lambda: consumer.consume(chat, blocked)) as consume:
        eventually(lambda: db.waits_for_lock(consumer.session_id))
        db.execute(f"KILL QUERY {consumer.session_id}")
        error = consume.exception(timeout=60)
    assert isinstance(error, Error)
    assert error.errno == 1317
    # No handler runs in a statement that was killed, so that the procedure cannot roll back by itself.
    consumer.execute("ROLLBACK")
    other.execute("ROLLBACK")
    assert db.messages() == before
    assert db.chats() == []
    assert consumer.consume(chat, blocked) == {chat: "consumed", blocked: "consumed"}


def test_server_that_went_read_only_changes_nothing_and_is_raised(db: Session, connect: Connect) -> None:
    consumer = connect()
    message = db.enqueue_published(biz_type=CHAT)
    before = db.messages()
    consumer.execute("SET SESSION TRANSACTION READ ONLY")
    with pytest.raises(Error, match="READ ONLY"):
        consumer.consume(message)
    assert db.messages() == before
    consumer.execute("SET SESSION TRANSACTION READ WRITE")
    assert consumer.consume(message) == {message: "consumed"}
