"""Success clears last_error, on every way to it; a handler that ended the transaction by itself keeps its note."""

import pytest

from tests.kit.application import RECORD, Application
from tests.kit.session import CHAT, Session, chat_payload


def failed_before(db: Session, key: str = "k", biz_type: str = CHAT) -> int:
    """A message that has failed once, and is due again."""
    message = db.enqueue(key, biz_type=biz_type)
    db.call("outbox_mark_failed_v1", message, "the broker was away")
    db.make_due(message)
    assert db.message(message)["last_error"] == "the broker was away"
    return message


def last_error(db: Session, message: int, status: str) -> str | None:
    row = db.message(message)
    assert (row["status"], row["retry_count"]) == (status, 1)
    error: str | None = row["last_error"]
    return error


@pytest.mark.parametrize("biz_type", [CHAT, "publish-only"])
@pytest.mark.parametrize("way", ["single", "batch"])
def test_mark_published_clears_it(db: Session, biz_type: str, way: str) -> None:
    message = failed_before(db, biz_type=biz_type)
    if way == "single":
        db.call("outbox_mark_published_v1", message)
    else:
        assert db.mark("published", db.claim()) == 1
    assert last_error(db, message, "consumed" if biz_type == "publish-only" else "published") is None


def test_persist_clears_it(db: Session) -> None:
    message = failed_before(db)
    db.call("outbox_persist_chat_history_v1", message, chat_payload())
    assert last_error(db, message, "consumed") is None


def test_consume_in_bulk_clears_it(db: Session) -> None:
    message = failed_before(db)
    assert db.consume(message) == {message: "consumed"}
    assert last_error(db, message, "consumed") is None


def test_consume_one_by_one_clears_it(db: Session, app: Application) -> None:
    app.business("records")
    message = failed_before(db, biz_type="records")
    assert db.consume(message) == {message: "consumed"}
    assert last_error(db, message, "consumed") is None


def test_handler_that_commits_by_itself_keeps_its_note(db: Session, app: Application) -> None:
    app.business("commits", f"{RECORD}; COMMIT")
    message = failed_before(db, biz_type="commits")
    assert db.consume(message) == {message: "consumed"}
    assert "commits by itself" in str(last_error(db, message, "consumed"))
    db.call("outbox_mark_published_v1", message)
    assert db.consume(message) == {message: "duplicate"}
    assert "commits by itself" in str(last_error(db, message, "consumed"))


def test_success_that_is_undone_leaves_the_last_error(db: Session, app: Application) -> None:
    app.business("fails", f"{RECORD}; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today'")
    message = failed_before(db, biz_type="fails")
    assert db.consume(message) == {message: "failed"}
    row = db.message(message)
    assert (row["status"], row["retry_count"], row["last_error"]) == ("pending", 2, "not today")
