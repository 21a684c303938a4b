"""Rows that the legacy Go service inserts are claimed, marked and consumed as any other."""

from datetime import datetime

import pytest

from tests.kit.session import CHAT, Session, chat_payload

LEGACY = (
    "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, status, retry_count, max_retry,"
    " next_retry_at, last_error, published_at, consumed_at, created_at, updated_at)"
    " VALUES (%s, 'chat', %s, %s, 'pending', 0, 20, %s, NULL, NULL, NULL, %s, %s)"
)


def test_row_inserted_with_the_columns_of_the_legacy_go_service_only_is_delivered(db: Session) -> None:
    now = db.value("SELECT UTC_TIMESTAMP(3)")
    db.execute(LEGACY, CHAT, "c-1", chat_payload("by hand"), now, now, now)
    claimed = db.claim()
    assert [row["value"] for row in claimed] == [chat_payload("by hand").encode()]
    assert db.mark("published", claimed) == 1
    assert list(db.consume(claimed[0]["id"]).values()) == ["consumed"]
    assert db.chats() == ["by hand"]


def test_row_inserted_with_nothing_but_its_content_is_delivered(db: Session) -> None:
    db.execute(
        "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload) VALUES (%s, 'chat', 'c-1', %s)",
        CHAT,
        chat_payload("by hand"),
    )
    claimed = db.claim()
    assert db.mark("published", claimed) == 1
    assert list(db.consume(claimed[0]["id"]).values()) == ["consumed"]
    assert db.chats() == ["by hand"]


@pytest.mark.parametrize("kind", ["published", "failed", "dead"])
def test_pending_row_without_a_due_time_is_due(db: Session, kind: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001
    db.execute(LEGACY, CHAT, "c-1", chat_payload(), None, now, now)
    claimed = db.claim()
    assert [row["receipt"] for row in claimed] == [None]
    assert db.mark(kind, claimed) == 1
    assert list(db.statuses().values()) == [{"failed": "pending"}.get(kind, kind)]


def test_legacy_row_is_held_back_by_its_keys_waiting_one_as_any_other(db: Session) -> None:
    failed = db.enqueue("c-1")
    db.call("outbox_mark_failed_v1", failed, "wait")
    now = db.value("SELECT UTC_TIMESTAMP(3)")
    db.execute(LEGACY, CHAT, "c-1", chat_payload(), None, now, now)
    assert db.claim_ids() == []
