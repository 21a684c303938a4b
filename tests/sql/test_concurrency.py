"""Two sessions at once: on one message, on one key, and where they must not meet at all."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.kit.application import Application
from tests.kit.names import key_of, slot_of
from tests.kit.server import Connect
from tests.kit.session import Failing, Session, chat_payload, ids
from tests.kit.waiting import Result, background, eventually


@contextmanager
def open_transaction(session: Session) -> Iterator[None]:
    """What the block does is committed at its end; READ COMMITTED, as relays and consumers have it."""
    session.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION")
    yield
    session.execute("COMMIT")


@contextmanager
def blocked(db: Session, session: Session, call: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Start a call in another session, and wait until it waits for a lock."""
    with background(call) as future:
        eventually(lambda: db.waits_for_lock(session.session_id) or future.done())
        assert not future.done(), "it has not waited"
        yield future


# One message


@pytest.mark.parametrize("first", ["published", "failed", "dead"])
@pytest.mark.parametrize("second", ["published", "failed", "dead"])
def test_second_mark_of_a_message_waits_and_then_finds_the_new_state(
    db: Session, connect: Connect, first: str, second: str
) -> None:
    one, two = connect(), connect()
    message = db.enqueue()
    with open_transaction(one):
        one.call(*mark(first, message))
        with blocked(db, two, lambda: two.call(*mark(second, message))) as call:
            one.execute("COMMIT")
            call.result(timeout=60)
    row = db.message(message)
    expected = {
        ("published", "failed"): ("pending", 1),
        ("published", "dead"): ("dead", 0),
        ("published", "published"): ("published", 0),
        ("failed", "published"): ("published", 1),
        ("failed", "failed"): ("pending", 2),
        ("failed", "dead"): ("dead", 1),
    }
    assert (row["status"], row["retry_count"]) == expected.get((first, second), ("dead", 0))


def mark(kind: str, message: int) -> tuple[Any, ...]:
    """Return the call that marks a message."""
    return (f"outbox_mark_{kind}_v1", message, *([] if kind == "published" else [kind]))


def test_mark_that_was_rolled_back_has_not_happened_for_the_one_that_waited(db: Session, connect: Connect) -> None:
    one, two = connect(), connect()
    message = db.enqueue()
    one.execute("START TRANSACTION")
    one.call("outbox_mark_dead_v1", message, "not to be")
    with blocked(db, two, lambda: two.call("outbox_mark_published_v1", message)) as call:
        one.execute("ROLLBACK")
        call.result(timeout=60)
    assert db.statuses() == {message: "published"}


WAITS = "UPDATE app_effects SET payload = p_payload WHERE message = 0"


@contextmanager
def consuming(
    db: Session, app: Application, connect: Connect, *records: Any, then: str = "DO 0"
) -> Iterator[Future[dict[int, str]]]:
    """Another consumer is in the middle of the handler `waits`, with these messages locked, until the block ends."""
    consumer, holder = connect(), connect()
    app.handler(f"{WAITS}; {then}", name="waits")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    holder.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    with blocked(db, consumer, lambda: consumer.consume(*records)) as consumption:
        yield consumption
        holder.execute("COMMIT")


def test_two_consumers_of_one_message_have_one_effect(db: Session, app: Application, connect: Connect) -> None:
    db.register("order_placed", "waits")
    message = db.enqueue_published(biz_type="order_placed", payload="{}")
    with consuming(db, app, connect, message, then="INSERT INTO app_effects (message) VALUES (p_id)") as first:
        assert db.consume(message) == {message: "not reached"}
    assert first.result(timeout=60) == {message: "consumed"}
    assert db.consume(message) == {message: "duplicate"}
    assert app.effects() == [0, message]


def test_consumers_in_a_race_for_the_same_batch_write_each_message_once(db: Session, connect: Connect) -> None:
    messages = [db.enqueue_published(f"key {n % 5}", payload=chat_payload(str(n))) for n in range(30)]
    batch = json.dumps([db.record(message) for message in messages])
    sessions = [connect() for _ in range(4)]
    with ThreadPoolExecutor(len(sessions)) as pool:
        results = list(pool.map(lambda session: session.call("outbox_consume_v1", batch), sessions))
    outcomes = [sorted(rows[n]["outcome"] for rows in results) for n in range(30)]
    assert all(of_one.count("consumed") <= 1 for of_one in outcomes)
    assert {outcome for of_one in outcomes for outcome in of_one} <= {"consumed", "duplicate", "not reached"}
    db.consume(*messages)
    assert set(db.consume(*messages).values()) == {"duplicate"}
    written = [int(chat) for chat in db.chats()]
    assert sorted(written) == list(range(30))
    assert all([n for n in written if n % 5 == key] == list(range(key, 30, 5)) for key in range(5))


@pytest.mark.parametrize("first", ["persist", "mark dead"])
def test_of_persist_and_mark_dead_the_first_wins(db: Session, connect: Connect, first: str) -> None:
    one, two, holder = connect(), connect(), connect()
    message = db.enqueue_published()

    def persist(session: Session) -> None:
        session.call("outbox_persist_chat_history_v1", message, chat_payload("persisted"))

    def mark_dead(session: Session) -> None:
        session.call("outbox_mark_dead_v1", message, "hopeless")

    calls = [persist, mark_dead] if first == "persist" else [mark_dead, persist]
    holder.execute("START TRANSACTION; SELECT * FROM agent_outbox_messages FOR UPDATE")
    with blocked(db, one, lambda: calls[0](one)) as earlier:  # noqa: SIM117
        with blocked(db, two, lambda: calls[1](two)) as later:
            holder.execute("COMMIT")
            earlier.result(timeout=60)
            later.result(timeout=60)
    if first == "persist":
        assert db.statuses() == {message: "consumed"}
        assert db.chats() == ["persisted"]
    else:
        assert db.statuses() == {message: "dead"}
        assert db.chats() == []


@pytest.mark.parametrize("kind", ["published", "failed", "dead"])
@pytest.mark.parametrize(("then", "outcome"), [("DO 0", "consumed"), ("SIGNAL SQLSTATE '45000'", "failed")])
def test_relays_mark_that_comes_during_the_consumption_does_nothing(
    db: Session, app: Application, connect: Connect, kind: str, then: str, outcome: str
) -> None:
    relay = connect()
    db.register("order_placed", "waits")
    message = db.enqueue(biz_type="order_placed", payload="{}")
    claimed = relay.claim()
    with consuming(db, app, connect, db.record(message), then=then) as consumption:
        assert relay.mark(kind, claimed) == 0
    assert consumption.result(timeout=60) == {message: outcome}
    row = db.message(message)
    expected = ("consumed", 0) if outcome == "consumed" else ("pending", 1)
    assert (row["status"], row["retry_count"]) == expected


# One key


def test_message_is_deferred_while_the_one_before_it_is_being_consumed(db: Session, connect: Connect) -> None:
    other = connect()
    first, second = db.enqueue_published(), db.enqueue_published()
    other.execute("START TRANSACTION")
    other.execute("UPDATE agent_outbox_messages SET status = 'consumed' WHERE id = %s", first)
    assert db.consume(second) == {second: "deferred"}
    other.execute("ROLLBACK")
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}


def test_failure_and_consumption_of_its_follower_end_in_order(db: Session, app: Application, connect: Connect) -> None:
    db.register("order_placed", "waits")
    first, second = db.enqueue_published(biz_type="order_placed", payload="{}"), db.enqueue_published()
    with consuming(db, app, connect, first, then="SIGNAL SQLSTATE '45000'") as failure:
        assert db.consume(second) == {second: "deferred"}
    assert failure.result(timeout=60) == {first: "failed"}
    assert db.statuses() == {first: "pending", second: "pending"}
    assert db.chats() == []


def test_failure_leaves_a_follower_to_the_consumer_that_has_locked_it(db: Session, connect: Connect) -> None:
    consumer = connect()
    first, second, third = (db.enqueue_published(payload=chat_payload(text)) for text in ("1", "2", "3"))
    with open_transaction(consumer):
        consumer.execute("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", second)
        assert db.consume(Failing(first)) == {first: "failed"}
        assert db.statuses() == {first: "pending", second: "published", third: "pending"}
    assert db.consume(second) == {second: "deferred"}
    assert db.chats() == []


# Where sessions must not meet


CALLS: dict[str, Callable[[Session, int], object]] = {
    "mark published": lambda db, message: db.call("outbox_mark_published_v1", message),
    "mark failed": lambda db, message: db.call("outbox_mark_failed_v1", message, "why"),
    "mark dead": lambda db, message: db.call("outbox_mark_dead_v1", message, "why"),
    "mark batch published": lambda db, message: mark_batch(db, "published", message),
    "mark batch failed": lambda db, message: mark_batch(db, "failed", message),
    "mark batch dead": lambda db, message: mark_batch(db, "dead", message),
    "persist": lambda db, message: db.call("outbox_persist_chat_history_v1", message, chat_payload()),
    "consume": lambda db, message: db.consume(message),
    "consume a bad one": lambda db, message: db.consume(Failing(message)),
    "get": lambda db, message: db.call("outbox_get_v1", message),
    "list due": lambda db, _: db.call("outbox_list_due_v1", 10),
    "status": lambda db, _: db.call("outbox_status_v1"),
    "claim": lambda db, _: db.claim(),
    "enqueue": lambda db, _: db.enqueue("a key of its own"),
}


def mark_batch(db: Session, kind: str, message: int) -> None:
    receipt = db.value("SELECT next_retry_at FROM agent_outbox_messages WHERE id = %s", message)
    assert db.mark(kind, [{"id": message, "receipt": receipt}]) == 1


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_no_call_waits_for_another_keys_message(
    db: Session, connect: Connect, call: Callable[[Session, int], object], place: str
) -> None:
    slow, quick = connect(), connect()
    messages = {key: db.enqueue(key) for key in (["slow", "quick"] if place == "before" else ["quick", "slow"])}
    quick.claim()
    quick.execute("SET innodb_lock_wait_timeout = 1")
    with open_transaction(slow):
        slow.call("outbox_mark_failed_v1", messages["slow"], "not committed yet")
        call(quick, messages["quick"])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_no_call_waits_for_a_transaction_that_enqueues(
    db: Session, connect: Connect, call: Callable[[Session, int], object]
) -> None:
    app, quick = connect(), connect()
    message = db.enqueue("k")
    quick.claim()
    quick.execute("SET innodb_lock_wait_timeout = 1")
    app.execute("START TRANSACTION")
    same_key, other_key = app.enqueue("k"), app.enqueue("another")
    call(quick, message)
    app.execute("COMMIT")
    assert db.statuses().keys() >= {message, same_key, other_key}


@pytest.mark.parametrize("key", ["k", "another"])
def test_enqueue_does_not_wait_for_a_consumption_in_progress(
    db: Session, app: Application, connect: Connect, key: str
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = p_payload WHERE message = 0")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    consumer, holder, producer = connect(), connect(), connect()
    message = db.enqueue_published("k", biz_type="counts", payload="{}")
    chat = db.enqueue_published("chat")
    holder.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    producer.execute("SET innodb_lock_wait_timeout = 1")
    with blocked(db, consumer, lambda: consumer.consume(message, chat)) as consume:
        enqueued = producer.enqueue(key)
        holder.execute("COMMIT")
        assert set(consume.result(timeout=60).values()) == {"consumed"}
    assert db.statuses()[enqueued] == "pending"


@pytest.mark.parametrize("kind", ["published", "failed", "dead"])
def test_enqueue_does_not_wait_for_marks_in_progress(db: Session, connect: Connect, kind: str) -> None:
    relay, producer = connect(), connect()
    db.enqueue("k")
    db.enqueue("other")
    claimed = relay.claim()
    producer.execute("SET innodb_lock_wait_timeout = 1")
    with open_transaction(relay):
        assert relay.mark(kind, claimed) == 2
        producer.enqueue("k")
        producer.enqueue("another")


def test_enqueue_does_not_wait_for_a_claim_in_progress(db: Session, connect: Connect) -> None:
    relay, producer = connect(), connect()
    producer.execute("SET innodb_lock_wait_timeout = 1")
    with background(lambda: relay.claim(wait_ms=5000)) as claim:
        eventually(lambda: db.is_in(relay.session_id, "User sleep"))
        message = producer.enqueue()
        assert ids(claim.result(timeout=60)) == [message]


def test_claim_does_not_wait_for_locked_messages(db: Session, connect: Connect) -> None:
    relay, holder = connect(), connect()
    messages = [db.enqueue(key) for key in ("a", "b", "c")]
    relay.execute("SET innodb_lock_wait_timeout = 1")
    holder.execute("START TRANSACTION; SELECT * FROM agent_outbox_messages FOR UPDATE")
    assert relay.claim_ids() == messages
    holder.execute("ROLLBACK")


def test_relays_that_mark_at_the_same_moment_do_not_wait_for_each_other(db: Session, connect: Connect) -> None:
    one, two = connect(), connect()
    for _ in range(2):
        one.claim("relay-a")
        two.claim("relay-b")
    for slot in range(64):
        db.enqueue(key_of(slot))
    by_one, by_two = one.claim("relay-a"), two.claim("relay-b")
    two.execute("SET innodb_lock_wait_timeout = 1")
    with open_transaction(one):
        assert one.mark("published", by_one, relay="relay-a") == 32
        assert two.mark("failed", by_two, relay="relay-b") == 32
    assert {slot_of(row["message_key"]) for row in db.messages() if row["status"] == "published"} == db.owned("relay-a")


def test_deadlock_in_a_handler_is_the_failure_of_its_message_and_of_no_other(
    db: Session, app: Application, connect: Connect
) -> None:
    for biz_type in "ab":  # each has its own time in a call
        app.business(biz_type, "UPDATE app_effects SET payload = p_payload WHERE message = p_id")
    consumer, other = connect(), connect()
    first, second = (db.enqueue_published(key, biz_type=key, payload="{}") for key in "ab")
    chat = db.enqueue_published("chat")
    db.execute("INSERT INTO app_effects (message) VALUES (%s), (%s)", first, second)
    other.execute("START TRANSACTION")
    # The server gives up the transaction that has changed the fewest rows.
    other.execute("INSERT INTO app_effects (message) VALUES " + ", ".join(["(0)"] * 100))
    other.execute("UPDATE app_effects SET payload = 'other' WHERE id = 2")
    with blocked(db, consumer, lambda: consumer.consume(first, second, chat)) as consume:
        other.execute("UPDATE app_effects SET payload = 'other' WHERE id = 1")
        other.execute("ROLLBACK")
        assert consume.result(timeout=60) == {first: "consumed", second: "failed", chat: "consumed"}
    assert "Deadlock found" in db.message(second)["last_error"]
    assert consumer.consume(second) == {second: "consumed"}
    assert db.chats() == ["chat"]
