"""Sessions as applications and tools have them: whatever they have set, the calls mean the same."""

import json
import time
from datetime import timedelta

import pytest

from tests.kit.server import Connect
from tests.kit.session import Row, Session, as_text, chat_payload

SETTINGS = {
    "the server's defaults": "innodb_lock_wait_timeout = 10",
    "ANSI": "sql_mode = 'ANSI'",
    "no sql_mode": "sql_mode = ''",
    "a strict sql_mode": "sql_mode = 'TRADITIONAL,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH'",
    "far east": "time_zone = '+13:00'",
    "far west": "time_zone = '-11:00'",
    "no autocommit": "autocommit = 0",
    "read uncommitted": "transaction_isolation = 'READ-UNCOMMITTED'",
    "serializable": "transaction_isolation = 'SERIALIZABLE'",
    "serializable without autocommit": "transaction_isolation = 'SERIALIZABLE', autocommit = 0",
    "MIXED": "binlog_format = 'MIXED'",
    "another collation": "collation_connection = utf8mb4_general_ci",
    "old tables": "default_storage_engine = MyISAM, default_tmp_storage_engine = MyISAM",
    "sql_require_primary_key": "sql_require_primary_key = 1",
}


@pytest.fixture(params=list(SETTINGS.values()), ids=list(SETTINGS))
def session(request: pytest.FixtureRequest, connect: Connect) -> Session:
    """A session with these settings."""
    made = connect()
    made.execute(f"SET SESSION {str(request.param).replace(', ', ', SESSION ')}")
    return made


def call(session: Session, routine: str, *arguments: object) -> list[Row]:
    """Call a routine and commit, which a session without autocommit has to do itself."""
    rows = session.call(routine, *arguments)
    session.execute("COMMIT")
    return rows


def out(session: Session, routine: str, *arguments: object) -> int:
    """The same for a routine that answers by its last parameter."""
    answer = int(session.out(routine, *arguments))
    session.execute("COMMIT")
    return answer


def test_message_goes_its_way_in_any_session(db: Session, session: Session) -> None:
    begin = db.value("SELECT UTC_TIMESTAMP(6)")
    texts = ["it's a \\ and a \"", "Grüße, 世界 😀 || 'x'"]
    payload = chat_payload(texts[1])
    first = out(session, "outbox_enqueue_chat_history_v1", "chat", "k", 7, "c-1", "user", texts[0], None)
    second = out(session, "outbox_enqueue_v1", "chat_history_persist", "chat", "k", payload, None)
    assert db.message(second)["payload"] == payload
    assert [row["id"] for row in call(session, "outbox_list_due_v1", 1)] == [first]

    # A relay's round, in which the first message is refused and holds back the second.
    receipts = claim(session)
    assert [row["id"] for row in receipts] == [first, second]
    assert out(session, "outbox_mark_failed_batch_v1", "relay-a", json.dumps(receipts[:1])) == 1
    failed = db.message(first)
    assert (failed["status"], failed["retry_count"], failed["last_error"]) == ("pending", 1, "no")
    assert timedelta(seconds=1) <= failed["next_retry_at"] - begin < timedelta(seconds=60)
    assert claim(session) == []

    db.make_due(first)
    assert out(session, "outbox_mark_published_batch_v1", "relay-a", json.dumps(claim(session))) == 2
    batch = json.dumps([db.record(id_) for id_ in (first, second)])
    for outcome in ("consumed", "duplicate"):
        assert [row["outcome"] for row in call(session, "outbox_consume_v1", batch)] == [outcome] * 2
    call(session, "outbox_leave_v1", "relay-a")
    assert db.chats() == texts
    assert db.value("SELECT COUNT(*) FROM outbox_relays") == 0

    end = db.value("SELECT UTC_TIMESTAMP(6)")
    times = ("created_at", "updated_at", "published_at", "consumed_at")
    assert all(begin <= message[name] <= end for message in db.messages() for name in times)
    assert all(begin <= written <= end for written in db.column("SELECT created_at FROM chat_histories"))


def test_relay_waits_for_no_application_in_any_session(db: Session, session: Session, connect: Connect) -> None:
    session.execute("SET SESSION innodb_lock_wait_timeout = 1")
    application = connect()
    first = db.enqueue("a")
    application.execute("START TRANSACTION")
    application.enqueue("b")
    db.enqueue_with("chat_history_persist", "chat", "c", "{}", delay_seconds=3600)
    time.sleep(0.2)  # longer than an id without a row is waited for
    assert [row["id"] for row in call(session, "outbox_claim_v1", "relay-a", 10, 30, 0)] == [first]
    db.call("outbox_mark_published_v1", first)
    assert call(session, "outbox_claim_v1", "relay-a", 10, 30, 100) == []
    assert not session.in_transaction()


def claim(session: Session) -> list[Row]:
    """Claim a batch; return what the marks want back."""
    rows = call(session, "outbox_claim_v1", "relay-a", 10, 30, 0)
    return [{"id": row["id"], "receipt": as_text(row["receipt"]), "reason": "no"} for row in rows]


def test_views_say_the_same_in_any_session(db: Session, session: Session) -> None:
    db.claim()
    db.enqueue_in("dead", "k")
    for view in ("outbox_status", "outbox_dead_letters", "outbox_relays_status"):
        (ours,), (theirs,) = session.rows(f"SELECT * FROM {view}"), db.rows(f"SELECT * FROM {view}")
        for name, value in theirs.items():
            if name.endswith("_seconds") and value is not None:
                assert abs(ours[name] - value) < 60, name
            else:
                assert ours[name] == value, name
