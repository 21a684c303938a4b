"""Large messages, and the limits of a server that they meet."""

from tests.kit.session import Session

MIB = 1 << 20


def put(
    db: Session, count: int, size: int, status: str = "pending", first_key: int = 0, biz_type: str = "large"
) -> list[int]:
    """Put messages of one size into the table, in lanes of their own, written an hour ago."""
    before = db.value("SELECT COALESCE(MAX(id), 0) FROM agent_outbox_messages")
    for number in range(count):
        db.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, status, next_retry_at,"
            " published_at, consumed_at, last_error, created_at, updated_at)"
            " SELECT %s, 'chat', %s, JSON_QUOTE(REPEAT('x', %s)), %s, IF(%s = 'pending', at, NULL),"
            "  IF(%s = 'pending', NULL, at), IF(%s = 'consumed', at, NULL), IF(%s = 'dead', 'as arranged', NULL),"
            "  at, at"
            " FROM (SELECT UTC_TIMESTAMP(6) - INTERVAL 1 HOUR AS at) AS then_",
            *(biz_type, f"k{first_key + number}", size - 2, status, status, status, status, status),
        )
    return db.column("SELECT id FROM agent_outbox_messages WHERE id > %s ORDER BY id", before)
