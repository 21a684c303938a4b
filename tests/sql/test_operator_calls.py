"""What all of the operator's routines keep to: who did it is entered, and the caller's transaction is left alone."""

from typing import Any

import pytest

from tests.kit.operators import OWN_TRANSACTION, age, ago, audit
from tests.kit.server import Connect, Server
from tests.kit.session import Session, refused

STATES = ("pending", "published", "consumed", "dead")
ANY = (None, None, None, None, None)


def requeue_dead(db: Session, *filters: Any, per_second: int | None = None, limit: int | None = None) -> int:
    return int(db.out("outbox_requeue_dead_v1", *(filters or ANY), per_second, limit))


def discard_dead(db: Session, *filters: Any, limit: int | None = None) -> int:
    return int(db.out("outbox_discard_dead_v1", *(filters or ANY), limit))


# Who did it


def test_entry_names_the_account_that_called_and_the_servers_time(db: Session, mysql_server: Server) -> None:
    message = db.enqueue_in("dead")
    database = db.value("SELECT DATABASE()")
    db.execute(f"DROP USER IF EXISTS ada; CREATE USER ada; GRANT EXECUTE ON {database}.* TO ada")
    try:
        before = db.value("SELECT UTC_TIMESTAMP(6)")
        with mysql_server.connect(database, user="ada") as ada:
            ada.execute("SET time_zone = '+09:00'")
            assert ada.out("outbox_requeue_v1", message) == 1
            account = ada.value("SELECT USER()")
        entry = db.row("SELECT * FROM outbox_audit_log")
        assert (entry["account"], entry["action"], entry["messages"]) == (account, "requeue", 1)
        assert account.startswith("ada@")
        assert before <= entry["at"] <= db.value("SELECT UTC_TIMESTAMP(6)")
    finally:
        db.execute("DROP USER ada")


def test_change_that_cannot_be_entered_is_not_made(db: Session) -> None:
    message = db.enqueue_in("dead")
    before = db.messages()
    db.execute("RENAME TABLE outbox_audit TO outbox_audit_away")
    try:
        for routine in ("outbox_requeue_v1", "outbox_discard_v1"):
            with pytest.raises(Exception, match="outbox_audit"):
                db.out(routine, message)
        for act in (requeue_dead, discard_dead):
            with pytest.raises(Exception, match="outbox_audit"):
                act(db)
    finally:
        db.execute("RENAME TABLE outbox_audit_away TO outbox_audit")
    assert db.messages() == before


# Transactions


@pytest.mark.parametrize("begin", ["START TRANSACTION", "SET autocommit = 0"])
@pytest.mark.parametrize(("routine", "arguments"), OWN_TRANSACTION.items(), ids=OWN_TRANSACTION.keys())
def test_operators_routine_leaves_the_callers_transaction_alone(
    db: Session, connect: Connect, routine: str, arguments: list[Any], begin: str
) -> None:
    session = connect()
    session.execute(begin)
    message = session.enqueue()
    with refused(30006, f"{routine.replace('purge_dead', 'discard_dead')} owns its transactions"):
        call(session, routine, arguments)
    session.execute("ROLLBACK")
    assert message not in db.statuses()
    assert audit(db) == []


@pytest.mark.parametrize(
    "settings", ["autocommit = 0", "sql_mode = 'ANSI'", "time_zone = '-11:00'", "binlog_format = 'MIXED'"]
)
@pytest.mark.parametrize(("routine", "arguments"), OWN_TRANSACTION.items(), ids=OWN_TRANSACTION.keys())
def test_operators_routine_works_in_any_session_and_leaves_no_transaction_open(
    db: Session, connect: Connect, routine: str, arguments: list[Any], settings: str
) -> None:
    messages = {state: db.enqueue_in(state, state) for state in STATES}
    for message in messages.values():
        age(db, message, 10)
    arguments = [ago(db, 5) if value == "2000-01-01" else value for value in arguments]
    if routine in {"outbox_requeue_v1", "outbox_discard_v1"}:
        arguments[0] = messages["dead"]
    if "retry" in routine or "give_up" in routine:
        failing = db.enqueue("failing")
        db.call("outbox_mark_failed_v1", failing, "as arranged")
        arguments[0] = failing if arguments[0] else None
    session = connect()
    session.execute(f"SET SESSION {settings}")
    before = db.value("SELECT UTC_TIMESTAMP(6)")
    call(session, routine, arguments)
    assert (
        db.value(
            "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s", session.session_id
        )
        == 0
    )
    assert len(audit(db)) == 1
    assert db.value("SELECT at FROM outbox_audit") >= before


def call(session: Session, routine: str, arguments: list[Any]) -> None:
    """Call a routine whose parameters after the last one that is not None may be OUT."""
    has_out = routine not in {"outbox_purge_v1", "outbox_purge_dead_v1"}
    if has_out:
        session.execute(f"CALL {routine}({', '.join(['%s'] * (len(arguments) - 1))}, @out)", *arguments[:-1])
    else:
        session.call(routine, *arguments)
