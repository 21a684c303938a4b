"""A handler's name is part of a statement: whatever it is, only a procedure of exactly this name can be called."""

import json
from collections.abc import Iterator

import pytest

from tests.kit.application import Application
from tests.kit.session import Session, refused
from tests.security import bystanders, hostile

# What each would be, were it not quoted: the procedure `victim`, a table, other databases, other arguments.
NAMES = (
    "victim`(?, ?) -- x",
    "victim`(1, 2); DROP TABLE chat_histories; -- x",
    "`victim`",
    "``",
    "`",
    "outboxd_tests.victim",
    "outboxd_tests`.`victim",
    "sys`.`table_exists",
    "victim; SELECT 1",
    "victim(1, 'x')",
    "victim /* x */",
    " victim",
    '"victim"',
    "vic'tim",
    "vic\\tim",
    "victim\n",
    "%victim%",
    "v?ctim",
    "100% %s",
    "漢字",
    "SELECT",
)
# No procedure can have these names.
IMPOSSIBLE = ("victim`(?, ?) -- ", "victim ", "victim\0", "victim\U0001f600")


@pytest.fixture
def app(db: Session) -> Iterator[Application]:
    """An application with the procedure `victim`, which must not be called."""
    application = Application(db)
    application.handler(name="victim")
    yield application
    application.remove()


@pytest.mark.parametrize("name", NAMES)
def test_handler_of_an_odd_name_is_called_by_exactly_this_name(app: Application, db: Session, name: str) -> None:
    app.handler("INSERT INTO app_effects (message, payload) VALUES (p_id, 'the odd one')", name=name)
    db.call("outbox_register_biz_type_v1", "odd", name, None, None, None, None)
    message = db.enqueue(biz_type="odd", payload='"p"')
    assert db.consume(message) == {message: "consumed"}
    assert db.rows("SELECT message, payload FROM app_effects") == [{"message": message, "payload": "the odd one"}]


@pytest.mark.parametrize("name", NAMES + IMPOSSIBLE)
def test_handler_that_is_no_procedure_is_not_registered(app: Application, db: Session, name: str) -> None:
    before = bystanders.look(db)
    with refused(30008 if name else 30001, "p_handler"):
        db.call("outbox_register_biz_type_v1", "odd", name, None, None, None, None)
    assert bystanders.look(db).added(before) == {}
    assert app.effects() == []


@pytest.mark.parametrize("name", [*NAMES, *IMPOSSIBLE, ""])
def test_message_of_a_handler_that_is_no_procedure_fails_and_says_so(app: Application, db: Session, name: str) -> None:
    db.register("odd", name)
    bystanders.arrange(db)
    message = db.enqueue(biz_type="odd", payload='"p"', topic="own")
    before = bystanders.look(db, without=message)
    assert db.consume(message) == {message: "failed"}
    assert bystanders.look(db, without=message).added(before) == {}
    assert app.effects() == []
    assert db.message(message)["last_error"]


def test_handler_of_another_database_is_never_called(db: Session) -> None:
    db.execute("DROP DATABASE IF EXISTS elsewhere; CREATE DATABASE elsewhere")
    try:
        db.execute(
            "CREATE TABLE elsewhere.effects (id INT);"
            "CREATE PROCEDURE elsewhere.handler (p_id BIGINT, p_payload LONGTEXT)"
            " INSERT INTO elsewhere.effects VALUES (1)"
        )
        for name in ("handler", "elsewhere.handler", "elsewhere`.`handler"):
            db.register(name, name)
            message = db.enqueue(name, biz_type=name, payload='"p"')
            assert db.consume(message) == {message: "failed"}
        assert db.value("SELECT COUNT(*) FROM elsewhere.effects") == 0
    finally:
        db.execute("DROP DATABASE elsewhere")


def test_payload_is_handed_to_a_handler_as_it_is(app: Application, db: Session) -> None:
    app.business("plain")
    for text in hostile.SQL:
        payload = json.dumps(text, ensure_ascii=False)
        message = db.enqueue(biz_type="plain", payload=payload)
        assert db.consume(message) == {message: "consumed"}
        assert db.value("SELECT payload FROM app_effects WHERE message = %s", message) == payload
