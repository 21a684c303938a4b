"""Handlers of the tests' own: applications' procedures that fail, or take long, before they write the chat."""

from tests.kit.session import CHAT, Session

PLAIN = "chat_history_plain"
"""A business type of chat that keeps the built-in handler."""

ERRNO = 51000

_HANDLER = """
CREATE PROCEDURE {name} (
  IN p_id BIGINT UNSIGNED,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
MODIFIES SQL DATA
BEGIN
  {before}
  CALL outbox_internal_write_chat_history_v1(p_id, p_payload);
END
"""

# Not RAND(): the same attempt of the same message fails in every run with this seed.
_AT_RANDOM = """
IF EXISTS (
    SELECT 1 FROM agent_outbox_messages
     WHERE id = p_id AND CRC32(CONCAT('{seed}/', id, '/', retry_count)) % {one_in} = 0) THEN
  SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'injected: the handler fails';
END IF;
"""

_BY_KEY = """
IF EXISTS (SELECT 1 FROM agent_outbox_messages WHERE id = p_id AND message_key = '{key}') THEN
  {then};
END IF;
"""
_FAIL = f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {ERRNO}, MESSAGE_TEXT = 'injected: this key fails'"


def fail_at_random(session: Session, seed: int, one_in: int, ordering: str) -> None:
    """Let one in so many attempts to persist chat fail, and set the ordering of all business types."""
    before = _AT_RANDOM.format(seed=seed, one_in=one_in, errno=ERRNO)
    session.execute(_HANDLER.format(name="chat_write_at_random", before=before))
    _use(session, "chat_write_at_random")
    session.execute("UPDATE outbox_biz_types SET ordering = %s", ordering)


def fail_by_key(session: Session, key: str) -> None:
    """Let every attempt to persist chat of one key fail, to be tried again every second and never given up."""
    session.execute(_HANDLER.format(name="chat_write_by_key", before=_BY_KEY.format(key=key, then=_FAIL)))
    session.execute("UPDATE outbox_biz_types SET backoff_cap_seconds = 1, max_retry = 10000")
    _use(session, "chat_write_by_key")


def be_slow_by_key(session: Session, key: str, seconds: float) -> None:
    """Let every attempt to persist chat of one key take so long."""
    before = _BY_KEY.format(key=key, then=f"DO SLEEP({seconds})")
    session.execute(_HANDLER.format(name="chat_write_slowly", before=before))
    _use(session, "chat_write_slowly")


def heal(session: Session) -> None:
    """Use the built-in handler again."""
    _use(session, "outbox_internal_write_chat_history_v1")


def _use(session: Session, handler: str) -> None:
    session.execute("UPDATE outbox_biz_types SET handler = %s WHERE biz_type = %s", handler, CHAT)
