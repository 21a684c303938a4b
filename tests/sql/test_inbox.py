"""The inbox: subscriptions, and what outbox_receive_v1 makes of records of others."""

import base64
import json
from typing import Any

import pytest
from mysql.connector.errors import DatabaseError

from tests.kit.application import Application
from tests.kit.server import Connect
from tests.kit.session import Row, Session
from tests.kit.waiting import background, eventually

SHOP = "/outboxd/shop/7b6a5f0c"


def record(**changes: Any) -> dict[str, Any]:
    """A record as a consumer describes it."""
    place = {"topic": "orders", "partition": 0, "offset": 7}
    event = {"source": SHOP, "id": "1", "type": "order_placed", "time": "2026-01-01T12:00:00Z"}
    return {**event, **place, "key": "Ada", "payload": '{"order": 1}', "headers": {}} | changes


def receive(db: Session, *records: dict[str, Any]) -> list[Row]:
    return db.call("outbox_receive_v1", json.dumps(records))


def outcomes(db: Session, *records: dict[str, Any]) -> list[str]:
    return [row["outcome"] for row in receive(db, *records)]


def consume_received(db: Session, *records: dict[str, Any]) -> list[str]:
    """Receive records, and consume those that are received, as the daemon does; returns the outcomes of both."""
    rows = receive(db, *records)
    found = db.consume(*(row["id"] for row in rows if row["outcome"] == "received"))
    return [str(found[row["id"]] if row["outcome"] == "received" else row["outcome"]) for row in rows]


@pytest.fixture
def inbox(db: Session, app: Application) -> Session:
    """A database with a handler that is subscribed to the shop's orders."""
    app.business("ship_order")
    db.call("outbox_subscribe_v1", SHOP, "order_placed", "ship_order")
    return db


def test_received_record_is_a_published_message_that_takes_effect_once(inbox: Session, app: Application) -> None:
    given = record(headers={"traceparent": "00-1"}, content_type="application/json")
    (row,) = receive(inbox, given)
    message = inbox.message(row["id"])
    assert (row["outcome"], row["error"], row["created_at"]) == ("received", None, message["created_at"])
    assert (message["topic"], message["message_key"]) == (row["topic"], row["message_key"])
    assert (row["topic"], row["message_key"], row["biz_type"]) == (
        f"orders.outboxd.{inbox.value('SELECT DATABASE()')}",
        "Ada",
        "ship_order",
    )
    assert (message["status"], message["payload"], message["next_retry_at"]) == ("published", '{"order": 1}', None)
    assert json.loads(message["headers"]) == {"traceparent": "00-1"}
    origin = ("source", "id", "type", "time", "topic", "partition", "offset", "content_type")
    assert json.loads(message["origin"]) == {name: given[name] for name in origin}
    assert consume_received(inbox, given, given) == ["consumed", "consumed"]
    assert consume_received(inbox, given | {"partition": 3, "offset": 1}) == ["duplicate"]
    assert app.effects() == [row["id"]]


@pytest.mark.parametrize("between", ["nothing", "failure", "death", "purge"])
def test_record_that_comes_again_is_consumed_only_where_it_is_still_under_way(
    inbox: Session, app: Application, between: str
) -> None:
    """What comes between the record and its copy: a crash before the consumption, a failure, its death, a purge."""
    (first,) = receive(inbox, record())
    if between == "failure":
        inbox.call("outbox_mark_failed_v1", first["id"], "no carrier")
    elif between == "death":
        inbox.call("outbox_mark_dead_v1", first["id"], "no carrier")
    elif between == "purge":
        inbox.execute("DELETE FROM agent_outbox_messages")
    assert consume_received(inbox, record()) == ["consumed" if between == "nothing" else "duplicate"]
    assert app.effects() == ([first["id"]] if between == "nothing" else [])


@pytest.mark.parametrize(
    "changes", [{"id": "2"}, {"source": f"{SHOP}0"}, {"time": "2026-01-02T12:00:00Z"}, {"time": None}], ids=str
)
def test_another_id_source_or_time_is_another_event(inbox: Session, changes: dict[str, Any]) -> None:
    """An id comes again where the origin was restored; its time is another one then."""
    inbox.call("outbox_subscribe_v1", "/outboxd/%", "%", "ship_order")
    assert outcomes(inbox, record(), record(**changes)) == ["received", "received"]
    assert len(inbox.statuses()) == 2


@pytest.mark.parametrize(
    ("source", "event_type", "is_taken"),
    [
        (SHOP, "order_placed", True),
        (SHOP, "%", True),
        ("/outboxd/shop/%", "order%", True),
        ("%", "%", True),
        (SHOP, "order_billed", False),
        ("/outboxd/sho_/%", "%", False),
        (SHOP.upper(), "%", False),
        (SHOP, "order|placed", False),
        ("/outboxd/shop", "%", False),
        ("kafka:orders", "%", False),
    ],
)
def test_percent_stands_for_any_text_and_all_else_for_itself(
    db: Session, app: Application, source: str, event_type: str, is_taken: bool
) -> None:
    app.business("ship_order")
    db.call("outbox_subscribe_v1", source, event_type, "ship_order")
    assert outcomes(db, record()) == ["received" if is_taken else "ignored"]


def test_the_closest_subscription_decides(db: Session, app: Application) -> None:
    subscriptions = {
        ("%", "%"): "d",
        ("/outboxd/%", "order_placed"): "c",
        (SHOP, "%"): "b",
        (SHOP, "order_placed"): "a",
    }
    for (source, event_type), biz_type in subscriptions.items():
        app.business(biz_type)
        db.call("outbox_subscribe_v1", source, event_type, biz_type)
    found = []
    for number, (source, event_type) in enumerate(reversed(subscriptions)):
        found += [row["biz_type"] for row in receive(db, record(id=str(number)))]
        db.call("outbox_unsubscribe_v1", source, event_type)
    assert found == ["a", "b", "c", "d"]
    assert outcomes(db, record(id="5")) == ["ignored"]


DEEP = "[" * 101 + "]" * 101
VALUES: dict[str, tuple[dict[str, Any], str, str]] = {
    "text": ({"payload": "no JSON"}, '"no JSON"', "its value is no JSON"),
    "empty": ({"payload": ""}, '""', "its value is no JSON"),
    "deep": ({"payload": DEEP}, json.dumps(DEEP), "its value is JSON that is nested deeper than 100 levels"),
    "bytes": ({"payload": None, "bytes": "//4="}, '"//4="', "its value is not UTF-8"),
    "long key": ({"key": "k" * 256}, '{"order": 1}', "its key has more than 255 characters"),
    "said": ({"payload": None, "error": "its value is left out"}, "null", "its value is left out"),
}


@pytest.mark.parametrize("name", VALUES)
def test_record_that_cannot_take_effect_is_a_dead_letter_that_says_why(inbox: Session, name: str) -> None:
    changes, payload, error = VALUES[name]
    before, bad, after = receive(inbox, record(id="before"), record(**changes), record(id="after"))
    assert [row["outcome"] for row in (before, bad, after)] == ["received", "dead", "received"]
    assert bad["error"] == f"{error}, record orders[0]@7"
    message = inbox.message(bad["id"])
    assert (message["status"], message["payload"], message["last_error"]) == ("dead", payload, bad["error"])
    assert before["id"] < bad["id"] < after["id"]
    assert inbox.column("SELECT origin FROM outbox_dead_letters") == [SHOP]
    assert inbox.rows(
        "SELECT status, messages, origin_topic FROM outbox_status WHERE biz_type = 'ship_order' ORDER BY status"
    ) == [
        {"status": "dead", "messages": 1, "origin_topic": "orders"},
        {"status": "published", "messages": 2, "origin_topic": "orders"},
    ]
    assert inbox.rows("SELECT message_id, failure, stage, error FROM outbox_failures") == [
        {"message_id": bad["id"], "failure": 1, "stage": "consumer", "error": bad["error"]}
    ]


def test_without_a_handler_a_record_is_a_dead_letter_that_takes_effect_once_there_is_one(
    inbox: Session, app: Application
) -> None:
    inbox.call("outbox_register_biz_type_v1", "ship_order", "", None, None, None, None)
    (row,) = receive(inbox, record())
    assert (row["outcome"], row["error"]) == (
        "dead",
        "business type ship_order has no handler, record orders[0]@7",
    )
    inbox.call("outbox_register_biz_type_v1", "ship_order", "ship_order", None, None, None, None)
    assert inbox.out("outbox_requeue_v1", row["id"]) == 1
    inbox.call("outbox_mark_published_v1", row["id"])
    assert inbox.consume(row["id"]) == {row["id"]: "consumed"}
    assert inbox.column("SELECT payload FROM app_effects") == ['{"order": 1}']
    assert app.effects() == [row["id"]]


def test_type_that_takes_bytes_gets_every_value_in_base64(inbox: Session) -> None:
    assert [inbox.call("outbox_register_bytes_v1", "ship_order", True)[0]["changed"] for _ in range(2)] == [1, 0]
    raw = bytes(range(256))
    sent: list[dict[str, Any]] = [
        {"bytes": base64.b64encode(raw).decode(), "payload": None},
        {"payload": "1"},
        {"payload": "x" * 100},
    ]
    given = [record(id=str(number), **one) for number, one in enumerate([*sent, {"payload": None}])]
    assert consume_received(inbox, *given) == ["consumed"] * 4
    payloads = [json.loads(text) for text in inbox.column("SELECT payload FROM app_effects ORDER BY message")]
    assert [text and base64.b64decode(text) for text in payloads] == [raw, b"1", b"x" * 100, None]


def test_record_without_a_key_has_a_lane_of_its_own_and_a_tombstone_is_null(inbox: Session) -> None:
    rows = receive(inbox, record(key=None), record(id="2", key="", offset=8), record(id="3", payload=None))
    assert [row["message_key"] for row in rows] == ["0:7", "0:8", "Ada"]
    assert inbox.message(rows[2]["id"])["payload"] == "null"


def test_records_of_topics_for_sending_again_are_never_received(inbox: Session) -> None:
    """They are another outbox's, of the same database name maybe, and of events that it has received."""
    assert outcomes(inbox, record(topic="orders.outboxd.shipping")) == ["ignored"]


def test_ids_leave_no_gap_that_would_hold_up_claims(inbox: Session) -> None:
    ids = [
        row["id"]
        for count in (1, 2, 5, 11)
        for row in receive(inbox, *(record(id=f"{count} {n}") for n in range(count)))
    ]
    own = inbox.enqueue()
    assert [*ids, own] == list(range(ids[0], own + 1))


def test_failing_event_holds_back_the_later_ones_of_its_key_only(inbox: Session, app: Application) -> None:
    inbox.execute("DROP PROCEDURE ship_order")
    app.handler(
        "IF p_payload = '1' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no carrier'; END IF", name="ship_order"
    )
    given = [record(id=f"{key}{n}", key=key, payload=str(n)) for n in (1, 2) for key in ("a", "b")]
    given[1]["payload"] = "3"
    assert consume_received(inbox, *given) == ["failed", "consumed", "deferred", "consumed"]
    waiting = [row for row in inbox.messages() if row["status"] == "pending"]
    assert {row["topic"] for row in waiting} == {f"orders.outboxd.{inbox.value('SELECT DATABASE()')}"}


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_second_consumer_of_a_record_waits_for_the_first(
    inbox: Session, connect: Connect, isolation: str, end: str
) -> None:
    """The first one is in the middle of its transaction: it has taken the dedup key."""
    second = connect()
    second.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}")
    message = inbox.enqueue_published(biz_type="ship_order")
    inbox.execute("START TRANSACTION")
    same = f"{len(SHOP)} {SHOP}1 12026-01-01T12:00:00Z"
    inbox.execute(
        "INSERT INTO outbox_dedup_keys VALUES (CONCAT('inbox ', SHA2(%s, 256)), %s, UTC_TIMESTAMP(6))", same, message
    )
    with background(lambda: receive(second, record())) as waiting:
        eventually(lambda: inbox.value("SELECT COUNT(*) FROM performance_schema.data_lock_waits") > 0)
        inbox.execute(end)
        (row,) = waiting.result(30)
    assert row["outcome"] == "received"
    assert (row["id"] == message) == (end == "COMMIT")
    assert len(inbox.statuses()) == (1 if end == "COMMIT" else 2)


def test_inbox_tells_a_consumer_what_to_read(db: Session, app: Application) -> None:
    app.business("ship_order")
    assert db.call("outbox_inbox_v1") == [{"subscriptions": 0, "retry_topics": None}]
    db.call("outbox_subscribe_v1", SHOP, "order_placed", "ship_order")
    receive(db, record(), record(id="2", topic="x" * 249), record(id="3", type="another", topic="no"))
    (inbox,) = db.call("outbox_inbox_v1")
    suffix = f".outboxd.{db.value('SELECT DATABASE()')}"
    assert inbox["subscriptions"] == 1
    assert sorted(json.loads(inbox["retry_topics"])) == [f"orders{suffix}", "x" * (249 - len(suffix)) + suffix]
    db.call("outbox_unsubscribe_v1", SHOP, "order_placed")
    (inbox,) = db.call("outbox_inbox_v1")
    assert (inbox["subscriptions"], len(json.loads(inbox["retry_topics"]))) == (0, 2)


def test_subscription_tells_to_the_minute_when_its_last_record_came(inbox: Session, app: Application) -> None:
    app.business("bill_order")
    inbox.call("outbox_subscribe_v1", SHOP, "%", "bill_order")
    looked: list[Any] = []
    for age_seconds in (None, 30, 90):
        if age_seconds:
            inbox.execute(f"UPDATE outbox_subscriptions SET received_at = received_at - INTERVAL {age_seconds} SECOND")
        before = {row["event_type"]: row["received_at"] for row in inbox.call("outbox_list_subscriptions_v1", None)}
        receive(inbox, record(), record(type="another"))
        after = {row["event_type"]: row["received_at"] for row in inbox.call("outbox_list_subscriptions_v1", None)}
        looked.append({name for name in after if after[name] != before[name]})
    assert looked == [{"%", "order_placed"}, set(), {"%", "order_placed"}]


def test_subscriptions_are_listed_and_each_change_is_audited(db: Session, app: Application) -> None:
    app.business("ship_order")
    app.business("bill_order")
    db.execute("DELETE FROM outbox_audit")
    changes = [
        db.call("outbox_subscribe_v1", SHOP, "order_placed", biz_type)[0]["changed"]
        for biz_type in ("ship_order", "ship_order", "bill_order")
    ]
    assert changes == [1, 0, 1]
    (row,) = db.call("outbox_list_subscriptions_v1", None)
    assert (row["source"], row["event_type"], row["biz_type"]) == (SHOP, "order_placed", "bill_order")
    assert (row["handler"], row["takes_bytes"]) == ("bill_order", 0)
    assert [db.call("outbox_unsubscribe_v1", SHOP, "order_placed")[0]["changed"] for _ in range(2)] == [1, 0]
    assert db.call("outbox_list_subscriptions_v1", 5) == []
    assert db.column("SELECT action FROM outbox_audit ORDER BY id") == ["subscribe", "subscribe", "unsubscribe"]


@pytest.mark.parametrize("call", ["outbox_subscribe_v1(%s, '%', 'ship_order')", "outbox_unsubscribe_v1(%s, '%')"])
def test_subscription_in_a_transaction_is_the_transactions(
    db: Session, app: Application, connect: Connect, call: str
) -> None:
    app.business("ship_order")
    if "un" in call:
        db.call("outbox_subscribe_v1", SHOP, "%", "ship_order")
    before = db.rows("SELECT * FROM outbox_subscriptions")
    with connect() as migration:
        migration.execute("START TRANSACTION")
        migration.rows("CALL " + call.replace("'%'", "'%%'"), SHOP)
        migration.execute("ROLLBACK")
    assert db.rows("SELECT * FROM outbox_subscriptions") == before


@pytest.mark.parametrize(
    ("procedure", "arguments", "errno"),
    [
        ("outbox_subscribe_v1", ("", "%", "ship_order"), 30001),
        ("outbox_subscribe_v1", ("s" * 256, "%", "ship_order"), 30002),
        ("outbox_subscribe_v1", ("s", None, "ship_order"), 30001),
        ("outbox_subscribe_v1", ("s", "%", None), 30001),
        ("outbox_subscribe_v1", ("s", "%", "nobody's"), 30008),
        ("outbox_subscribe_v1", ("s", "%", "publish-only"), 30008),
        ("outbox_unsubscribe_v1", (None, "%"), 30001),
        ("outbox_unsubscribe_v1", ("s", "t" * 256), 30002),
        ("outbox_list_subscriptions_v1", (-1,), 30005),
        ("outbox_register_bytes_v1", ("nobody's", True), 30008),
        ("outbox_register_bytes_v1", ("ship_order", None), 30005),
        ("outbox_receive_v1", ("no JSON",), 30003),
        ("outbox_receive_v1", (None,), 30003),
    ],
)
def test_wrong_arguments_are_refused(
    db: Session, app: Application, procedure: str, arguments: tuple[object, ...], errno: int
) -> None:
    app.business("ship_order")
    db.call("outbox_register_biz_type_v1", "publish-only", None, None, None, None, None)
    with pytest.raises(DatabaseError) as refused:
        db.call(procedure, *arguments)
    assert refused.value.errno == errno
    assert db.rows("SELECT * FROM outbox_subscriptions") == []


def test_replayed_event_keeps_its_origin(inbox: Session) -> None:
    assert consume_received(inbox, record()) == ["consumed"]
    assert inbox.out("outbox_replay_v1", None, None, None, None, None) == 1
    first, copy = inbox.messages()
    assert (copy["origin"], copy["topic"], copy["status"]) == (first["origin"], first["topic"], "pending")
