"""Hostile texts in Kafka's records: what outboxd writes into them, and what foreign records do."""

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import put, read_back
from tests.kit.mock_cluster import MockCluster
from tests.kit.session import CHAT, Session, chat_payload
from tests.security import bystanders, hostile


def test_keys_headers_and_texts_arrive_byte_for_byte(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat")
    for text in hostile.SQL:
        enqueue_with(db, text, {"own": text, _until_nul(text): text})
    daemon = start_daemon()
    daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all consumed")
    assert sorted(db.chats()) == sorted(hostile.SQL)
    for record in read_back(cluster.bootstrap, "chat", len(hostile.SQL)):
        key = (record.key or b"").decode()
        assert ("own", key.encode()) in record.headers
        assert (_until_nul(key), key.encode()) in record.headers
    assert daemon.stop() == 0


def test_headers_of_a_messages_own_never_pass_for_those_of_outboxd(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat")
    victim = db.enqueue_published("victim", topic="elsewhere")
    forged = {"ce_id": str(victim), "ce_id\0": str(victim), "ce_source\0x": "/elsewhere", "ce_type\0": "other"}
    message = enqueue_with(db, "forged", forged)
    daemon = start_daemon()
    daemon.eventually(lambda: db.statuses()[message] == "consumed", "consumed")
    (record,) = read_back(cluster.bootstrap, "chat", 1)
    assert [value for name, value in record.headers if name == "ce_id"] == [str(message).encode()]
    assert len({name for name, _ in record.headers}) == len(record.headers)
    assert db.statuses()[victim] == "published"
    assert daemon.stop() == 0


def enqueue_with(db: Session, text: str, headers: dict[str, str]) -> int:
    """Enqueue a chat message of this key, text and headers."""
    return db.enqueue_with(CHAT, "chat", text, chat_payload(text), headers=headers)


def _until_nul(name: str) -> str:
    """What Kafka's C library makes of a header's name."""
    return name.partition("\0")[0]


def test_foreign_records_change_nothing_whatever_they_say(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat", partitions=1)
    source = db.source()
    bystanders.arrange(db)
    before = bystanders.look(db)
    ids = [*hostile.QUOTES[:6], hostile.TERMINAL, "1 OR 1=1", "1; DROP TABLE chat_histories"]
    put(
        cluster.bootstrap,
        "chat",
        *({"value": text, "key": text, "headers": {"ce_id": text, "ce_source": source}} for text in ids),
        *({"value": text, "key": text, "headers": {"ce_id": "1", "ce_source": text}} for text in ids),
        *({"value": text, "key": text, "headers": {"ce_id": str(2**63), "ce_source": source}} for text in ids),
    )
    daemon = start_daemon("--only", "consumer", "--verbose")
    daemon.says("foreign", count=2 * len(ids))
    daemon.says("consumed")
    assert bystanders.look(db).added(before) == {}
    assert not hostile.is_obeyed(daemon.log)
    assert daemon.stop() == 0
