"""outbox_enqueue_bytes_v1: what is no JSON goes as it is, and a tombstone is a record without a value."""

import json

import pytest

from tests.kit.application import Application
from tests.kit.session import CHAT, Session, refused

BODIES = {
    "framed": b"\0\0\0\0\x01\x02Z",
    "all bytes": bytes(range(256)),
    "no UTF-8": b"\xff\xfe\xed\xa0\x80",
    "empty": b"",
    "JSON": b'{"a":1}',
    "statement ends": b"'; DELIMITER $$ \\ -- \"",
    "a megabyte": b"\xff" * 1_000_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bytes_are_kept_and_handed_out_as_they_are(db: Session, body: bytes) -> None:
    message = db.enqueue_bytes(body, "application/avro")
    (claimed,) = db.claim()
    assert (claimed["id"], claimed["value"], claimed["content_type"]) == (message, body, "application/avro")
    row = db.message(message)
    assert (row["body"], row["content_type"], row["payload"]) == (body, "application/avro", "null")


@pytest.mark.parametrize("content_type", [None, "application/avro"])
def test_null_is_a_tombstone(db: Session, content_type: str | None) -> None:
    db.enqueue_bytes(None, content_type)
    (claimed,) = db.claim()
    assert (claimed["value"], claimed["content_type"]) == (None, content_type or "")


def test_options_are_those_of_other_messages(db: Session) -> None:
    message = db.enqueue_bytes(b"a", headers={"a": "b"}, max_retry=3, delay_seconds=60)
    row = db.message(message)
    assert (json.loads(row["headers"]), row["max_retry"]) == ({"a": "b"}, 3)
    assert db.claim_ids() == []


def test_type_with_a_handler_takes_no_bytes(db: Session) -> None:
    with refused(30015, f'p_biz_type "{CHAT}" has a handler, which takes JSON'):
        db.out("outbox_enqueue_bytes_v1", CHAT, "chat", "k", b"a", "application/avro", None)
    assert db.messages() == []


@pytest.mark.parametrize(
    ("content_type", "errno", "said"), [("", 30001, "must not be empty"), ("x" * 256, 30002, "256")]
)
@pytest.mark.parametrize("body", [b"a", None])
def test_content_type_must_be_a_text(db: Session, body: bytes | None, content_type: str, errno: int, said: str) -> None:
    with refused(errno, said):
        db.enqueue_bytes(body, content_type)


def test_bytes_are_consumed_by_kafkas_acknowledgement_and_can_be_sent_again(db: Session) -> None:
    message = db.enqueue_bytes(b"\0a")
    db.mark("published", db.claim())
    assert db.statuses() == {message: "consumed"}
    db.out("outbox_replay_v1", None, message, None, None, None)
    (copy,) = db.claim()
    assert (copy["value"], copy["content_type"]) == (b"\0a", "application/avro")


def test_batch_is_cut_by_the_bytes_of_bodies_too(db: Session) -> None:
    db.call("outbox_set_transaction_bytes_v1", 1 << 20)
    try:
        messages = [db.enqueue_bytes(b"x" * 300_000) for _ in range(3)]
        assert db.claim_ids() == messages[:1]
    finally:
        db.call("outbox_set_transaction_bytes_v1", None)


# Where a record is


def test_mark_notes_where_kafka_has_put_the_record(db: Session) -> None:
    message = db.enqueue()
    db.mark("published", db.claim(), places=[(3, 41)])
    row = db.message(message)
    assert (row["status"], row["kafka_partition"], row["kafka_offset"]) == ("published", 3, 41)


@pytest.mark.parametrize("way", ["bulk", "one by one", "publish-only"])
def test_consumer_notes_it_where_it_is_faster(db: Session, app: Application, way: str) -> None:
    app.business("one by one")
    message = db.enqueue(biz_type=CHAT if way == "bulk" else way)
    db.consume(db.record(message, partition=5, offset=2**40))
    row = db.message(message)
    assert (row["status"], row["kafka_partition"], row["kafka_offset"]) == ("consumed", 5, 2**40)


def test_copy_of_a_record_that_took_effect_is_where_the_message_is(db: Session) -> None:
    message = db.enqueue()
    db.mark("published", db.claim(), places=[(0, 1)])
    db.consume(db.record(message, partition=2, offset=7))
    db.consume(db.record(message, partition=4, offset=9))
    row = db.message(message)
    assert (row["kafka_partition"], row["kafka_offset"]) == (2, 7)


def test_consumer_that_does_not_say_where_leaves_what_is_known(db: Session) -> None:
    message = db.enqueue()
    db.mark("published", db.claim(), places=[(0, 1)])
    db.consume(message)
    row = db.message(message)
    assert (row["status"], row["kafka_partition"], row["kafka_offset"]) == ("consumed", 0, 1)
