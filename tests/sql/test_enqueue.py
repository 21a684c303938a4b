"""outbox_enqueue_v1, with options, and for chat: what is stored, and in whose transaction."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, refused

PAYLOADS = {
    "key order": '{"zebra":1,"a":2,"mm":3}',
    "duplicate keys": '{"a":1,"a":2}',
    "digits of a number": "[1.10, 100000000000000000000000000000001, 0.1000000000000000055511151231257827, 1e-400, -0]",
    "whitespace": '{ "a" :\t1 ,\n\n "b":\r\n[ ] }  ',
    "emoji": '{"text":"héllo 漢字 👩‍👩‍👧 🎉"}',
    "quotes": """{"text":"it's \\"quoted\\" `here`"}""",
    "backslashes": r'{"path":"C:\\temp\\new","escape":"\n\t\u0041"}',
    "escapes are not decoded": r'"\u00e9\ud83c\udf89\/"',
    "statement ends": '{"text":"a; DELIMITER $$ -- b /* c */ # %s %(d)s"}',
    "scalar": "17",
    "null": "null",
    "empty text": '""',
    "nearly one megabyte": json.dumps("x😀" * 70_000),
}


def test_enqueued_message_is_pending_and_due_at_once(db: Session) -> None:
    message = db.out("outbox_enqueue_v1", "order_placed", "orders", "Ada", '{"order":1}', 5)
    assert db.value("SELECT COUNT(*) FROM agent_outbox_messages") == 1
    row = db.message(message)
    now = db.value("SELECT UTC_TIMESTAMP(6)")
    times = {row.pop(name) for name in ("next_retry_at", "created_at", "updated_at")}
    assert row == {
        "id": message,
        "biz_type": "order_placed",
        "topic": "orders",
        "message_key": "Ada",
        "payload": '{"order":1}',
        "body": None,
        "content_type": None,
        "headers": None,
        "origin": None,
        "dedup_key": None,
        "status": "pending",
        "retry_count": 0,
        "max_retry": 5,
        "last_error": None,
        "kafka_partition": None,
        "kafka_offset": None,
        "published_at": None,
        "consumed_at": None,
    }
    assert len(times) == 1
    assert timedelta(0) <= now - times.pop() < timedelta(seconds=10)
    assert [due["id"] for due in db.call("outbox_list_due_v1", 10)] == [message]


def test_ids_rise_and_each_call_returns_its_own(db: Session) -> None:
    messages = [db.enqueue(), db.enqueue(), db.enqueue()]
    assert messages == sorted(set(messages))
    assert messages == [row["id"] for row in db.messages()]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_payload_is_kept_and_handed_out_byte_for_byte(db: Session, payload: str) -> None:
    message = db.enqueue(payload=payload)
    stored = db.value("SELECT HEX(payload) FROM agent_outbox_messages WHERE id = %s", message)
    assert bytes.fromhex(str(stored)) == payload.encode()
    assert db.message(message)["payload"] == payload
    (claimed,) = db.claim()
    assert (claimed["value"], claimed["content_type"]) == (payload.encode(), "application/json")


@pytest.mark.parametrize("given", [None, 0, -1, -2147483648])
def test_max_retry_of_none_zero_or_less_is_20(db: Session, given: int | None) -> None:
    assert db.message(db.enqueue(max_retry=given))["max_retry"] == 20
    assert db.message(db.enqueue(biz_type="not_registered", max_retry=given))["max_retry"] == 20


@pytest.mark.parametrize("given", [1, 2, 20, 2147483647])
def test_max_retry_that_is_given_is_kept(db: Session, given: int) -> None:
    assert db.message(db.enqueue(max_retry=given))["max_retry"] == given


@pytest.mark.parametrize(("column", "length"), [("biz_type", 64), ("topic", 249), ("message_key", 255)])
@pytest.mark.parametrize("letter", ["a", "漢", "🎉", " "])
def test_longest_texts_are_accepted_counted_in_characters(db: Session, column: str, length: int, letter: str) -> None:
    if column == "topic":
        letter = "t"  # Kafka takes no others
    arguments = {"biz_type": "b", "topic": "t", "message_key": "k"} | {column: letter * length}
    message = db.out("outbox_enqueue_v1", *arguments.values(), "{}", None)
    assert db.message(message)[column] == letter * length
    assert [row[column] for row in db.claim()] == [letter * length]


def test_enqueue_vanishes_with_the_callers_rollback(db: Session) -> None:
    db.execute("START TRANSACTION")
    db.execute("INSERT INTO chat_histories (user_id, chat_id, message_content, role) VALUES (1, 'c', 'app', 'user')")
    db.enqueue("one")
    db.out("outbox_enqueue_chat_history_v1", "chat", "two", 7, "c-1", "user", "hi", None)
    db.enqueue_with(CHAT, "chat", "three", "{}", headers={"a": "b"}, delay_seconds=1)
    assert len(db.messages()) == 3
    db.execute("ROLLBACK")
    assert db.messages() == []
    assert db.chats() == []


def test_enqueue_becomes_visible_with_the_callers_commit_and_not_before(db: Session, connect: Connect) -> None:
    other = connect()
    db.execute("START TRANSACTION")
    db.execute("INSERT INTO chat_histories (user_id, chat_id, message_content, role) VALUES (1, 'c', 'app', 'user')")
    message = db.enqueue()
    assert other.messages() == []
    assert other.chats() == []
    assert other.claim_ids() == []
    db.execute("COMMIT")
    assert [row["id"] for row in other.messages()] == [message]
    assert other.chats() == ["app"]
    assert other.claim_ids() == [message]


def test_enqueue_obeys_a_savepoint_of_the_caller(db: Session) -> None:
    db.execute("START TRANSACTION")
    kept = db.enqueue("kept")
    db.execute("SAVEPOINT here")
    db.enqueue("undone")
    db.execute("ROLLBACK TO SAVEPOINT here")
    db.execute("COMMIT")
    assert [row["id"] for row in db.messages()] == [kept]


def test_enqueue_in_a_session_without_autocommit_waits_for_commit(db: Session, connect: Connect) -> None:
    app = connect()
    app.execute("SET autocommit = 0")
    app.enqueue()
    assert db.messages() == []
    app.execute("COMMIT")
    assert len(db.messages()) == 1


def test_enqueue_inside_a_read_only_transaction_is_refused_by_the_server(db: Session) -> None:
    db.execute("START TRANSACTION READ ONLY")
    with pytest.raises(Exception, match="READ ONLY"):
        db.enqueue()
    db.execute("ROLLBACK")
    assert db.messages() == []


def test_keys_compare_by_bytes(db: Session) -> None:
    keys = ["a", "A", "ä", "a ", " a", "a\u0301", "á"]
    messages = [db.enqueue(key) for key in keys]
    db.call("outbox_mark_failed_v1", messages[0], "holds back its own key only")
    assert db.claim_ids() == messages[1:]


# Chat histories


def test_chat_history_payload_has_the_four_keys_in_the_contracts_order(db: Session) -> None:
    message = db.out("outbox_enqueue_chat_history_v1", "chat", "c-1", 7, "c-1", "user", "hi", None)
    row = db.message(message)
    assert row["payload"] == '{"user_id":7,"conversation_id":"c-1","role":"user","message":"hi"}'
    assert (row["biz_type"], row["topic"], row["message_key"], row["max_retry"]) == (CHAT, "chat", "c-1", 20)


MESSAGES = {
    "empty": "",
    "spaces at both ends": "  x  ",
    "line ends": "a\nb\r\nc\td",
    "quotes and backslashes": 'it\'s "quoted" `x` \\ \\n \\\\ \\u0041 /',
    "emoji and combining": "👩‍👩‍👧 é e\u0301 漢字 \u200b\u202e",
    "control characters": "".join(chr(code) for code in range(1, 32)) + "\x7f",
    "nul": "a\x00b",
    "json": '{"message": "x", "n": 1.0}',
    "json too deep for the server": "[" * 101 + "]" * 101,
    "statement ends": "a; DELIMITER $$ -- b /* c */ # %s %%",
    "nearly one megabyte": 'x😀\\"\n' * 90_000,
}


@pytest.mark.parametrize("text", MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize("way", ["persist", "consume", "consume one by one"])
def test_chat_message_survives_to_chat_histories_byte_for_byte(db: Session, text: str, way: str) -> None:
    conversation, role = "c-\\\"'漢🎉", "rôle\n"
    message = first = db.out("outbox_enqueue_chat_history_v1", "chat", "k", -7, conversation, role, text, None)
    payload = db.message(message)["payload"]
    assert list(json.loads(payload)) == ["user_id", "conversation_id", "role", "message"]
    if way == "persist":
        db.call("outbox_persist_chat_history_v1", message, payload)
    elif way == "consume":
        assert db.consume(message) == {message: "consumed"}
    else:
        # Behind a bad one of its key in the batch it goes through the handler instead of the set.
        bad = db.enqueue("k", payload="{}")
        message = db.out("outbox_enqueue_chat_history_v1", "chat", "k", -7, conversation, role, text, None)
        db.call("outbox_mark_dead_v1", first, "out of the way")
        assert db.consume(bad, message) == {bad: "dead", message: "consumed"}
    row = db.row("SELECT user_id, chat_id, role, message_content FROM chat_histories")
    assert row == {"user_id": -7, "chat_id": conversation, "role": role, "message_content": text}


@pytest.mark.parametrize("user", [-9223372036854775808, 0, 9223372036854775807])
def test_chat_history_keeps_the_whole_range_of_user_ids(db: Session, user: int) -> None:
    message = db.out("outbox_enqueue_chat_history_v1", "chat", "k", user, "c", "user", "hi", None)
    assert json.loads(db.message(message)["payload"])["user_id"] == user
    db.consume(message)
    assert db.value("SELECT user_id FROM chat_histories") == user


def test_longest_conversation_and_role_are_counted_in_characters(db: Session) -> None:
    message = db.out("outbox_enqueue_chat_history_v1", "chat", "k", 1, "🎉" * 255, "漢" * 32, "hi", None)
    assert db.consume(message) == {message: "consumed"}
    assert db.row("SELECT chat_id, role FROM chat_histories") == {"chat_id": "🎉" * 255, "role": "漢" * 32}


# Options


def test_headers_are_stored_and_handed_out_with_the_claim(db: Session) -> None:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "naïve": '"🎉" \\ '}
    message = db.enqueue_with(CHAT, "chat", "k", "{}", headers=headers)
    assert json.loads(db.message(message)["headers"]) == headers
    (claimed,) = db.claim()
    assert json.loads(claimed["headers"]) == headers


@pytest.mark.parametrize("options", [None, "{}", '{"headers": null, "max_retry": null, "deliver_at": null}'])
def test_options_that_are_not_given_are_as_if_there_were_none(db: Session, options: str | None) -> None:
    message = db.out("outbox_enqueue_with_options_v1", CHAT, "chat", "k", "{}", options)
    row = db.message(message)
    assert (row["headers"], row["max_retry"], row["next_retry_at"]) == (None, 20, row["created_at"])


@pytest.mark.parametrize(("given", "stored"), [(3, 3), (0, 20), (-1, 20), (2**31 - 1, 2**31 - 1)])
def test_max_retry_is_an_option(db: Session, given: int, stored: int) -> None:
    assert db.message(db.enqueue_with(CHAT, "chat", "k", "{}", max_retry=given))["max_retry"] == stored


@pytest.mark.parametrize("time", ["2100-01-02 03:04:05.678901", "2100-01-02T03:04:05.678901Z"])
@pytest.mark.parametrize("zone", ["+00:00", "-08:00"])
def test_message_is_delivered_at_its_time_in_utc_whatever_the_sessions_time_zone(
    db: Session, time: str, zone: str
) -> None:
    db.execute("SET time_zone = %s", zone)
    message = db.enqueue_with(CHAT, "chat", "k", "{}", deliver_at=time)
    assert str(db.message(message)["next_retry_at"]) == "2100-01-02 03:04:05.678901"
    assert db.claim_ids() == []


def test_time_that_is_over_means_now(db: Session) -> None:
    message = db.enqueue_with(CHAT, "chat", "k", "{}", deliver_at="2000-01-01 00:00:00")
    assert db.claim_ids() == [message]


def test_delayed_message_is_due_after_the_delay(db: Session) -> None:
    message = db.enqueue_with(CHAT, "chat", "k", "{}", delay_seconds=90)
    row = db.message(message)
    assert row["next_retry_at"] - row["created_at"] == timedelta(seconds=90)
    assert db.call("outbox_list_due_v1", 10) == []
    assert db.claim_ids() == []
    db.make_due(message)
    assert [due["id"] for due in db.call("outbox_list_due_v1", 10)] == [message]
    assert db.claim_ids() == [message]


@pytest.mark.parametrize("delay", [None, 0])
def test_no_delay_means_due_now(db: Session, delay: int | None) -> None:
    message = db.enqueue_with(CHAT, "chat", "k", "{}", delay_seconds=delay)
    assert db.claim_ids() == [message]


@pytest.mark.parametrize("insert_id", [0, 7, 2**64 - 2])
def test_session_that_sets_ids_of_its_own_is_refused_and_harms_nobody(
    db: Session, connect: Connect, insert_id: int
) -> None:
    before = db.enqueue()
    session = connect()
    session.execute(f"SET insert_id = {insert_id}")
    with refused(30011, f"insert_id is set in this session, to {insert_id}"):
        session.enqueue()
    assert [row["id"] for row in db.messages()] == [before]
    assert db.enqueue() == before + 1


ENQUEUES: dict[str, Callable[[Session], object]] = {
    "enqueue": Session.enqueue,
    "dedup key": lambda db: db.enqueue_with(CHAT, "chat", "k", "{}", dedup_key="a"),
    "dedup key that is known": lambda db: [
        db.enqueue_with(CHAT, "chat", "k", "{}", dedup_key="a"),
        db.enqueue_with(CHAT, "chat", "k", "{}", dedup_key="a"),
    ],
    "returning": lambda db: db.call("outbox_enqueue_returning_v1", "b", "t", "k", "{}", None),
    "bytes": lambda db: db.enqueue_bytes(b"a"),
    "chat": lambda db: db.out("outbox_enqueue_chat_history_v1", "chat", "two", 7, "c-1", "user", "hi", None),
    "batch": lambda db: db.enqueue_batch({}, {"key": "b"}),
    "batch with dedup keys": lambda db: db.enqueue_batch({"dedup_key": "a"}, {"dedup_key": "b"}),
    "batch one by one": lambda db: db.enqueue_batch({"deliver_at": "2000-01-01 00:00:00"}, {}),
}


@pytest.mark.parametrize("enqueue", ENQUEUES.values(), ids=ENQUEUES.keys())
def test_enqueue_leaves_last_insert_id_to_the_caller(db: Session, enqueue: Callable[[Session], object]) -> None:
    db.execute("CREATE TEMPORARY TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY)")
    db.execute("INSERT INTO orders VALUES (4711)")
    db.execute("INSERT INTO orders VALUES ()")
    enqueue(db)
    assert db.value("SELECT LAST_INSERT_ID()") == 4712
