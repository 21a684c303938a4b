"""The policy calls join the caller's transaction, so that Flyway, Knex and Alembic can run them in a migration."""

from typing import Any

import pytest

from tests.kit.application import Application
from tests.kit.operators import audit
from tests.kit.server import Connect
from tests.kit.session import Session, refused

Call = tuple[str, list[Any]]
IN_BULK = "handles_in_bulk"


@pytest.fixture(autouse=True)
def ready(db: Session, app: Application) -> None:
    """Handlers, a business type that is registered and one topic that is paused."""
    db.register("known", app.handler(name="handles"))
    app.handler("DO 0", parameters="IN p_is_check BOOLEAN", name=IN_BULK)
    db.call("outbox_pause_v1", "paused", None)
    db.execute("DELETE FROM outbox_audit")


CALLS: dict[str, Call] = {
    "register": ("outbox_register_biz_type_v1", ["new", "handles", None, None, None, None]),
    "change": ("outbox_register_biz_type_v1", ["known", None, "none", 7, None, None]),
    "batch handler": ("outbox_register_batch_handler_v1", ["known", IN_BULK]),
    "pause": ("outbox_pause_v1", ["chat", None]),
    "resume": ("outbox_resume_v1", ["paused", None]),
}
BEGINS = [
    "START TRANSACTION",
    "SET SESSION autocommit = 0",
    "SET SESSION transaction_isolation = 'SERIALIZABLE'; BEGIN",
]


def policies(db: Session) -> list[Any]:
    return db.rows(
        "SELECT kind, name, handler, batch_handler, ordering, max_retry, paused_at IS NULL FROM outbox_policies"
        " ORDER BY kind, name"
    )


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("begin", BEGINS)
def test_call_is_part_of_the_callers_transaction(db: Session, connect: Connect, name: str, begin: str) -> None:
    routine, arguments = CALLS[name]
    before = policies(db)
    migration = connect()
    migration.execute(begin)
    (row,) = migration.call(routine, *arguments)
    assert row["changed"] == 1
    assert migration.in_transaction()
    assert (policies(db), audit(db)) == (before, [])
    migration.execute("ROLLBACK")
    assert (policies(db), audit(db)) == (before, [])

    migration.execute("START TRANSACTION")
    migration.call(routine, *arguments)
    migration.execute("COMMIT")
    assert policies(db) != before
    assert len(audit(db)) == 1


@pytest.mark.parametrize("name", CALLS)
def test_call_has_a_transaction_of_its_own_under_autocommit(db: Session, connect: Connect, name: str) -> None:
    routine, arguments = CALLS[name]
    before = policies(db)
    session = connect()
    session.call(routine, *arguments)
    assert not session.in_transaction()
    assert policies(db) != before


@pytest.mark.parametrize("name", CALLS)
def test_call_leaves_last_insert_id_as_it_was(db: Session, name: str) -> None:
    routine, arguments = CALLS[name]
    db.execute("DO LAST_INSERT_ID(4711)")
    db.call(routine, *arguments)
    assert len(audit(db)) == 1
    assert db.value("SELECT LAST_INSERT_ID()") == 4711


def test_refused_call_leaves_the_callers_transaction_as_it_was(db: Session, connect: Connect) -> None:
    before = policies(db)
    migration = connect()
    migration.execute("START TRANSACTION; INSERT INTO outbox_pauses (kind, name) VALUES ('topic', 'of the caller')")
    with refused(30005, "p_backoff_cap_seconds must not be less than the base"):
        migration.call("outbox_register_biz_type_v1", "new", "handles", None, None, 100, None)
    with refused(30008, "p_handler is no procedure"):
        migration.call("outbox_register_biz_type_v1", "new", "nowhere", None, None, None, None)
    with refused(30008, "p_biz_type has no handler, which must come first: publish-only"):
        migration.call("outbox_register_biz_type_v1", "publish-only", None, None, None, None, None)
        migration.call("outbox_register_batch_handler_v1", "publish-only", IN_BULK)
    assert migration.in_transaction()
    migration.execute("DELETE FROM outbox_biz_types WHERE biz_type = 'publish-only'; COMMIT")
    names = [(row["kind"], row["name"]) for row in policies(db)]
    assert names == sorted([*((row["kind"], row["name"]) for row in before), ("topic", "of the caller")])


def test_relays_go_on_while_a_migration_that_has_registered_a_type_is_open(
    db: Session, app: Application, connect: Connect
) -> None:
    migration = connect()
    migration.execute("START TRANSACTION")
    migration.call("outbox_register_biz_type_v1", "known", None, "none", None, None, None)
    migration.call("outbox_pause_v1", "chat", None)
    message = db.enqueue(biz_type="known")
    assert db.mark("published", db.claim()) == 1
    assert db.consume(message) == {message: "consumed"}
    failing = db.enqueue(biz_type="known")
    assert db.mark("failed", db.claim()) == 1
    migration.execute("COMMIT")
    db.make_due(failing)
    assert db.claim() == []
    assert app.effects() == [message]
