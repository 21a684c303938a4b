"""One message, from an application's call to its effect, and what anybody else reads in Kafka."""

import base64
import random

import pytest

from tests.end_to_end.brokers import Broker
from tests.kit.command import Setting
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topic, read_back
from tests.kit.session import Session, chat_payload
from tests.servers.kafka import RunningKafka

TEXTS = {
    "ascii": "Which gate does flight LH 438 leave from?",
    "chinese": "预约明天上午十点的牙医。",
    "arabic": "أين المحطة؟",
    "combined": "e\u0301 n\u0303 각 क्षि",
    "emoji": "👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🇨🇳",
    "quotes": """it's "quoted" `here` \\ \\\\ \\" \\u0041""",
    "lines": "one\ntwo\r\n\tthree\u2028four\u0085five\x0bsix",
    "odd": "\0\x01\x7f\ufeff\uffff {}[],: %s %(d)s ; -- /* */ $$ DELIMITER",
    "spaces": "  around  ",
    "empty": "",
    "mebibyte": "漢字🎉 " * (1 << 16) + "x" * (1 << 19),
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_text_of_any_kind_arrives_as_it_was_given(broker: Broker, start_daemon: StartDaemon, db: Session) -> None:
    db.call("outbox_set_max_payload_bytes_v1", 2 << 20)
    topic = broker.create_topic()
    messages = {
        db.out("outbox_enqueue_chat_history_v1", topic, key, 7, key, "user", text, None): key
        for key, text in TEXTS.items()
    }
    assert len(TEXTS["mebibyte"].encode()) > 1 << 20
    daemon = start_daemon(kafka_bootstrap=broker.bootstrap, kafka_options=broker.options, topics=topic, group=topic)
    daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all consumed")

    rows = db.rows("SELECT user_id, chat_id, role, HEX(message_content) AS bytes FROM chat_histories")
    assert {row["chat_id"]: bytes.fromhex(row["bytes"]).decode() for row in rows} == TEXTS
    assert len(rows) == len(TEXTS)
    assert {(row["user_id"], row["role"]) for row in rows} == {(7, "user")}
    stored = {key.encode(): db.message(message)["payload"].encode() for message, key in messages.items()}
    assert {record.key: record.value for record in read_back(broker.bootstrap, topic, len(TEXTS))} == stored


def test_record_is_a_cloudevent_with_the_key_the_payload_and_the_messages_own_headers(
    broker: Broker, start_daemon: StartDaemon, db: Session
) -> None:
    topic = broker.create_topic()
    payload = '{ "b" : 1.10, "a":100000000000000000000000000000001, "b":"é\\u00e9" }\n'
    own = {"traceparent": TRACE, "ce_id": "999", "purpose": "測試"}
    message = db.enqueue_with("order_placed", topic, "Ada 漢", payload, headers=own)
    daemon = start_daemon(
        "--only", "relay", kafka_bootstrap=broker.bootstrap, kafka_options=broker.options, source="/shop/eu"
    )
    daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "Kafka has acknowledged it")
    (record,) = read_back(broker.bootstrap, topic, 1)
    assert record.key == "Ada 漢".encode()
    assert record.value == payload.encode()
    assert record.headers[:6] == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"%d" % message),
        ("ce_source", b"/shop/eu"),
        ("ce_type", b"order_placed"),
        ("ce_time", f"{db.message(message)['created_at'].isoformat()}Z".encode()),
        ("content-type", b"application/json"),
    ]
    assert sorted(record.headers[6:]) == [("purpose", "測試".encode()), ("traceparent", TRACE.encode())]


def test_bytes_and_tombstones_arrive_as_they_are_and_the_outbox_knows_where(
    broker: Broker, start_daemon: StartDaemon, db: Session
) -> None:
    topic = broker.create_topic()
    sent = {"framed": b"\0\0\0\0\x01\xff", "empty": b"", "gone": None}
    for key, body in sent.items():
        content_type = None if body is None else "application/avro"
        db.out("outbox_enqueue_bytes_v1", "bytes", topic, key, body, content_type, '{"headers": {"schema": "1"}}')
    daemon = start_daemon("--only", "relay", kafka_bootstrap=broker.bootstrap, kafka_options=broker.options)
    daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "Kafka has acknowledged them")
    records = {(record.key or b"").decode(): record for record in read_back(broker.bootstrap, topic, len(sent))}
    assert {key: record.value for key, record in records.items()} == sent
    types = {key: dict(record.headers).get("content-type") for key, record in records.items()}
    assert types == {"framed": b"application/avro", "empty": b"application/avro", "gone": None}
    assert all(("schema", b"1") in record.headers for record in records.values())
    places = {row["message_key"]: (row["kafka_partition"], row["kafka_offset"]) for row in db.messages()}
    assert places == {key: (record.partition, record.offset) for key, record in records.items()}


@pytest.mark.parametrize("only", ["relay", "consumer"])
def test_relay_and_consumer_each_note_where_a_record_is(
    broker: Broker, start_daemon: StartDaemon, db: Session, only: str
) -> None:
    topic = broker.create_topic()
    message = db.enqueue("k", topic=topic)
    with_kafka: dict[str, Setting] = {"kafka_bootstrap": broker.bootstrap, "kafka_options": broker.options}
    relay = start_daemon("--only", "relay", **with_kafka)
    relay.eventually(lambda: db.statuses() == {message: "published"}, "it is published")
    if only == "consumer":
        db.execute("UPDATE agent_outbox_messages SET kafka_partition = NULL, kafka_offset = NULL")
        consumer = start_daemon("--only", "consumer", topics=topic, group=topic, **with_kafka)
        consumer.eventually(lambda: db.statuses() == {message: "consumed"}, "it is consumed")
    (record,) = read_back(broker.bootstrap, topic, 1)
    row = db.message(message)
    assert (row["kafka_partition"], row["kafka_offset"]) == (record.partition, record.offset)


@pytest.mark.kafka
def test_record_that_the_topic_does_not_take_is_dead_and_holds_up_no_other(
    kafka_broker: RunningKafka, start_daemon: StartDaemon, db: Session
) -> None:
    """Larger than the topic allows, which only the broker knows: it refuses the batch that the record is in."""
    topic = create_topic(kafka_broker.bootstrap, 1, **{"max.message.bytes": "10000"})
    noise = base64.b64encode(random.Random(1).randbytes(20_000)).decode()
    before = [db.enqueue("k", topic=topic) for _ in range(3)]
    large = db.enqueue("k", topic=topic, payload=chat_payload(noise))
    after = [db.enqueue(key, topic=topic) for key in ("k", "k", "other")]
    daemon = start_daemon(
        kafka_bootstrap=kafka_broker.bootstrap, kafka_options={"linger.ms": 50}, topics=topic, group=topic
    )
    daemon.eventually(lambda: "pending" not in db.statuses().values(), "nothing pending", seconds=60)
    daemon.eventually(lambda: "published" not in db.statuses().values(), "nothing published")
    assert db.statuses() == dict.fromkeys(before + after, "consumed") | {large: "dead"}
    assert "MSG_SIZE_TOO_LARGE" in db.message(large)["last_error"]
    assert noise not in daemon.log


@pytest.mark.kafka
def test_topic_that_cannot_exist_makes_its_message_dead_and_holds_up_no_other(
    kafka_broker: RunningKafka, start_daemon: StartDaemon, db: Session
) -> None:
    topic = create_topic(kafka_broker.bootstrap)
    impossible = db.adopt("k", topic="no topic has spaces")
    good = db.enqueue("k", topic=topic)
    daemon = start_daemon(
        "--only",
        "relay",
        kafka_bootstrap=kafka_broker.bootstrap,
        kafka_options={"topic.metadata.propagation.max.ms": 500},
    )
    daemon.eventually(lambda: db.statuses() == {impossible: "dead", good: "published"}, "one dead, one published")
    assert "no topic has spaces" not in db.message(good)["payload"]
    assert "Kafka refuses the record" in db.message(impossible)["last_error"]
