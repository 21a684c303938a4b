"""`outboxd enqueue`: which lines it takes, and what it says about the others."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.command import Invoke, Run
from tests.kit.session import Session, chat_payload

GOOD = {"user_id": 7, "conversation_id": "c-1", "role": "user", "message": "hi"}


def lines(*members: dict[str, Any] | str) -> bytes:
    """JSON lines; a text is taken as it is."""
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in members).encode()


def test_enqueue_puts_each_line_of_a_file_into_the_outbox(outboxd: Run, db: Session, tmp_path: Path) -> None:
    options = {"headers": {"traceparent": "00-1"}, "max_retry": 3}
    other = {"biz_type": "order_placed", "key": "Ada", "payload": {"order": 1.10}, **options}
    (tmp_path / "messages.jsonl").write_bytes(lines({**GOOD, "turn": 4}, other, {**other, "payload": "[1.10]"}))
    done = outboxd("enqueue", "--topic", "chat", "messages.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 enqueued, 0 rejected\n", "")
    chat, order, text = db.messages()
    assert (chat["biz_type"], chat["message_key"]) == ("chat_history_persist", "c-1")
    assert chat["payload"] == chat_payload()
    assert (order["biz_type"], order["topic"], order["message_key"]) == ("order_placed", "chat", "Ada")
    assert (order["payload"], text["payload"]) == ('{"order":1.1}', "[1.10]")
    assert (json.loads(order["headers"]), order["max_retry"]) == ({"traceparent": "00-1"}, 3)


def test_enqueue_reads_standard_input(outboxd: Run, db: Session) -> None:
    text = "漢字 👩‍👩‍👧 'quoted' \"twice\" \\ \u2028 \0 end"
    done = outboxd("enqueue", "--topic", "chat", "-", stdin=lines({**GOOD, "message": text}))
    assert (done.returncode, done.stdout) == (0, "1 enqueued, 0 rejected\n")
    (message,) = db.messages()
    assert json.loads(message["payload"])["message"] == text


BAD_LINES = {
    "no JSON": "{",
    "no object": "[1]",
    "member missing": json.dumps({"user_id": 7}),
    "member of another type": json.dumps({**GOOD, "user_id": "7"}),
    "boolean for a number": json.dumps({**GOOD, "user_id": True}),
    "number out of range": json.dumps({**GOOD, "user_id": 10**30}),
    "number of many digits": json.dumps({**GOOD, "user_id": 0}).replace("0", "9" * 5000),
    "empty key": json.dumps({**GOOD, "conversation_id": ""}),
    "long key": json.dumps({**GOOD, "conversation_id": "c" * 256}),
    "very long key": json.dumps({**GOOD, "conversation_id": "c" * 70_000}),
    "half of a surrogate pair": json.dumps({**GOOD, "message": "\ud83c"}),
    "half of a surrogate pair in a payload": json.dumps({"biz_type": "t", "key": "k", "payload": {"a": "\ud83c"}}),
    "not a number": '{"biz_type": "t", "key": "k", "payload": NaN}',
    "payload that is no JSON": json.dumps({"biz_type": "t", "key": "k", "payload": "text"}),
    "payload without key": json.dumps({"biz_type": "t", "payload": {}}),
    "headers that are no object": json.dumps({"biz_type": "t", "key": "k", "payload": {}, "headers": ["a"]}),
    "deeper than MySQL takes": '{"biz_type": "t", "key": "k", "payload": %s}' % ("[" * 101 + "]" * 101),
    "deeper than Python takes": '{"biz_type": "t", "key": "k", "payload": %s}' % ("[" * 100_000 + "]" * 100_000),
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_bad_line_is_reported_by_number_and_skipped(invoke: Invoke, db: Session, bad: str) -> None:
    done = invoke("enqueue", "--topic", "chat", "-", stdin=lines(GOOD, "", bad, GOOD))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert (done.exit_code, done.stdout) == (3, "2 enqueued, 1 rejected\n")
    assert re.fullmatch(r"line 3: .+\n", done.stderr)
    assert len(done.stderr) < 400
    assert [row["payload"] for row in db.messages()] == [chat_payload(), chat_payload()]


def test_several_bad_lines_are_reported_each(outboxd: Run, db: Session) -> None:
    done = outboxd("enqueue", "--topic", "chat", "-", stdin=lines("{", GOOD, "[1]", "", GOOD, {}))
    assert (done.returncode, done.stdout) == (3, "2 enqueued, 3 rejected\n")
    assert re.findall(r"^line (\d+): ", done.stderr, re.MULTILINE) == ["1", "3", "6"]
    assert len(db.messages()) == 2


def test_strict_stops_at_the_first_bad_line_and_keeps_the_good_ones_before(outboxd: Run, db: Session) -> None:
    stdin = lines({**GOOD, "message": "before"}, "{", {**GOOD, "message": "after"}, "{")
    done = outboxd("enqueue", "--topic", "chat", "--strict", "-", stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "1 enqueued, 1 rejected\n")
    assert done.stderr.startswith("line 2: ")
    assert [json.loads(row["payload"])["message"] for row in db.messages()] == ["before"]


def test_line_that_is_not_utf8_is_reported_by_number(outboxd: Run, db: Session) -> None:
    latin = json.dumps({**GOOD, "message": "café"}, ensure_ascii=False).encode("latin-1")
    done = outboxd("enqueue", "--topic", "chat", "-", stdin=lines(GOOD) + latin + b"\n" + lines(GOOD))
    assert "Traceback" not in done.stderr
    assert "line 2" in done.stderr
    assert "UTF-8" in done.stderr.upper()
    assert (done.returncode, done.stdout) == (3, "2 enqueued, 1 rejected\n")
    assert len(db.messages()) == 2


def test_file_without_messages_enqueues_none(outboxd: Run, db: Session) -> None:
    done = outboxd("enqueue", "--topic", "chat", "-", stdin=b"\n \n")
    assert (done.returncode, done.stdout) == (0, "0 enqueued, 0 rejected\n")
    assert db.messages() == []


def test_windows_line_ends_and_byte_order_mark_are_no_part_of_the_lines(outboxd: Run, db: Session) -> None:
    stdin = b"\xef\xbb\xbf" + lines(GOOD, GOOD).replace(b"\n", b"\r\n")
    done = outboxd("enqueue", "--topic", "chat", "-", stdin=stdin)
    assert (done.returncode, done.stdout) == (0, "2 enqueued, 0 rejected\n"), done.stderr
    assert len(db.messages()) == 2


PACKET = 1 << 20
MOST = PACKET - 2048
HALF = PACKET // 2
TOO_LARGE = {
    "chat": {**GOOD, "message": "x" * PACKET},
    "chat of two bytes a character": {**GOOD, "message": "é" * HALF},
    "payload": {"biz_type": "t", "key": "k", "payload": {"text": "x" * PACKET}},
    "payload that JSON escapes": {"biz_type": "t", "key": "k", "payload": {"a": "\\" * (HALF // 2)}},
    "headers": {"biz_type": "t", "key": "k", "payload": {}, "headers": {"a": "x" * PACKET}},
    "many times too large": {**GOOD, "message": "x" * (PACKET * 30)},
}


@pytest.fixture
def small_packets(db: Session) -> Iterator[None]:
    before = db.value("SELECT @@GLOBAL.max_allowed_packet")
    db.execute(f"SET GLOBAL max_allowed_packet = {PACKET}")
    db.call("outbox_set_max_payload_bytes_v1", 2 * PACKET)
    yield
    db.execute(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.mark.usefixtures("small_packets")
@pytest.mark.parametrize("bad", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_line_that_is_too_large_for_the_server_is_rejected_alone(
    invoke: Invoke, db: Session, bad: dict[str, Any]
) -> None:
    done = invoke("enqueue", "--topic", "chat", "-", stdin=lines(GOOD, bad, GOOD))
    assert (done.exit_code, done.stdout) == (3, "2 enqueued, 1 rejected\n")
    assert re.fullmatch(rf"line 2: too large: .+ max_allowed_packet is {PACKET}\n", done.stderr)
    assert len(db.messages()) == 2
    strict = invoke("enqueue", "--topic", "chat", "--strict", "-", stdin=lines(GOOD, bad, GOOD))
    assert (strict.exit_code, strict.stdout) == (1, "1 enqueued, 1 rejected\n")


@pytest.mark.usefixtures("small_packets")
@pytest.mark.parametrize(
    "text", ["x" * MOST, "'" * MOST, "é" * (MOST // 2), "\\" * (MOST // 4), "delimiter".center(MOST)]
)
def test_line_that_just_fits_is_enqueued(invoke: Invoke, db: Session, text: str) -> None:
    done = invoke("enqueue", "--topic", "chat", "-", stdin=lines({**GOOD, "message": text}))
    assert (done.exit_code, done.stdout) == (0, "1 enqueued, 0 rejected\n"), done.stderr
    (message,) = db.messages()
    assert json.loads(message["payload"])["message"] == text


def test_file_that_is_enqueued_again_stores_nothing_but_what_is_new(outboxd: Run, db: Session, tmp_path: Path) -> None:
    """As after a cut connection; each line counts by itself."""
    file = tmp_path / "messages.jsonl"
    file.write_bytes(lines(GOOD, GOOD, "{"))
    first = outboxd("enqueue", "--topic", "chat", "messages.jsonl")
    assert (first.returncode, first.stdout) == (3, "2 enqueued, 1 rejected\n")
    file.write_bytes(lines(GOOD, GOOD, {**GOOD, "message": "mended"}, {**GOOD, "message": "new"}))
    second = outboxd("enqueue", "--topic", "chat", "messages.jsonl")
    assert (second.returncode, second.stdout) == (0, "2 enqueued, 2 known, 0 rejected\n")
    assert "--again" in second.stderr
    assert [json.loads(row["payload"])["message"] for row in db.messages()] == ["hi", "hi", "mended", "new"]


@pytest.mark.parametrize(
    ("arguments", "stored"),
    [
        (["--topic", "chat", "messages.jsonl"], 0),
        (["--topic", "another", "messages.jsonl"], 2),
        (["--topic", "chat", "--again", "messages.jsonl"], 2),
        (["--topic", "chat", "--source", "the same", "messages.jsonl"], 2),
        (["--topic", "chat", "copy.jsonl"], 2),
        (["--topic", "chat", "-"], 2),
    ],
)
def test_line_is_known_by_its_file_its_topic_its_number_and_its_text(
    outboxd: Run, db: Session, tmp_path: Path, arguments: list[str], stored: int
) -> None:
    for name in ("messages.jsonl", "copy.jsonl"):
        (tmp_path / name).write_bytes(lines(GOOD, GOOD))
    outboxd("enqueue", "--topic", "chat", "messages.jsonl")
    done = outboxd("enqueue", *arguments, stdin=lines(GOOD, GOOD))
    assert done.stdout.startswith(f"{stored} enqueued"), done.stderr
    assert len(db.messages()) == 2 + stored


def test_source_makes_standard_input_repeatable(outboxd: Run, db: Session) -> None:
    for stored in (2, 0):
        done = outboxd("enqueue", "--topic", "chat", "--source", "export 7", "-", stdin=lines(GOOD, GOOD))
        assert done.stdout.startswith(f"{stored} enqueued"), done.stderr
    assert len(db.messages()) == 2


def test_dedup_key_of_a_line_is_its_own(outboxd: Run, db: Session, tmp_path: Path) -> None:
    other = {"biz_type": "order_placed", "key": "Ada", "payload": {}, "dedup_key": "order 1"}
    (tmp_path / "messages.jsonl").write_bytes(lines(other, other))
    done = outboxd("enqueue", "--topic", "chat", "messages.jsonl")
    assert done.stdout == "1 enqueued, 1 known, 0 rejected\n"
    assert [row["dedup_key"] for row in db.messages()] == ["order 1"]


def test_again_and_a_source_exclude_each_other(outboxd: Run) -> None:
    done = outboxd("enqueue", "--topic", "chat", "--again", "--source", "a", "-")
    assert done.returncode == 2
    assert "--again and --source exclude each other" in done.stderr
