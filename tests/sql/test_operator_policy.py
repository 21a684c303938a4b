"""Business types: registered, changed, refused, and what a change means for messages that wait."""

from typing import Any

import pytest

from tests.kit.application import PARAMETERS, Application
from tests.kit.operators import audit
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, refused

NAMES = ("biz_type", "handler", "ordering", "max_retry", "backoff_base_seconds", "backoff_cap_seconds")


@pytest.fixture
def handler(app: Application) -> str:
    """A handler of an application."""
    return app.handler()


def register(db: Session, biz_type: Any = "order_paid", handler: Any = None, **policy: Any) -> dict[str, Any]:
    values = {"biz_type": biz_type, "handler": handler, **policy}
    (row,) = db.call("outbox_register_biz_type_v1", *(values.get(name) for name in NAMES))
    return row


def policies(db: Session) -> list[tuple[Any, ...]]:
    return [
        tuple(row.values()) for row in db.rows(f"SELECT {', '.join(NAMES)} FROM outbox_biz_types ORDER BY biz_type")
    ]


CHAT_HANDLER = "outbox_internal_write_chat_history_v1"
BUILT_IN = (CHAT, CHAT_HANDLER, "key", None, 1, 32)


def test_new_type_has_the_documented_defaults(db: Session, handler: str) -> None:
    row = register(db, handler=handler)
    expected = ("order_paid", handler, "key", None, 1, 32)
    assert tuple(row.values()) == (*expected, 1)
    assert list(row) == [*NAMES, "changed"]
    assert policies(db) == [BUILT_IN, expected]
    (entry,) = audit(db)
    assert (entry["action"], entry["biz_type"], "before" in entry) == ("register_biz_type", "order_paid", False)
    assert entry["after"] == {
        "handler": handler, "ordering": "key", "backoff_base_seconds": 1, "backoff_cap_seconds": 32,
    }  # fmt: skip


def test_null_keeps_and_all_else_changes(db: Session, handler: str) -> None:
    register(db, handler=handler, ordering="none", max_retry=7, backoff_base_seconds=2, backoff_cap_seconds=600)
    assert register(db)["changed"] == 0
    changes: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
        ({"ordering": "key"}, (handler, "key", 7, 2, 600)),
        ({"max_retry": 9}, (handler, "key", 9, 2, 600)),
        ({"max_retry": 0}, (handler, "key", None, 2, 600)),
        ({"backoff_base_seconds": 3}, (handler, "key", None, 3, 600)),
        ({"backoff_cap_seconds": 3}, (handler, "key", None, 3, 3)),
        ({"handler": CHAT_HANDLER}, (CHAT_HANDLER, "key", None, 3, 3)),
    ]
    for change, expected in changes:
        assert tuple(register(db, **change).values()) == ("order_paid", *expected, 1)
        assert policies(db)[1] == ("order_paid", *expected)
        assert register(db, **change)["changed"] == 0
    entries = audit(db)
    assert len(entries) == 1 + len(changes)
    assert (entries[-1]["before"]["handler"], entries[-1]["after"]["handler"]) == (
        handler,
        CHAT_HANDLER,
    )


def test_change_holds_for_messages_that_wait_already(db: Session, handler: str) -> None:
    register(db, handler=handler)
    message = db.enqueue(biz_type="order_paid", max_retry=20)
    register(db, backoff_base_seconds=100, backoff_cap_seconds=1000, max_retry=2)
    db.call("outbox_mark_failed_v1", message, "first")
    wait = "SELECT TIMESTAMPDIFF(SECOND, updated_at, next_retry_at) FROM agent_outbox_messages"
    assert db.value(wait) == 100
    db.call("outbox_mark_failed_v1", message, "second")
    assert db.statuses() == {message: "dead"}


def test_policy_holds_where_the_caller_has_an_older_snapshot(db: Session, handler: str, connect: Connect) -> None:
    register(db, handler=handler, max_retry=1)
    caller = connect()
    caller.execute("SET SESSION transaction_isolation = 'REPEATABLE-READ'; START TRANSACTION WITH CONSISTENT SNAPSHOT")
    message = db.enqueue(biz_type="order_paid")
    caller.call("outbox_mark_failed_v1", message, "the only time")
    caller.execute("COMMIT")
    assert db.statuses() == {message: "dead"}


def test_registered_handler_handles(db: Session, app: Application, handler: str) -> None:
    register(db, handler=handler)
    message = db.enqueue_published(biz_type="order_paid", payload="{}")
    assert db.consume(message) == {message: "consumed"}
    assert app.effects() == [message]


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "p_id BIGINT UNSIGNED",
        f"{PARAMETERS}, p_more INT",
        "IN p_id BIGINT UNSIGNED, OUT p_payload LONGTEXT CHARACTER SET utf8mb4",
    ],
)
def test_procedure_with_other_parameters_is_refused(db: Session, app: Application, parameters: str) -> None:
    other = app.handler("DO 1", parameters=parameters)
    with refused(30008, f"p_handler is no procedure (p_id, p_payload) of this database: {other}"):
        register(db, handler=other)
    assert policies(db) == [BUILT_IN]


@pytest.mark.parametrize(
    "name", ["no_such_procedure", "mysql.proc", "outbox_claim_v1; DROP TABLE t", "OUTBOX_CONSUME_V1"]
)
def test_handler_that_does_not_exist_is_refused(db: Session, name: str) -> None:
    with refused(30008, "p_handler is no procedure (p_id, p_payload) of this database"):
        register(db, CHAT, name)
    assert policies(db) == [BUILT_IN]
    assert audit(db) == []


@pytest.mark.parametrize(
    ("arguments", "errno", "text"),
    [
        ({"biz_type": None}, 30001, "p_biz_type must not be NULL"),
        ({"biz_type": ""}, 30001, "p_biz_type must not be empty"),
        ({"biz_type": "漢" * 65}, 30002, "p_biz_type has 65 characters, at most 64"),
        ({"handler": "h" * 65}, 30002, "p_handler has 65 characters, at most 64"),
        ({"ordering": "fifo"}, 30005, "p_ordering must be key or none: fifo"),
        ({"ordering": ""}, 30005, "p_ordering must be key or none: "),
        ({"ordering": "x" * 1000}, 30005, "p_ordering must be key or none: xxx"),
        ({"max_retry": -1}, 30005, "p_max_retry must be from 0 to 1000000: -1"),
        ({"max_retry": 1_000_001}, 30005, "p_max_retry must be from 0 to 1000000: 1000001"),
        ({"backoff_base_seconds": 0}, 30005, "p_backoff_base_seconds must be from 1 to 604800: 0"),
        ({"backoff_base_seconds": 604_801}, 30005, "p_backoff_base_seconds must be from 1 to 604800: 604801"),
        ({"backoff_cap_seconds": 0}, 30005, "p_backoff_cap_seconds must be from 1 to 604800: 0"),
        ({"backoff_base_seconds": 33}, 30005, "p_backoff_cap_seconds must not be less than the base"),
    ],
    ids=str,
)
def test_bad_argument_is_refused_and_changes_nothing(
    db: Session, arguments: dict[str, Any], errno: int, text: str
) -> None:
    with refused(errno, text):
        register(db, **{"biz_type": CHAT, **arguments})
    assert policies(db) == [BUILT_IN]
    assert audit(db) == []
