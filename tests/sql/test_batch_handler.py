"""Batch handlers: many messages of a business type take effect at once, as if one by one."""

from collections.abc import Iterator

import pytest

from tests.kit.application import Application
from tests.kit.session import Session, chat_payload, log_end, refused

CHAT = "chat_history_persist"
INSERT = "INSERT INTO app_effects (message, payload) SELECT id, 'in bulk' FROM outbox_batch WHERE outcome = 'offered'"
GIVE_BACK = "UPDATE outbox_batch SET outcome = 'todo' WHERE outcome = 'offered' AND payload LIKE '%odd%'"
GOOD = f"IF NOT p_is_check THEN {INSERT} ORDER BY id; END IF"
CAREFUL = f"IF p_is_check THEN {GIVE_BACK}; ELSE {INSERT} ORDER BY id; END IF"


@pytest.fixture
def app(db: Session) -> Iterator[Application]:
    """Lend an application with handlers."""
    application = Application(db)
    yield application
    application.remove()


def in_bulk(db: Session, app: Application, biz_type: str, body: str) -> None:
    """Register a business type whose handler records each message, and a batch handler with this body."""
    app.business(biz_type)
    name = app.handler(body, parameters="IN p_is_check BOOLEAN", name=f"{biz_type}_in_bulk")
    db.call("outbox_register_batch_handler_v1", biz_type, name)


def taken_in_bulk(db: Session) -> list[int]:
    """The messages that the batch handler took."""
    return db.column("SELECT message FROM app_effects WHERE payload = 'in bulk' ORDER BY id")


def enqueue(db: Session, biz_type: str, *payloads: str) -> list[int]:
    """Publish a message of each payload, all of one lane."""
    return [db.enqueue_published("k", biz_type=biz_type, payload=f'"{payload}"') for payload in payloads]


def test_batch_handler_gets_all_messages_of_its_type_in_one_call(db: Session, app: Application) -> None:
    in_bulk(db, app, "bulk", f"IF NOT p_is_check THEN {INSERT}; INSERT INTO app_effects (message) VALUES (0); END IF")
    messages = enqueue(db, "bulk", "a", "b", "c")
    other = db.enqueue_published("k", payload=chat_payload("chat"))
    assert db.consume(*messages, other) == dict.fromkeys([*messages, other], "consumed")
    assert sorted(app.effects()) == [0, *messages]
    assert db.statuses() == dict.fromkeys([*messages, other], "consumed")


@pytest.mark.parametrize("body", [GOOD, CAREFUL])
def test_lane_of_two_types_keeps_its_order_whichever_has_a_batch_handler(
    db: Session, app: Application, body: str
) -> None:
    in_bulk(db, app, "bulk", body)
    app.business("single")
    messages = [db.enqueue_published("k", biz_type=kind, payload="1") for kind in ("bulk", "single", "bulk", "single")]
    other = db.enqueue_published("other", biz_type="bulk", payload="1")
    assert set(db.consume(*messages, other).values()) == {"consumed"}
    assert [effect for effect in app.effects() if effect != other] == messages
    assert sorted(taken_in_bulk(db)) == [messages[0], other]


def test_what_the_batch_handler_gives_back_is_handled_by_itself_and_before_what_is_behind_it(
    db: Session, app: Application
) -> None:
    in_bulk(db, app, "bulk", CAREFUL)
    messages = enqueue(db, "bulk", "a", "odd", "b")
    db.consume(*messages)
    assert app.effects() == messages
    assert taken_in_bulk(db) == messages[:1]


@pytest.mark.parametrize("when", ["p_is_check", "NOT p_is_check"])
def test_batch_handler_that_fails_leaves_each_message_to_the_handler(db: Session, app: Application, when: str) -> None:
    fail = f"IF {when} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF"
    in_bulk(db, app, "bulk", f"IF NOT p_is_check THEN {INSERT}; END IF; {fail}")
    messages = enqueue(db, "bulk", "a", "b")
    db.consume(*messages)
    assert app.effects() == messages


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_batch_handler_that_ends_the_transaction_repeats_and_loses_no_effect(
    db: Session, app: Application, end: str
) -> None:
    in_bulk(db, app, "bulk", f"IF NOT p_is_check THEN {INSERT} ORDER BY id; {end}; END IF")
    messages = enqueue(db, "bulk", "a", "b")
    chat = db.enqueue_published("c", payload=chat_payload("chat"))
    assert set(db.consume(*messages, chat).values()) <= {"consumed", "duplicate"}
    assert app.effects() == messages
    assert db.chats() == ["chat"]
    assert set(db.statuses().values()) == {"consumed"}


@pytest.mark.parametrize("end", ["SET @outbox_none = NULL", "COMMIT", "ROLLBACK", "SIGNAL SQLSTATE '45000'"])
def test_mark_keeps_payloads_out_of_the_binary_log_and_the_handler_does_not(
    db: Session, app: Application, end: str
) -> None:
    in_bulk(db, app, "bulk", f"IF p_is_check THEN {end}; ELSE {INSERT}; END IF")
    images = db.column("SELECT @@binlog_row_image")
    messages = enqueue(db, "bulk", *("x" * 900_000 for _ in range(3)))
    before = log_end(db)
    assert set(db.consume(*messages).values()) == {"consumed"}
    assert log_end(db) - before < 100_000 or taken_in_bulk(db) == []
    assert db.column("SELECT @@binlog_row_image") == images


def test_type_that_gets_another_handler_loses_its_batch_handler(db: Session, app: Application) -> None:
    in_bulk(db, app, "bulk", GOOD)
    other = app.handler(name="other")
    db.call("outbox_register_biz_type_v1", "bulk", other, None, None, None, None)
    messages = enqueue(db, "bulk", "a", "b")
    db.consume(*messages)
    assert (app.effects(), taken_in_bulk(db)) == (messages, [])


def test_batch_handler_is_taken_away_by_null_and_every_change_is_audited(db: Session, app: Application) -> None:
    in_bulk(db, app, "bulk", GOOD)
    (row,) = db.call("outbox_register_batch_handler_v1", "bulk", None)
    assert row == {"biz_type": "bulk", "handler": "bulk", "batch_handler": None, "changed": 1}
    (row,) = db.call("outbox_register_batch_handler_v1", "bulk", None)
    assert row["changed"] == 0
    actions = "SELECT COUNT(*) FROM outbox_audit WHERE action = 'register_batch_handler'"
    assert db.value(actions) == 2


@pytest.mark.parametrize(
    ("biz_type", "batch_handler", "errno", "text"),
    [
        (None, None, 30001, "p_biz_type must not be NULL"),
        ("nobody", None, 30008, "p_biz_type is not registered in outbox_biz_types: nobody"),
        (CHAT, "", 30001, "p_batch_handler must not be empty"),
        (CHAT, "nowhere", 30008, "p_batch_handler is no procedure (p_is_check) of this database: nowhere"),
        (CHAT, "outbox_internal_write_chat_history_v1", 30008, "p_batch_handler is no procedure (p_is_check)"),
        (CHAT, "x" * 65, 30002, "p_batch_handler has 65 characters"),
    ],
)
def test_batch_handler_that_makes_no_sense_is_rejected(
    db: Session, biz_type: str | None, batch_handler: str | None, errno: int, text: str
) -> None:
    with refused(errno, text):
        db.call("outbox_register_batch_handler_v1", biz_type, batch_handler)
