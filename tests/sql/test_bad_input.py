"""Arguments that no routine accepts: errors of our own, with the value, and nothing stored."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from mysql.connector.errors import Error

from tests.kit.session import CHAT, Session, chat_payload, refused

MESSAGE: dict[str, Any] = {"p_biz_type": "b", "p_topic": "t", "p_message_key": "k", "p_payload": "{}"}
ENQUEUE: dict[str, Any] = {**MESSAGE, "p_max_retry": None}
OPTIONS: dict[str, Any] = {**MESSAGE, "p_options": None}
BYTES: dict[str, Any] = {
    "p_biz_type": "b",
    "p_topic": "t",
    "p_message_key": "k",
    "p_body": b"\0",
    "p_content_type": "application/avro",
    "p_options": None,
}
CHAT_HISTORY: dict[str, Any] = {
    "p_topic": "t",
    "p_message_key": "k",
    "p_user_id": 7,
    "p_conversation_id": "c",
    "p_role": "user",
    "p_message": "hi",
    "p_max_retry": None,
}
ROUTINES = {
    "outbox_enqueue_v1": ENQUEUE,
    "outbox_enqueue_with_options_v1": OPTIONS,
    "outbox_enqueue_bytes_v1": BYTES,
    "outbox_enqueue_chat_history_v1": CHAT_HISTORY,
}
LENGTHS = {
    "p_content_type": 255,
    "p_biz_type": 64,
    "p_topic": 249,
    "p_message_key": 255,
    "p_conversation_id": 255,
    "p_role": 32,
}
MUST_BE_GIVEN = {*LENGTHS, "p_payload", "p_user_id", "p_message"}


def cases(names: set[str]) -> list[tuple[str, str]]:
    return [(routine, name) for routine, arguments in ROUTINES.items() for name in arguments if name in names]


def call_with(db: Session, routine: str, name: str, value: Any) -> None:
    db.out(routine, *(ROUTINES[routine] | {name: value}).values())


@pytest.mark.parametrize(("routine", "name"), cases(MUST_BE_GIVEN))
def test_null_argument_is_refused(db: Session, routine: str, name: str) -> None:
    with refused(30001, f"{name} must not be NULL"):
        call_with(db, routine, name, None)
    assert db.messages() == []


@pytest.mark.parametrize(("routine", "name"), cases(set(LENGTHS)))
def test_empty_text_is_refused(db: Session, routine: str, name: str) -> None:
    with refused(30001, f"{name} must not be empty"):
        call_with(db, routine, name, "")
    assert db.messages() == []


@pytest.mark.parametrize(("routine", "name"), cases(set(LENGTHS)))
@pytest.mark.parametrize(("letter", "length"), [("x", None), ("漢", None), ("x", 65_535)])
def test_text_that_is_too_long_is_refused(
    db: Session, routine: str, name: str, letter: str, length: int | None
) -> None:
    characters = length or LENGTHS[name] + 1
    said = f"{name} has {characters} characters, at most {LENGTHS[name]} are allowed: {(letter * characters)[:40]}..."
    with refused(30002, said):
        call_with(db, routine, name, letter * characters)
    assert db.messages() == []


@pytest.mark.parametrize("routine", ["outbox_enqueue_v1", "outbox_enqueue_with_options_v1"])
@pytest.mark.parametrize(
    "payload", ["", " ", "{", "{'a':1}", "hello", "[1,]", '{"a":1} x', "NaN", '"\\ud800"', '"a\nb"', "\ufeff{}"]
)
def test_payload_that_is_not_json_is_refused(db: Session, routine: str, payload: str) -> None:
    with refused(30003, f"p_payload is not valid JSON: {payload}"):
        call_with(db, routine, "p_payload", payload)
    assert db.messages() == []


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_too_deep_for_the_server_is_refused_and_not_stored(db: Session, opening: str, closing: str) -> None:
    inside = "1"
    deep = opening * 101 + inside + closing * 101
    with refused(30003, f"p_payload is nested deeper than 100 levels: {deep[:60]}"):
        call_with(db, "outbox_enqueue_v1", "p_payload", deep)
    with refused(30003, f"p_options is nested deeper than 100 levels: {deep[:60]}"):
        call_with(db, "outbox_enqueue_with_options_v1", "p_options", deep)
    assert db.messages() == []
    assert db.enqueue(payload=opening * 100 + inside + closing * 100) > 0


NO_TOPICS = [".", "..", " ", "bad topic!", "chat ", "a:b", "a/b", "a,b", "漢", "a\n", "a\0", "\0", "é", "a" * 248 + "/"]


@pytest.mark.parametrize("routine", ROUTINES)
@pytest.mark.parametrize("topic", NO_TOPICS)
def test_topic_that_kafka_can_never_take_is_refused(db: Session, routine: str, topic: str) -> None:
    shown = topic[:30].partition("\0")[0]  # where the client ends an error's text
    with refused(30013, f'p_topic "{shown}'):
        call_with(db, routine, "p_topic", topic)
    assert db.messages() == []


@pytest.mark.parametrize("topic", ["...", "-", "_", "0", "A.b-C_9", "t" * 249])
def test_every_topic_that_kafka_takes_is_accepted(db: Session, topic: str) -> None:
    assert db.message(db.enqueue(topic=topic))["topic"] == topic


LARGEST: dict[str, tuple[str, Callable[[int], str | bytes]]] = {
    "outbox_enqueue_v1": ("p_payload", lambda size: '"' + "x" * (size - 4) + 'é"'),
    "outbox_enqueue_with_options_v1": ("p_payload", lambda size: '"' + "x" * (size - 4) + 'é"'),
    "outbox_enqueue_bytes_v1": ("p_body", lambda size: b"\0" * size),
}


@pytest.mark.parametrize("routine", LARGEST)
@pytest.mark.parametrize("most", [65_536, 1_000_000, 2_000_000])
def test_payload_is_as_large_as_the_limit_and_no_larger_counted_in_bytes(db: Session, routine: str, most: int) -> None:
    db.call("outbox_set_max_payload_bytes_v1", most)
    name, of_size = LARGEST[routine]
    call_with(db, routine, name, of_size(most))
    with refused(30014, f"p_payload has {most + 1} bytes, more than the {most} of outbox_set_max_payload_bytes_v1"):
        call_with(db, routine, name, of_size(most + 1))
    assert len(db.messages()) == 1


@pytest.mark.parametrize("size", [0, -1, 65_535, (1 << 30) + 1])
def test_limit_of_payloads_that_is_out_of_range_is_refused(db: Session, size: int) -> None:
    with refused(30005, f"p_bytes {size} is not within 65536 and 1073741824"):
        db.call("outbox_set_max_payload_bytes_v1", size)


def test_limit_of_payloads_is_set_back_and_entered(db: Session) -> None:
    assert db.call("outbox_set_max_payload_bytes_v1", 70_000) == [{"bytes": 70_000, "changed": 1}]
    assert db.call("outbox_set_max_payload_bytes_v1", 70_000) == [{"bytes": 70_000, "changed": 0}]
    assert db.call("outbox_set_max_payload_bytes_v1", None) == [{"bytes": 1_000_000, "changed": 1}]
    changes = db.rows("SELECT details FROM outbox_audit WHERE action = 'set_max_payload_bytes' ORDER BY id")
    assert [json.loads(row["details"])["after"] for row in changes] == [70_000, 1_000_000]


@pytest.mark.parametrize("options", ["", "x", "[]", "null", "7", '"a"', "{", '{"max_retry": }'])
def test_options_that_are_no_object_are_refused(db: Session, options: str) -> None:
    with refused(30003, f"p_options is not a JSON object: {options}"):
        call_with(db, "outbox_enqueue_with_options_v1", "p_options", options)
    assert db.messages() == []


OBJECT, INTEGER = "must be an object of strings, it is", "must be an integer of 32 bits, it is"
TIME = 'must be a time in UTC like "2026-11-27 14:00:00", it is'


@pytest.mark.parametrize(
    ("options", "errno", "said"),
    [
        *(({"headers": value}, 30012, f"option headers {OBJECT}") for value in ("a", 7, ["a"], {"a": 1}, {"a": None})),
        *(
            ({name: value}, 30012, f"option {name} {INTEGER} {json.dumps(value)}")
            for name in ("max_retry", "delay_seconds")
            for value in ("3", 1.5, True, [1], 2**31, 2**40)
        ),
        *(({"delay_seconds": value}, 30005, f"must not be negative: {value}") for value in (-1, -(2**31))),
        *(
            ({"deliver_at": value}, 30012, f"option deliver_at {TIME} {json.dumps(value)}")
            for value in ("", "tomorrow", "2026-11-27", "2026-13-01 00:00:00", "2026-11-27T14:00:00+02:00", 1795788000)
        ),
        ({"deliver_at": "2030-01-01 00:00:00", "delay_seconds": 1}, 30012, "exclude each other"),
        *(
            (
                {name: 1},
                30012,
                f'there is no option "{name}", but max_retry, headers, delay_seconds, deliver_at, dedup_key',
            )
            for name in ("maxRetry", "MAX_RETRY", "", "dedup", "max_retry ", "x" * 24)
        ),
        ({"max_retry": 3, "heders": {}}, 30012, 'there is no option "heders"'),
        *(
            ({"dedup_key": value}, 30012, f"option dedup_key must be a string of 1 to 255 characters, it is {said}")
            for value, said in (("", '""'), (7, "7"), (["a"], '["a"]'), ("漢" * 256, '"漢漢'))
        ),
    ],
)
def test_option_that_is_wrong_is_refused_by_name(db: Session, options: dict[str, Any], errno: int, said: str) -> None:
    with refused(errno, said):
        call_with(db, "outbox_enqueue_with_options_v1", "p_options", json.dumps(options))
    assert db.messages() == []


def test_refused_enqueue_leaves_the_callers_transaction_as_it_was(db: Session) -> None:
    db.execute("START TRANSACTION")
    kept = db.enqueue()
    with refused(30003, "p_payload"):
        db.enqueue(payload="{")
    db.execute("COMMIT")
    assert db.statuses() == {kept: "pending"}


def test_long_values_are_cut_in_the_message_and_still_raise(db: Session) -> None:
    with refused(30003, "p_payload is not valid JSON: 漢漢漢"):
        db.enqueue(payload="漢" * 100_000)


@pytest.mark.parametrize("limit", [-1, -2147483648])
def test_negative_limit_is_refused(db: Session, limit: int) -> None:
    with refused(30005, f"p_limit must not be negative: {limit}"):
        db.call("outbox_list_due_v1", limit)
    with refused(30005, f"p_limit must not be negative: {limit}"):
        db.claim(limit=limit)
    with refused(30005, f"p_limit must not be negative: {limit}"):
        db.call("outbox_claim_more_v1", "relay-a", limit, 0)
    assert db.rows("SELECT * FROM outbox_relays") == []


@pytest.mark.parametrize("lease", [0, -1, 86401])
def test_lease_out_of_range_is_refused(db: Session, lease: int) -> None:
    with refused(30005, f"p_lease_seconds must be from 1 to 86400: {lease}"):
        db.claim(lease=lease)
    assert db.owned("relay-a") == set()


@pytest.mark.parametrize("wait", [-1, 60001])
def test_wait_out_of_range_is_refused(db: Session, wait: int) -> None:
    with refused(30005, f"p_wait_ms must be from 0 to 60000: {wait}"):
        db.claim(wait_ms=wait)
    with refused(30005, f"p_wait_ms must be from 0 to 60000: {wait}"):
        db.call("outbox_claim_more_v1", "relay-a", 10, wait)
    assert db.owned("relay-a") == set()


def test_relay_needs_a_name_of_1_to_128_characters(db: Session) -> None:
    for errno, name, said in [
        (30001, None, "p_relay must not be NULL"),
        (30001, "", "p_relay must not be empty"),
        (30002, "r" * 129, "p_relay has 129 characters, at most 128 are allowed: rrr"),
    ]:
        with refused(errno, said):
            db.call("outbox_claim_v1", name, 10, 30, 0)
        with refused(errno, said):
            db.call("outbox_claim_more_v1", name, 10, 0)
    assert db.rows("SELECT * FROM outbox_relays") == []
    db.claim("漢" * 128)
    assert len(db.owned("漢" * 128)) == 64


@pytest.mark.parametrize("kind", ["published", "failed", "dead"])
@pytest.mark.parametrize("messages", [None, "", "{", "[1,]", "x" * 200])
def test_batch_mark_of_garbage_is_refused(db: Session, kind: str, messages: str | None) -> None:
    message = db.enqueue()
    db.claim()
    said = "p_messages is not valid JSON: " + ("NULL" if messages is None else messages[:80])
    with refused(30003, said):
        db.out(f"outbox_mark_{kind}_batch_v1", "relay-a", messages)
    assert db.statuses() == {message: "pending"}


@pytest.mark.parametrize("messages", [None, "", "{", "[1,]", "x" * 200])
def test_consume_of_garbage_is_refused(db: Session, messages: str | None) -> None:
    said = "p_messages is not valid JSON: " + ("NULL" if messages is None else messages[:80])
    with refused(30003, said):
        db.call("outbox_consume_v1", messages)


@pytest.mark.parametrize("messages", ["[]", "{}", "null", "7", '"x"'])
def test_consume_of_no_messages_returns_no_rows(db: Session, messages: str) -> None:
    db.enqueue()
    assert db.call("outbox_consume_v1", messages) == []


@pytest.mark.parametrize("bad", [{}, {"id": None}, {"id": "x"}, {"id": -1}, {"id": 1.5e30}, {"id": [1]}, 7])
def test_consume_with_an_id_that_is_no_id_changes_nothing(db: Session, bad: Any) -> None:
    message = db.enqueue()
    before = db.messages()
    good = db.record(message)
    with pytest.raises(Exception, match=r"(?i)json|id"):
        db.call("outbox_consume_v1", json.dumps([good, bad]))
    assert db.messages() == before
    assert db.chats() == []
    assert db.consume(message) == {message: "consumed"}


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "null",
        "[]",
        "7",
        "{}",
        '{"user_id":"7","conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":7.5,"conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":7.0,"conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":true,"conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":null,"conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":9223372036854775808,"conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":-9223372036854775809,"conversation_id":"c","role":"user","message":"hi"}',
        '{"conversation_id":"c","role":"user","message":"hi"}',
        '{"user_id":7,"conversation_id":7,"role":"user","message":"hi"}',
        '{"user_id":7,"conversation_id":"","role":"user","message":"hi"}',
        '{"user_id":7,"conversation_id":"' + "c" * 256 + '","role":"user","message":"hi"}',
        '{"user_id":7,"conversation_id":"c","role":"","message":"hi"}',
        '{"user_id":7,"conversation_id":"c","role":"' + "r" * 33 + '","message":"hi"}',
        '{"user_id":7,"conversation_id":"c","role":"user"}',
        '{"user_id":7,"conversation_id":"c","role":"user","message":null}',
        '{"user_id":7,"conversation_id":"c","role":"user","message":{"text":"hi"}}',
        '[{"user_id":7,"conversation_id":"c","role":"user","message":"hi"}]',
    ],
)
def test_chat_payload_that_does_not_fit_is_refused_by_every_writer(db: Session, payload: str | None) -> None:
    message = db.enqueue(payload="{}" if payload is None else payload)
    before = db.messages()
    errno = 30003 if payload is None else 30007
    with refused(errno, "payload of message" if payload is None else ""):
        db.call("outbox_internal_write_chat_history_v1", message, payload)
    with refused(errno, ""):
        db.call("outbox_persist_chat_history_v1", message, payload)
    assert db.messages() == before
    outcomes = db.consume(message)
    assert outcomes == {message: "dead"}
    row = db.message(message)
    assert (row["status"], row["retry_count"], row["next_retry_at"]) == ("dead", 0, None)
    assert db.chats() == []


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("[]", "payload must be a JSON object, it is of type ARRAY"),
        ('{"user_id":"x7"}', 'user_id must be an integer, it is "x7"'),
        ("{}", "user_id must be an integer, it is missing"),
        (
            '{"user_id":7,"conversation_id":["c"]}',
            'conversation_id must be a text of 1 to 255 characters, it is ["c"]',
        ),
        ('{"user_id":7,"conversation_id":"c","role":""}', 'role must be a text of 1 to 32 characters, it is ""'),
        ('{"user_id":7,"conversation_id":"c","role":"r"}', "message must be a text, it is missing"),
        (
            '{"user_id":7,"conversation_id":"c","role":"r","message":[]}',
            "message must be a text, it is of type ARRAY",
        ),
    ],
)
def test_refused_chat_payload_is_named_with_its_value(db: Session, payload: str, said: str) -> None:
    with refused(30007, said):
        db.call("outbox_internal_write_chat_history_v1", 1, payload)
    message = db.enqueue(payload=payload)
    (row,) = db.consume_rows(message)
    assert (row["outcome"], row["error"]) == ("dead", said)
    assert db.message(message)["last_error"] == said


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        *((text, (30003, "payload of message {} is not valid JSON")) for text in (None, "", "{", "hello")),
        ("[" * 101 + "]" * 101, (3157, "maximum depth")),
    ],
)
@pytest.mark.parametrize("state", ["pending", "published"])
def test_record_value_that_is_not_json_is_refused_by_persist_and_the_genuine_one_taken(
    db: Session, state: str, payload: str | None, said: tuple[int, str]
) -> None:
    message = db.enqueue_in(state)
    before = db.messages()
    with pytest.raises(Error) as caught:
        db.call("outbox_persist_chat_history_v1", message, payload)
    assert caught.value.errno == said[0]
    assert said[1].format(message) in str(caught.value)
    assert db.messages() == before
    assert not db.in_transaction()
    db.call("outbox_persist_chat_history_v1", message, chat_payload())
    assert db.statuses() == {message: "consumed"}


@pytest.mark.parametrize("routine", ["published", "failed", "dead"])
@pytest.mark.parametrize("message", [None, 0, 987654321])
def test_transition_of_an_unknown_message_is_an_error(db: Session, routine: str, message: int | None) -> None:
    arguments = [message] if routine == "published" else [message, "why"]
    name = "NULL" if message is None else str(message)
    with refused(30004, f"p_id {name}: there is no such message"):
        db.call(f"outbox_mark_{routine}_v1", *arguments)


def test_raise_raises_what_it_is_told_cut_to_128_characters(db: Session) -> None:
    with refused(30004, "p_id 7: there is no such message"):
        db.call("outbox_internal_raise_v1", 30004, "p_id 7: there is no such message")
    with refused(30001, "漢" * 128):
        db.call("outbox_internal_raise_v1", 30001, "漢" * 129)


def test_persist_of_an_unknown_message_does_nothing(db: Session) -> None:
    for message in (None, 0, 987654321):
        db.call("outbox_persist_chat_history_v1", message, '{"user_id":1}')
    assert db.chats() == []
    assert db.enqueue(biz_type=CHAT) > 0
