"""What is asked of the operator's routines: the audit, many messages at once, a batch caught halfway."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from tests.kit.server import Connect
from tests.kit.session import Row, Session
from tests.kit.waiting import Result, background, eventually

OWN_TRANSACTION: dict[str, list[Any]] = {
    "outbox_requeue_v1": [1, None],
    "outbox_requeue_dead_v1": [None] * 8,
    "outbox_discard_v1": [1, None],
    "outbox_discard_dead_v1": [None] * 7,
    "outbox_retry_v1": [1, None],
    "outbox_retry_failing_v1": [None] * 7,
    "outbox_give_up_v1": [1, None, None],
    "outbox_give_up_failing_v1": [None] * 8,
    "outbox_purge_v1": ["2000-01-01", None],
    "outbox_purge_dead_v1": ["2000-01-01", None],
    "outbox_recover_published_v1": [0, None, None],
    "outbox_replay_v1": [None, None, None, None, None, None],
}


def audit(db: Session) -> list[Row]:
    """Return action and details of every entry, in order."""
    rows = db.rows("SELECT action, details FROM outbox_audit ORDER BY id")
    return [{"action": row["action"], **json.loads(row["details"])} for row in rows]


def fill(db: Session, count: int, status: str, *, topic: str = "chat", age_seconds: int = 0) -> list[int]:
    """Put many messages of one status into the table, published, consumed or dead that long ago; return their ids."""
    first = int(db.value("SELECT COALESCE(MAX(id), 0) + 1 FROM agent_outbox_messages"))
    db.execute(
        "SET SESSION cte_max_recursion_depth = 1000000;"
        "INSERT INTO agent_outbox_messages (id, biz_type, topic, message_key, payload, status, next_retry_at,"
        " published_at, consumed_at, created_at, updated_at)"
        " WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < %s)"
        " SELECT %s + n, 'chat_history_persist', %s, CONCAT('k-', n), '{}', %s, NULL,"
        "  IF(%s IN ('published', 'consumed'), at, NULL), IF(%s = 'consumed', at, NULL), at, at"
        " FROM numbers JOIN (SELECT UTC_TIMESTAMP(6) - INTERVAL %s SECOND AS at) AS then_",
        *(count, first, topic, status, status, status, age_seconds),
    )
    return list(range(first, first + count))


def age(db: Session, message: int, seconds: int) -> None:
    """Let a message's whole past have happened that much earlier."""
    db.execute(
        "UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL %s SECOND,"
        " published_at = published_at - INTERVAL %s SECOND, consumed_at = consumed_at - INTERVAL %s SECOND,"
        " updated_at = updated_at - INTERVAL %s SECOND WHERE id = %s",
        *(seconds, seconds, seconds, seconds, message),
    )


def ago(db: Session, seconds: int) -> str:
    """Return the server's time that long ago, UTC."""
    return str(db.value("SELECT CAST(UTC_TIMESTAMP(6) - INTERVAL %s SECOND AS CHAR)", seconds))


@contextmanager
def halfway(db: Session, connect: Connect, call: Callable[[Session], Result]) -> Iterator[Future[Result]]:
    """Stop an operator's call within its first transaction, with its changes made and its locks held, for the block.

    What it does last before it commits is to write to outbox_audit, which is locked meanwhile.
    """
    gate, session = connect(), connect()
    gate.execute("LOCK TABLES outbox_audit WRITE")
    try:
        with background(lambda: call(session)) as future:
            try:
                eventually(lambda: db.is_in(session.session_id, "Waiting for table metadata lock") or future.done())
                assert not future.done(), "it has not waited"
                yield future
            finally:
                gate.execute("UNLOCK TABLES")
            future.result(timeout=60)
    finally:
        gate.close()
