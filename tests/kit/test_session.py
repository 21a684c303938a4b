"""The session writes what the server would write."""

from tests.kit.session import Session, as_text


def test_as_text_writes_what_the_server_writes(db: Session) -> None:
    message = db.enqueue()
    db.execute("UPDATE agent_outbox_messages SET next_retry_at = '2026-01-02 03:04:05.000000'")
    stored = db.value("SELECT CAST(next_retry_at AS CHAR) FROM agent_outbox_messages")
    assert as_text(db.message(message)["next_retry_at"]) == stored
