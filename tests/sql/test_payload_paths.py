"""One payload, one end: persist, the handler, the batch handler and the README's handler agree on every payload."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mysql.connector.errors import DatabaseError

from tests.kit.application import Application
from tests.kit.session import CHAT, Session

# What an integer may look like in JSON, and whether BIGINT takes it.
INTEGERS = {
    "0": True,
    "-0": True,
    "7": True,
    "2147483648": True,
    "4294967295": True,
    "4294967296": True,
    "5648351724360": True,
    "-4294967296": True,
    "9223372036854775807": True,
    "-9223372036854775808": True,
    "9223372036854775808": False,
    "18446744073709551615": False,
    "18446744073709551616": False,
    "-9223372036854775809": False,
    "1" + "0" * 100: False,
    "7.0": False,
    "7.5": False,
    "7e0": False,
    '"7"': False,
    '""': False,
    "true": False,
    "null": False,
    "[7]": False,
    "{}": False,
}
TEXTS = {
    "hi": True,
    "": False,
    "it's a \\ and a \"": True,
    "漢🎉\u0000\n": True,
    "x" * 32: True,
    "x" * 33: False,
    "😀" * 32: True,
    "😀" * 33: False,
    " ": True,
}


def chat(**members: str) -> str:
    """A chat payload of these JSON texts; a member that is not given is a good one, an empty one is left out."""
    good = {"user_id": "7", "conversation_id": '"c"', "role": '"user"', "message": '"hi"'}
    return "{" + ",".join(f'"{name}":{value}' for name, value in {**good, **members}.items() if value) + "}"


def classes() -> Iterator[tuple[str, bool]]:
    """Payloads, and whether each is a chat message."""
    for number, is_good in INTEGERS.items():
        yield chat(user_id=number), is_good
    for text, is_good in TEXTS.items():
        yield chat(role=json.dumps(text)), is_good
        yield chat(message=json.dumps(text)), True
        yield chat(conversation_id=json.dumps(text)), bool(text)
    yield chat(conversation_id=json.dumps("c" * 255)), True
    yield chat(conversation_id=json.dumps("c" * 256)), False
    for member in ("user_id", "conversation_id", "role", "message"):
        yield chat(**{member: ""}), False
        yield chat(**{member: "null"}), False
        yield chat(**{member: "[]"}), False
    for member in ("conversation_id", "role", "message"):
        yield chat(**{member: "7"}), False
    yield chat(more='{"deep":[1,2,{}]}'), True
    # Of two members of one name MySQL takes the last.
    yield chat()[:-1] + ',"user_id":"x"}', False
    yield '{"user_id":"x",' + chat()[1:], True
    for other in ("null", "[]", "7", '"text"', "{}", f"[{chat()}]"):
        yield other, False


PATHS = ["persist", "one by one", "in bulk"]


@pytest.fixture
def paths(db: Session) -> Iterator[None]:
    """Chat that has no batch handler, under another name."""
    db.call("outbox_register_biz_type_v1", "chat one by one", "outbox_internal_write_chat_history_v1", *[None] * 4)
    yield
    db.execute("DELETE FROM outbox_audit")


def take(db: Session, path: str, payload: str) -> tuple[str, str | None, list[Any]]:
    """Let a payload take a path; return the state of its message, why, and what is in chat_histories."""
    db.execute("DELETE FROM agent_outbox_messages; DELETE FROM chat_histories")
    message = db.enqueue(payload=payload, biz_type="chat one by one" if path == "one by one" else CHAT)
    if path == "persist":
        try:
            db.call("outbox_persist_chat_history_v1", message, payload)
        except DatabaseError as error:
            db.call("outbox_mark_dead_v1", message, error.msg if error.errno == 30007 else repr(error))
    else:
        db.consume(message)
    row = db.message(message)
    return (
        row["status"],
        row["last_error"],
        db.rows("SELECT user_id, chat_id, role, message_content FROM chat_histories"),
    )


@pytest.mark.usefixtures("paths")
def test_every_payload_has_the_same_end_on_every_path(db: Session) -> None:
    seen = 0
    for payload, is_good in classes():
        ends = [take(db, path, payload) for path in PATHS]
        assert ends[0] == ends[1] == ends[2], payload
        assert (ends[0][0] == "consumed", len(ends[0][2])) == (is_good, int(is_good)), payload
        if is_good:
            written, given = ends[0][2][0], json.loads(payload)
            assert [written["user_id"], written["chat_id"], written["role"], written["message_content"]] == [
                given[name] for name in ("user_id", "conversation_id", "role", "message")
            ]
        seen += 1
    assert seen > 70


def test_all_good_payloads_are_taken_in_bulk_beside_all_bad_ones(db: Session) -> None:
    given = list(classes())
    messages = [db.enqueue(f"key {number}", payload=payload) for number, (payload, _) in enumerate(given)]
    outcomes = db.consume(*messages)
    assert [outcomes[message] for message in messages] == ["consumed" if is_good else "dead" for _, is_good in given]


def test_enqueue_of_chat_takes_every_user_id_that_bigint_holds(db: Session) -> None:
    for user_id in (0, 4294967295, 4294967296, 5648351724360, 2**63 - 1, -(2**63)):
        message = db.out("outbox_enqueue_chat_history_v1", "chat", "k", user_id, "c", "user", "hi", None)
        assert db.consume(message) == {message: "consumed"}
        assert db.value("SELECT user_id FROM chat_histories ORDER BY id DESC LIMIT 1") == user_id


# The example of the README.
SHIP_ORDER = """
  IF NOT JSON_SCHEMA_VALID('{"type": "object", "required": ["order"],
      "properties": {"order": {"type": "integer", "minimum": 0}}}', p_payload) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30007, MESSAGE_TEXT = 'order must be an integer';
  END IF;
  INSERT INTO shipments (order_id, message_id) VALUES (JSON_VALUE(p_payload, '$.order' RETURNING UNSIGNED), p_id)
"""


@pytest.fixture(params=["utf8mb4_0900_ai_ci", "utf8mb4_0900_bin", "utf8mb4_general_ci"])
def shipments(request: pytest.FixtureRequest, db: Session, app: Application) -> Iterator[None]:
    """The README's own example: its table and its handler, made in a session of this collation."""
    db.execute(
        "CREATE TABLE shipments (order_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, message_id BIGINT UNSIGNED NOT NULL)"
    )
    db.execute(f"SET NAMES utf8mb4 COLLATE {request.param}")
    parameters = "IN p_id BIGINT UNSIGNED, IN p_payload LONGTEXT"
    db.call("outbox_register_biz_type_v1", "order_placed", app.handler(SHIP_ORDER, parameters=parameters), *[None] * 4)
    db.execute("SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin")
    yield
    db.execute("DROP TABLE shipments; DELETE FROM outbox_audit")


@pytest.mark.usefixtures("shipments")
def test_readmes_handler_takes_the_numbers_that_its_column_holds(db: Session) -> None:
    for number in INTEGERS:
        db.execute("DELETE FROM shipments")
        message = db.enqueue(number, biz_type="order_placed", payload=f'{{"order": {number}}}')
        value = json.loads(number)
        is_good = type(value) is int and 0 <= value < 2**64
        outcome = db.consume(message)[message]
        assert outcome == ("consumed" if is_good else "dead"), (number, db.message(message)["last_error"])
        assert db.column("SELECT order_id FROM shipments") == ([value] if is_good else [])
