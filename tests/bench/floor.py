"""The floor: the same row changes as plain multi-row SQL, as fast as one connection does them."""

import time

from tests.bench.measurement import Measurement, rate
from tests.bench.stage import BenchError, Stage
from tests.sql.support import Database

# Ids are consecutive and nobody else is at work, so a batch is a range of the primary key: faster than a list of
# ids, than the status index with its delete-marked entries, and than payloads that travel to the client and back.
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
_INSERT = """
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


def _sample(stage: Stage) -> float:
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
            session.execute(_INSERT, first, last)
            session.execute(_CONSUMED, first, last)
            session.execute("COMMIT")
        seconds = time.monotonic() - started
        _check(session, stage.sizes.messages)
    return stage.sizes.messages / seconds


def _check(session: Database, messages: int) -> None:
    written = session.value("SELECT COUNT(*) FROM chat_histories")
    consumed = session.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE status = 'consumed'")
    if (written, consumed) != (messages, messages):
        raise BenchError(f"the floor made {written} rows and {consumed} consumed messages of {messages}")


MEASUREMENT = Measurement(
    keys=("floor_per_s",),
    title="the floor: plain multi-row SQL",
    sample=_sample,
    summarise=rate("floor_per_s", "the same row changes, one connection, batches of 1,000, two commits each, no Kafka"),
    repeated=True,
)
