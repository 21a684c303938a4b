"""An outbox of any size, as one that has run for long, and the calls whose cost must not grow with it."""

import json
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass

from tests.kit.session import CHAT, Row, Session, as_text, chat_payload

Call = tuple[str, Callable[[], object], Sized]
"""Its name, what does it, and the messages that it is about."""

_ROWS_PER_INSERT = 10_000
_FOLLOWERS = 2
_KEYS = 50_000
_CONSUMED = (
    "'consumed' AS status, CONCAT('key-', number MOD {keys}) AS message_key, 0 AS retry_count, NULL AS next_retry_at,"
    " NULL AS parked_for, created_at AS consumed_at"
)
_FAILING = (
    "'pending' AS status, CONCAT('failing-', number) AS message_key, 1 AS retry_count,"
    " created_at + INTERVAL 1 DAY AS next_retry_at, NULL AS parked_for, NULL AS consumed_at"
)
_PARKED = (
    "'pending' AS status, CONCAT('failing-', number) AS message_key, 0 AS retry_count, created_at AS next_retry_at,"
    " 1 AS parked_for, NULL AS consumed_at"
)
_DUE = (
    "'pending' AS status, CONCAT('key-', number MOD {keys}) AS message_key, 0 AS retry_count,"
    " created_at AS next_retry_at, NULL AS parked_for, NULL AS consumed_at"
)
_INSERT = (
    "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, status, retry_count, max_retry,"
    " next_retry_at, noted_for, parked_for, parked_until, published_at, consumed_at, created_at, updated_at)"
    " SELECT %s, IF(number MOD {topics} = 0, 'chat', CONCAT('chat-', number MOD {topics})), message_key, %s, status,"
    " retry_count, 20, next_retry_at, IF(parked_for, next_retry_at, NULL), parked_for,"
    " IF(parked_for, created_at + INTERVAL 1 DAY, NULL), consumed_at, consumed_at, created_at, created_at"
    " FROM (SELECT number, created_at, {columns}"
    " FROM (SELECT %s + n AS number, UTC_TIMESTAMP(6) - INTERVAL 1 HOUR + INTERVAL n MICROSECOND AS created_at"
    " FROM numbers WHERE n < %s) AS part) AS message ORDER BY number"
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in it; of the pending messages each failing lane has three, a head and two followers."""

    consumed: int
    pending: int
    failing_lanes: int = 0
    topics: int = 1
    keys: int = _KEYS


def fill(session: Session, contents: Contents) -> None:
    """Add the messages as a relay has left them, which has parked the followers. The binary log has none of it."""
    session.execute("SET SESSION sql_log_bin = 0, cte_max_recursion_depth = %s", _ROWS_PER_INSERT)
    session.execute(
        "CREATE TEMPORARY TABLE numbers (n INT PRIMARY KEY) AS"
        " WITH RECURSIVE counted (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < %s)"
        " SELECT n FROM counted",
        _ROWS_PER_INSERT - 1,
    )
    failing = contents.failing_lanes
    parts = [(_CONSUMED, contents.consumed), (_FAILING, failing), *[(_PARKED, failing)] * _FOLLOWERS]
    for columns, messages in [*parts, (_DUE, contents.pending - failing * (1 + _FOLLOWERS))]:
        insert = _INSERT.format(columns=columns.format(keys=contents.keys), topics=contents.topics)
        for first in range(0, messages, _ROWS_PER_INSERT):
            session.execute(insert, CHAT, chat_payload(), first, min(messages - first, _ROWS_PER_INSERT))
    session.execute(
        "INSERT INTO outbox_failures (message_id, failure, at, stage, error)"
        " SELECT id, 1, created_at, 'consumer', 'chat_histories is read only' FROM agent_outbox_messages"
        " WHERE status = 'pending' AND retry_count = 1"
    )
    session.execute("DROP TEMPORARY TABLE numbers; SET SESSION sql_log_bin = 1")


def work(session: Session, relay: str, batch: int) -> Iterator[Call]:
    """What applications, a relay, a consumer and retention do with some messages; each call is made before the next."""
    yield "enqueue", lambda: session.enqueue("new"), [None]
    payload = json.loads(chat_payload())
    new = json.dumps([{"biz_type": CHAT, "topic": "chat", "key": f"new-{n}", "payload": payload} for n in range(100)])
    yield "enqueue_batch", lambda: session.out("outbox_enqueue_batch_v1", new), [None]
    claimed: list[Row] = []
    yield "claim", lambda: claimed.extend(session.claim(relay, batch, 3600)), claimed
    yield "mark", lambda: session.mark("published", claimed, relay), claimed
    arrived = json.dumps([{"id": row["id"], "created_at": as_text(row["created_at"])} for row in claimed])
    yield "consume", lambda: session.call("outbox_consume_v1", arrived), claimed
    yield "get", lambda: session.call("outbox_get_v1", claimed[0]["id"]), [None]
    yield "list_due", lambda: session.call("outbox_list_due_v1", 100), [None]
    yield "purge", lambda: session.call("outbox_purge_v1", "2100-01-01", batch), [None]


def fail(session: Session, relay: str) -> Iterator[Call]:
    """The next message fails; an operator has it sent again."""
    claimed = session.claim(relay, 10, 3600)[:1]
    yield "fail", lambda: session.mark("failed", claimed, relay), claimed
    session.out("outbox_retry_v1", claimed[0]["id"])


def look(session: Session) -> Iterator[Call]:
    """What counts messages exactly, or lists those of a status."""
    failing = (None, None, None, None, None, None, 100)
    yield "outbox_status_v1", lambda: session.call("outbox_status_v1"), [None]
    yield "outbox_status", lambda: session.rows("SELECT * FROM outbox_status"), [None]
    yield "outbox_relays_status", lambda: session.rows("SELECT * FROM outbox_relays_status"), [None]
    yield "outbox_list_failing_v1", lambda: session.call("outbox_list_failing_v1", *failing), [None]
    yield "outbox_failing", lambda: session.rows("SELECT * FROM outbox_failing ORDER BY id LIMIT 100"), [None]
    yield "outbox_lag_v1", lambda: session.call("outbox_lag_v1", None), [None]
