"""The floor: the same row changes as plain multi-row SQL over one connection, as fast as that does them.

Two of them. In the first the client reads the payloads and writes the chat that is in them, as any consumer must that
is no procedure. In the second the server copies the chat from one table to the other and no payload leaves it after
the claim: less than any outbox can do, as the payloads have to go to Kafka and come back.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial

from tests.bench.measurement import Measurement, rate
from tests.bench.stage import BenchError, Stage
from tests.kit.session import Row, Session

# Ids are consecutive and nobody else is at work, so a batch is a range of the primary key: faster than a list of
# ids, and than the status index with its delete-marked entries.
_CLAIM = """
SELECT id, topic, message_key, payload
  FROM agent_outbox_messages FORCE INDEX (PRIMARY)
 WHERE id > %s AND status = 'pending'
 ORDER BY id
 LIMIT %s"""
_PUBLISH = """
UPDATE agent_outbox_messages
   SET status = 'published', next_retry_at = NULL, published_at = UTC_TIMESTAMP(6), updated_at = UTC_TIMESTAMP(6)
 WHERE id BETWEEN %s AND %s AND status = 'pending'"""
_INSERT = "INSERT INTO chat_histories (user_id, chat_id, role, message_content, created_at) VALUES "
_ROW = "(%s, %s, %s, %s, UTC_TIMESTAMP(6))"
_COPY = """
INSERT INTO chat_histories (user_id, chat_id, role, message_content, created_at)
SELECT chat.user_id, chat.chat_id, chat.role, chat.message, UTC_TIMESTAMP(6)
  FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
  JOIN JSON_TABLE(m.payload, '$' COLUMNS (
         user_id BIGINT PATH '$.user_id',
         chat_id VARCHAR(255) PATH '$.conversation_id',
         role VARCHAR(32) PATH '$.role',
         message LONGTEXT PATH '$.message')) AS chat
 WHERE m.id BETWEEN %s AND %s
 ORDER BY m.id"""
_CONSUMED = """
UPDATE agent_outbox_messages
   SET status = 'consumed', next_retry_at = NULL, consumed_at = UTC_TIMESTAMP(6), updated_at = UTC_TIMESTAMP(6)
 WHERE id BETWEEN %s AND %s AND status = 'published'"""


Write = Callable[[Session, Sequence[Row]], None]


def _write(session: Session, batch: Sequence[Row]) -> None:
    values: list[object] = []
    for row in batch:
        chat = json.loads(row["payload"])
        values += (chat["user_id"], chat["conversation_id"], chat["role"], chat["message"])
    session.execute(_INSERT + ", ".join([_ROW] * len(batch)), *values)


def _copy(session: Session, batch: Sequence[Row]) -> None:
    session.execute(_COPY, batch[0]["id"], batch[-1]["id"])


def _sample(write: Write, stage: Stage) -> float:
    """Messages per second; two commits a batch, as relay and consumer have: published, then history and consumed."""
    stage.clear()
    stage.fill(stage.sizes.messages)
    with stage.connect() as session:
        started = time.monotonic()
        last = 0
        while batch := session.rows(_CLAIM, last, stage.sizes.batch):
            first, last = batch[0]["id"], batch[-1]["id"]
            session.execute(_PUBLISH, first, last)
            session.execute("START TRANSACTION")
            write(session, batch)
            session.execute(_CONSUMED, first, last)
            session.execute("COMMIT")
        seconds = time.monotonic() - started
        _check(session, stage.sizes.messages)
    return stage.sizes.messages / seconds


def _check(session: Session, messages: int) -> None:
    written = session.value("SELECT COUNT(*) FROM chat_histories")
    consumed = session.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE status = 'consumed'")
    if (written, consumed) != (messages, messages):
        raise BenchError(f"the floor made {written} rows and {consumed} consumed messages of {messages}")


MEASUREMENT = Measurement(
    keys=("floor_per_s",),
    title="the floor: plain multi-row SQL",
    sample=partial(_sample, _write),
    summarise=rate("floor_per_s", "the same row changes, one connection, batches of 2,000, two commits each, no Kafka"),
    repeated=True,
)
IN_SERVER = Measurement(
    keys=("floor_in_server_per_s",),
    title="the floor where no payload is written by a client",
    sample=partial(_sample, _copy),
    summarise=rate("floor_in_server_per_s", "the same, the server copying the chat from table to table: no target"),
    repeated=True,
)
