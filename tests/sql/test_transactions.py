"""Which calls join the caller's transaction, and which own theirs and leave the caller's alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.server import Connect
from tests.kit.session import Row, Session, chat_payload, ids


@pytest.mark.parametrize(
    ("routine", "reason"),
    [("outbox_mark_published_v1", []), ("outbox_mark_failed_v1", ["no"]), ("outbox_mark_dead_v1", ["no"])],
)
def test_mark_joins_the_callers_transaction(db: Session, connect: Connect, routine: str, reason: list[str]) -> None:
    other = connect()
    message = db.enqueue()
    before = db.messages()
    db.execute("START TRANSACTION")
    db.call(routine, message, *reason)
    assert db.messages() != before
    assert other.messages() == before
    db.execute("ROLLBACK")
    assert db.messages() == before
    db.execute("START TRANSACTION")
    db.call(routine, message, *reason)
    db.execute("COMMIT")
    assert other.messages() == db.messages() != before


@pytest.mark.parametrize("kind", ["published", "failed", "dead"])
def test_batch_mark_joins_the_callers_transaction(db: Session, connect: Connect, kind: str) -> None:
    other = connect()
    db.enqueue("a")
    db.enqueue("b")
    claimed = db.claim()
    before = db.messages()
    db.execute("START TRANSACTION")
    assert db.mark(kind, claimed) == 2
    assert other.messages() == before
    db.execute("ROLLBACK")
    assert db.messages() == before
    db.execute("START TRANSACTION")
    assert db.mark(kind, claimed) == 2
    db.execute("COMMIT")
    assert [row["status"] for row in other.messages()] == [{"failed": "pending"}.get(kind, kind)] * 2
    assert other.messages() == db.messages()


def call_leave(db: Session) -> None:
    db.call("outbox_leave_v1", "relay-a")


def call_heartbeat(db: Session) -> None:
    db.call("outbox_heartbeat_v1", "relay-a", 86400)


@pytest.mark.parametrize("call", [call_leave, call_heartbeat])
def test_leave_and_heartbeat_join_the_callers_transaction(db: Session, call: Callable[[Session], None]) -> None:
    db.claim()
    before = relays(db)
    db.execute("START TRANSACTION")
    call(db)
    assert relays(db) != before
    db.execute("ROLLBACK")
    assert relays(db) == before


def relays(db: Session) -> list[Row]:
    return db.rows("SELECT * FROM outbox_slots LEFT JOIN outbox_relays USING (relay) ORDER BY slot")


OWNERS: dict[str, tuple[str, list[Any]]] = {
    "claim": ("outbox_claim_v1", ["relay-a", 10, 30, 0]),
    "claim more": ("outbox_claim_more_v1", ["relay-a", 10, 0]),
    "persist": ("outbox_persist_chat_history_v1", [1, chat_payload()]),
    "consume": ("outbox_consume_v1", [json.dumps([{"id": 1}])]),
}


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("begin", ["START TRANSACTION", "SET autocommit = 0"])
@pytest.mark.parametrize(("routine", "arguments"), OWNERS.values(), ids=OWNERS.keys())
def test_routine_that_owns_its_transaction_leaves_the_callers_alone(
    db: Session, connect: Connect, routine: str, arguments: list[Any], begin: str, end: str
) -> None:
    other = connect()
    db.execute(begin)
    message = db.enqueue()
    if "claim" not in routine:
        arguments = json.loads(json.dumps(arguments).replace('"id": 1', f'"id": {message}'))
    with pytest.raises(Exception, match=f"{routine} owns its transactions: call it outside of one") as caught:
        db.call(routine, *arguments)
    assert (caught.value.args[0], caught.value.args[2]) == (30006, "45000")
    assert db.statuses() == {message: "pending"}
    assert other.messages() == []
    db.execute(end)
    db.execute("SET autocommit = 1")
    assert other.statuses() == ({message: "pending"} if end == "COMMIT" else {})
    assert other.chats() == []
    assert other.owned("relay-a") == set()


def test_transaction_without_any_statement_is_a_transaction_too(db: Session) -> None:
    for routine, arguments in OWNERS.values():
        db.execute("START TRANSACTION")
        with pytest.raises(Exception, match="owns its transactions"):
            db.call(routine, *arguments)
        db.execute("ROLLBACK")


@pytest.mark.parametrize("routine", ["claim", "consume", "persist"])
def test_owned_transaction_is_over_when_the_call_returns_even_without_autocommit(
    db: Session, connect: Connect, routine: str
) -> None:
    session = connect()
    session.execute("SET autocommit = 0")
    message = db.enqueue()
    if routine == "claim":
        assert ids(session.claim()) == [message]
    elif routine == "consume":
        assert session.consume(db.record(message)) == {message: "consumed"}
    else:
        session.call("outbox_persist_chat_history_v1", message, chat_payload())
    assert not session.in_transaction()
    assert db.statuses() == {message: "pending" if routine == "claim" else "consumed"}
