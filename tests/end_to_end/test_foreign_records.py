"""Records in the topic that are no messages of this outbox."""

import json
from typing import Any

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import put
from tests.kit.mock_cluster import MockCluster
from tests.kit.session import Session, chat_payload


def test_foreign_records_stop_nothing_and_change_nothing(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat", partitions=1)
    source = db.source()
    done, dead, unsent = db.enqueue_in("consumed"), db.enqueue_in("dead"), db.enqueue(topic="elsewhere")
    before, chats = db.messages(), db.chats()

    def headers(event_id: int | str, of: str = source) -> dict[str, str]:
        return {"ce_id": str(event_id), "ce_source": of}

    def of(message: int) -> dict[str, Any]:
        row = db.message(message)
        return {
            "key": row["message_key"],
            "headers": headers(message) | {"ce_time": f"{row['created_at'].isoformat()}Z"},
        }

    refused: list[dict[str, Any]] = [
        {"value": b"hello"},
        {"value": chat_payload().encode(), "key": b"c-1"},
        {"value": None, "headers": headers(unsent)},
        {"value": b"hello", "headers": headers(done), "key": b"\xff"},
        {"value": b"hello", "headers": headers(done) | {"ce_time": "noon"}, "key": b"k"},
        {"value": chat_payload().encode(), "headers": headers(unsent, "/outboxd/other")},
        {"value": chat_payload().encode(), "headers": headers(unsent, "")},
        {"value": chat_payload().encode(), "headers": headers("seven")},
        {"value": chat_payload().encode(), "headers": headers(10**30)},
        {"value": chat_payload().encode(), "headers": headers("9" * 10_000)},
        {"value": chat_payload().encode(), "headers": {"ce_id": None, "ce_source": None}},
    ]
    not_agreeing: list[dict[str, Any]] = [
        {"value": chat_payload("again").encode(), "key": b"k", "headers": headers(done)},
        {"value": chat_payload("again").encode(), **of(done), "key": b"another"},
        {"value": chat_payload("again").encode(), **of(unsent)},
        {"value": None, **of(unsent)},
    ]
    passed_over: list[dict[str, Any]] = [
        {"value": chat_payload("unknown").encode(), "key": b"k", "headers": headers(2**64 - 1)},
        {"value": chat_payload("unknown").encode(), "key": b"k", "headers": headers(0)},
        {"value": b"garbage", "key": b"k", "headers": headers(2**63)},
        {"value": b'{"\\u0000": ' + b"[" * 5000 + b"]" * 5000 + b"}", **of(done)},
        {"value": json.dumps("x" * 500_000).encode(), **of(dead)},
    ]
    put(cluster.bootstrap, "chat", *refused, *not_agreeing, *passed_over)
    daemon = start_daemon("--only", "consumer", "--verbose")
    daemon.says("foreign", count=len(refused) + len(not_agreeing))
    relay = start_daemon("--only", "relay", topics="")
    genuine = db.enqueue("genuine")
    daemon.eventually(lambda: db.statuses().get(genuine) == "consumed", "the genuine message is consumed")
    assert [row for row in db.messages() if row["id"] not in (genuine, unsent)] == [
        row for row in before if row["id"] != unsent
    ]
    assert db.chats() == [*chats, "genuine"]
    assert db.message(unsent)["retry_count"] == 0
    outcomes = [event.get(name, 0) for event in daemon.events("consumed") for name in ("unknown", "duplicate", "dead")]
    assert sum(outcomes) == len(passed_over)
    assert [daemon.stop(), relay.stop()] == [0, 0]

    again = start_daemon("--only", "consumer")
    last = db.enqueue_published("last")
    put(cluster.bootstrap, "chat", {"value": b"whatever it says", **of(last)})
    again.eventually(lambda: db.statuses()[last] == "consumed", "the last message is consumed")
    assert again.events("foreign") == []
