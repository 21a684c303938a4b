"""outbox_enqueue_batch_v1: many messages in one call, all or none, each as if it were enqueued alone."""

import json
from typing import Any

import pytest

from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, refused

GOOD = {"biz_type": "b", "topic": "t", "key": "k", "payload": "{}"}
MANY = [0, 1, 2, 3, 6, 7, 100, 127, 128, 511, 1000]


@pytest.mark.parametrize("count", MANY)
def test_messages_are_stored_in_the_order_of_the_array(db: Session, count: int) -> None:
    keys = [f"key {number}" for number in range(count)]
    assert db.enqueue_batch(*({"key": key} for key in keys)) == count
    assert [row["message_key"] for row in db.messages()] == keys


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 100, 127, 511, 1023])
def test_batch_leaves_no_id_unused_that_claims_would_wait_for(db: Session, count: int) -> None:
    before = db.enqueue()
    db.enqueue_batch(*({"key": f"{number}"} for number in range(count)))
    assert db.enqueue() == before + count + 1


OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "null": {"max_retry": None, "headers": None, "delay_seconds": None, "deliver_at": None, "dedup_key": None},
    "max_retry": {"max_retry": 3},
    "max_retry of 0": {"max_retry": 0},
    "headers": {"headers": {"traceparent": "00-1", "naïve": '"🎉" \\ '}},
    "delay": {"delay_seconds": 90},
    "time": {"deliver_at": "2100-01-02T03:04:05.678901Z"},
    "dedup_key": {"dedup_key": "漢 1"},
    "all": {"max_retry": 2**31 - 1, "headers": {}, "delay_seconds": 1, "dedup_key": "a"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_element_is_stored_as_if_it_were_enqueued_alone(db: Session, options: dict[str, Any]) -> None:
    text = '{"zebra":1.10,"a":"漢 🎉 \\" \\\\ \' "}'
    alone = db.message(db.enqueue_with(CHAT, "chat", "k", text, **options))
    db.execute("DELETE FROM outbox_dedup_keys")
    db.enqueue_batch({"payload": text, **options})
    (_, row) = db.messages()
    in_batch = db.message(row["id"])
    for times in (alone, in_batch):
        created = times.pop("created_at")
        assert times.pop("updated_at") == created
        due = times.pop("next_retry_at")
        times["waits"] = due if options.get("deliver_at") else due - created
        del times["id"]
    assert in_batch == alone


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        ('{ "b" :1.10, "a":2}', '{ "b" :1.10, "a":2}'),
        ({"bb": 1, "a": [True, None, "x"]}, '{"a": [true, null, "x"], "bb": 1}'),
        ([], "[]"),
        (17, "17"),
        (None, "null"),
        ('"a text"', '"a text"'),
    ],
)
@pytest.mark.parametrize("beside", [{}, {"deliver_at": "2000-01-01 00:00:00"}], ids=["set", "one by one"])
def test_payload_is_a_json_text_or_a_json_value(
    db: Session, payload: object, stored: str, beside: dict[str, str]
) -> None:
    db.enqueue_batch({"payload": payload}, beside)
    assert db.messages()[0]["payload"] == stored


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    **{f"{name} missing": ({name: ...}, 30001, f".{name} must not be NULL") for name in GOOD},
    **{f"{name} null": ({name: None}, 30001, f".{name} must not be NULL") for name in ("biz_type", "topic", "key")},
    **{f"{name} empty": ({name: ""}, 30001, f".{name} must not be empty") for name in ("biz_type", "topic", "key")},
    **{
        f"{name} a number": ({name: 7}, 30012, f".{name} must be a string, it is 7")
        for name in ("biz_type", "topic", "key")
    },
    **{
        f"{name} long": ({name: "x" * (most + 1)}, 30002, f".{name} has {most + 1} characters, at most {most}")
        for name, most in {"biz_type": 64, "topic": 249, "key": 255}.items()
    },
    "topic": ({"topic": "no topic!"}, 30013, '.topic "no topic!" is no name of a Kafka topic'),
    "topic and a line end": ({"topic": "t\n"}, 30013, '.topic "t\n" is no name of a Kafka topic'),
    "topic of dots": ({"topic": ".."}, 30013, '.topic ".." is no name of a Kafka topic'),
    "no JSON": ({"payload": "{"}, 30003, ".payload is not valid JSON: {"),
    "empty payload": ({"payload": ""}, 30003, ".payload is not valid JSON: "),
    "deep": ({"payload": "[" * 101 + "]" * 101}, 30003, ".payload is nested deeper than 100 levels: [[["),
    "large": ({"payload": json.dumps("x" * 999_999)}, 30014, ".payload has 1000001 bytes, more than the 1000000"),
    "unknown": ({"heders": {}}, 30012, ': there is no option "heders", but max_retry, headers,'),
    "max_retry": ({"max_retry": "3"}, 30012, '.max_retry must be an integer of 32 bits, it is "3"'),
    "max_retry fraction": ({"max_retry": 3.5}, 30012, ".max_retry must be an integer of 32 bits, it is 3.5"),
    "headers": ({"headers": {"a": 1}}, 30012, '.headers must be an object of strings, it is {"a": 1}'),
    "delay": ({"delay_seconds": -1}, 30005, ".delay_seconds must not be negative: -1"),
    "time": ({"deliver_at": "soon"}, 30012, ".deliver_at must be a time in UTC"),
    "dedup_key": ({"dedup_key": ""}, 30012, '.dedup_key must be a string of 1 to 255 characters, it is ""'),
}


@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize(("wrong", "errno", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_element_is_named_by_its_position_and_nothing_is_stored(
    db: Session, wrong: dict[str, Any], errno: int, said: str, place: int
) -> None:
    batch: list[Any] = [dict(GOOD) for _ in range(7)]
    batch[place] = {name: value for name, value in (GOOD | wrong).items() if value is not ...}
    with refused(errno, f"p_messages[{place}]{said}"):
        db.out("outbox_enqueue_batch_v1", json.dumps(batch, ensure_ascii=False))
    assert db.messages() == []


@pytest.mark.parametrize("element", [None, 7, "x", ["x"], True])
def test_element_that_is_no_object_is_named(db: Session, element: object) -> None:
    with refused(30012, f"p_messages[1] must be an object, it is {json.dumps(element)[:60]}"):
        db.out("outbox_enqueue_batch_v1", json.dumps([GOOD, element]))
    assert db.messages() == []


@pytest.mark.parametrize(
    ("messages", "errno", "said"),
    [
        (None, 30001, "p_messages must not be NULL"),
        *((text, 30003, f"p_messages is not a JSON array: {text}") for text in ("", "x", "{}", "null", "7", "[1,]")),
        ("[" * 101 + "]" * 101, 30003, "p_messages is nested deeper than 100 levels: [[["),
    ],
)
def test_batch_that_is_no_array_is_refused(db: Session, messages: str | None, errno: int, said: str) -> None:
    with refused(errno, said):
        db.out("outbox_enqueue_batch_v1", messages)


def test_refused_batch_leaves_the_callers_transaction_as_it_was(db: Session) -> None:
    db.execute("START TRANSACTION")
    kept = db.enqueue()
    for wrong in ({"topic": None}, {"payload": "{"}):
        with refused(30001 if "topic" in wrong else 30003, "p_messages[300]"):
            db.enqueue_batch(*({"dedup_key": f"{number}"} for number in range(300)), wrong)
    db.enqueue_batch({}, {})
    db.execute("COMMIT")
    assert len(db.messages()) == 3
    assert kept in db.statuses()


@pytest.mark.parametrize("autocommit", [0, 1])
def test_batch_is_the_callers_transactions(db: Session, connect: Connect, autocommit: int) -> None:
    app = connect()
    app.execute(f"SET autocommit = {autocommit}")
    if autocommit:
        app.execute("START TRANSACTION")
    app.enqueue_batch({}, {})
    app.enqueue_batch({"dedup_key": "a"}, {"deliver_at": "2000-01-01 00:00:00"})
    assert db.messages() == []
    app.execute("ROLLBACK")
    assert db.messages() == []
    app.enqueue_batch({}, {})
    app.execute("COMMIT")
    assert len(db.messages()) == 2


@pytest.mark.parametrize("insert_id", [0, 7, 2**64 - 2])
def test_session_that_sets_ids_of_its_own_is_refused(db: Session, connect: Connect, insert_id: int) -> None:
    before = db.enqueue()
    session = connect()
    session.execute(f"SET insert_id = {insert_id}")
    with refused(30011, f"insert_id is set in this session, to {insert_id}"):
        session.enqueue_batch({}, {})
    assert [row["id"] for row in db.messages()] == [before]
