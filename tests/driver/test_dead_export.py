"""`outboxd dead export` and `outboxd enqueue`: dead letters go out of one database, and into it or another, once."""

from pathlib import Path

from tests.kit.command import Invoke
from tests.kit.session import Session

COLUMNS = ("biz_type", "topic", "message_key", "payload", "headers", "max_retry")


def test_exported_dead_letters_are_enqueued_once_as_they_were(invoke: Invoke, db: Session, tmp_path: Path) -> None:
    payload = '{ "b" : 1.10, "a": "漢\\n\\u0041" }'
    dead = [
        db.enqueue_with("order_placed", "orders", "Ada", payload, headers={"tenant": "eu-1"}, max_retry=7),
        db.enqueue("k", topic="chat"),
    ]
    for message in dead:
        db.call("outbox_mark_dead_v1", message, "as arranged")
    db.enqueue("alive")
    before = [{name: db.message(message)[name] for name in COLUMNS} for message in dead]
    exported = invoke("dead", "export")
    assert exported.exit_code == 0
    assert len(exported.output.splitlines()) == 2
    file = tmp_path / "dead.jsonl"
    file.write_text(exported.output, encoding="utf-8")

    assert invoke("enqueue", str(file)).output.startswith("2 enqueued, 0 rejected")
    assert invoke("enqueue", str(file)).output.startswith("0 enqueued, 2 known, 0 rejected")
    copies = [row for row in db.messages() if row["id"] > max(dead) + 1]
    assert [{name: row[name] for name in COLUMNS} for row in copies] == before
    assert {row["status"] for row in copies} == {"pending"}
    assert [db.statuses()[message] for message in dead] == ["dead", "dead"]


def test_filters_choose_and_bytes_are_left_out_and_counted(invoke: Invoke, db: Session) -> None:
    for message in (db.enqueue("k", topic="one"), db.enqueue("k", topic="two"), db.enqueue_bytes(b"\0")):
        db.call("outbox_mark_dead_v1", message, "as arranged")
    one = invoke("dead", "export", "--topic", "one")
    assert (one.exit_code, len(one.output.splitlines())) == (0, 1)
    every = invoke("dead", "export")
    assert every.exit_code == 3
    assert every.stderr == "left out: 1 dead letter with bytes\n"
    assert len(every.stdout.splitlines()) == 2


def test_line_without_a_topic_needs_one(invoke: Invoke, db: Session, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"biz_type": "b", "key": "k", "payload": {}}\n')
    done = invoke("enqueue", str(file))
    assert (done.exit_code, db.messages()) == (3, [])
    assert "line 1: topic is missing: give --topic" in done.output
