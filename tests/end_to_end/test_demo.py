"""`outboxd demo` as somebody who has never heard of this project runs it."""

import json
import re
import subprocess
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.kit import chat
from tests.kit.chat import Chat
from tests.kit.checker import Verdict, check
from tests.kit.command import Run, run, the_one_line
from tests.kit.ledger import Ledger
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import eventually

RESULT = re.compile(
    r"(\d+) messages, (\d+) persisted, (\d+) duplicated, (\d+) out of order, (\d+) dead, in (\d+\.\d) s \((\d+)/s\)"
)
Demos = dict[str, tuple[subprocess.CompletedProcess[str], Verdict | None]]
# What a hand-written or exported file may hold.
ODD = [
    Chat(1, "one", "user", "hi"),
    Chat(1, "one", "assistant", "hi"),
    Chat(1, "one", "user", "hi"),
    Chat(-9_223_372_036_854_775_808, "two", "user", ""),
    Chat(9_223_372_036_854_775_807, "two", "user", 'it\'s "quoted" \\ `%s`\n\t漢字 👩‍👩‍👧'),
    Chat(3, "一二三", "用户", "line\u2028separator\u2029next\u0085line\x0bvertical\x0cfeed\x1cfile"),
    *(Chat(4, "long", "user", f"{number}" * 1000) for number in range(20)),
]
SAMPLE = chat.read(chat.sample_file())
GOOD = {"user_id": 7, "conversation_id": "c-1", "role": "user", "message": "hi"}


def demo(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo with nothing but a database."""
    return run(folder, {"mysql_url": url}, ["demo", *arguments])


def lines_of(chats: list[Chat]) -> str:
    """A file of chat, with members that are to be ignored and an empty line."""
    rows = [{"turn": 0, **asdict(one)} for one in chats]
    return "\n".join(["", *(json.dumps(row, ensure_ascii=False) for row in rows), "", ""])


@pytest.fixture(scope="module")
def demos(mysql_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Demos:
    """All demos at once, as they wait for Kafka most of the time: what each said, and what arrived."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "odd.jsonl").write_text(lines_of(ODD), encoding="utf-8")
    # For a broker: the mock cluster would not answer.
    (folder / "outboxd.toml").write_text('[kafka_options.security]\nprotocol = "ssl"\n')
    arguments: dict[str, list[str]] = {
        "demo_odd": ["--chat", "odd.jsonl", "--kafka-options", "sasl.mechanism=PLAIN"],
        "demo_sample": [],
        "demo_inbox": [],
        "demo_without_broker": ["--broker", "127.0.0.1:1"],
    }

    def run_one(database: str) -> tuple[subprocess.CompletedProcess[str], Verdict | None]:
        mysql_server.create_database(database)
        url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{database}"
        more, ends_in = [], database
        if database == "demo_inbox":
            ends_in = "demo_inbox_receiving"
            mysql_server.create_database(ends_in)
            more = ["--inbox", url.replace(database, ends_in)]
        done = demo(url, folder, *arguments[database], *more)
        with mysql_server.connect(ends_in) as session:
            written = ODD if database == "demo_odd" else SAMPLE
            return done, check(ledger_of(session, written), session) if "persisted" in done.stdout else None

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(arguments, pool.map(run_one, arguments), strict=True))


@pytest.mark.parametrize("name", ["demo_odd", "demo_sample", "demo_inbox"])
def test_demo_ends_well_and_its_last_line_says_so(demos: Demos, name: str) -> None:
    done, _ = demos[name]
    assert done.returncode == 0, done.stdout + done.stderr
    result = RESULT.fullmatch(done.stdout.splitlines()[-1])
    assert result
    count = str(len(ODD) if name == "demo_odd" else len(SAMPLE))
    assert result.groups()[:5] == (count, count, "0", "0", "0")
    assert done.stderr == ""


def ledger_of(session: Session, lines: Sequence[Chat]) -> Ledger:
    """What should have been enqueued: of each conversation the lines in their order, as ids have it."""
    ids: dict[str, deque[tuple[int, str]]] = defaultdict(deque)
    for row in session.rows("SELECT id, topic, message_key FROM agent_outbox_messages ORDER BY id"):
        ids[row["message_key"]].append((row["id"], row["topic"]))
    return Ledger([chat.entry_of(*ids[line.conversation_id].popleft(), line) for line in lines])


def test_demo_kills_the_daemon_on_the_way(demos: Demos) -> None:
    assert demos["demo_sample"][0].stdout.count("SIGKILL") == 1


def test_demo_does_what_it_says(demos: Demos) -> None:
    """The check of the demo is checked."""
    for name, messages in (("demo_odd", len(ODD)), ("demo_sample", len(SAMPLE)), ("demo_inbox", len(SAMPLE))):
        verdict = demos[name][1]
        assert verdict is not None
        assert verdict.is_well, verdict.evidence
        assert verdict.messages == messages


def test_database_that_has_messages_is_refused(mysql_server: Server, db: Session, tmp_path: Path) -> None:
    db.enqueue()
    database = db.value("SELECT DATABASE()")
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{database}"
    assert f"database {database} has messages already" in the_one_line(demo(url, tmp_path))
    assert len(db.messages()) == 1


BAD_LINES = {
    "no JSON": b"{",
    "no object": b"[1]",
    "a text": b'"hi"',
    "member missing": json.dumps({"user_id": 7, "conversation_id": "c-1"}).encode(),
    "user that is no number": json.dumps({**GOOD, "user_id": "7"}).encode(),
    "user out of range": json.dumps({**GOOD, "user_id": 10**30}).encode(),
    "conversation that is no text": json.dumps({**GOOD, "conversation_id": 7}).encode(),
    "conversation without name": json.dumps({**GOOD, "conversation_id": ""}).encode(),
    "role of none": json.dumps({**GOOD, "role": None}).encode(),
    "message that is no text": json.dumps({**GOOD, "message": {"text": "hi"}}).encode(),
    "half of a surrogate pair": json.dumps({**GOOD, "message": "\ud83c"}).encode(),
    "not UTF-8": json.dumps({**GOOD, "message": "café"}, ensure_ascii=False).encode("latin-1"),
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_bad_line_of_chat_is_one_clear_line_with_its_number(
    fresh_database: str, mysql_server: Server, tmp_path: Path, bad: bytes
) -> None:
    good = json.dumps(GOOD).encode()
    (tmp_path / "chat.jsonl").write_bytes(b"\n".join([good, b"", bad, good, b""]))
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}"
    line = the_one_line(demo(url, tmp_path, "--chat", "chat.jsonl"))
    assert re.search(r"\bline 3\b", line)
    assert len(line) < 400


def test_file_without_chat_is_refused(outboxd: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    assert "empty.jsonl" in the_one_line(outboxd("demo", "--chat", "empty.jsonl"))


def test_settings_that_are_given_are_those_of_the_daemons(
    mysql_server: Server, fresh_database: str, tmp_path: Path
) -> None:
    mysql_server.migrate(fresh_database)
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}"
    (tmp_path / "outboxd.toml").write_text('name = "by-file"\n')
    with ThreadPoolExecutor(1) as pool, mysql_server.connect(fresh_database) as session:
        done = pool.submit(demo, url, tmp_path, "--relay-workers", "3", "--metrics-address", "")
        eventually(lambda: len(session.column("SELECT relay FROM outbox_relays WHERE relay LIKE 'by-file%'")) == 3)
        assert done.result().returncode == 0


def test_options_are_for_the_broker(outboxd: Run) -> None:
    done = outboxd("demo", "--broker", "127.0.0.1:1", "--kafka-options", "no.such.property=1")
    assert "no.such.property" in the_one_line(done)


def test_broker_that_does_not_answer_is_one_clear_line(demos: Demos) -> None:
    assert "127.0.0.1:1" in the_one_line(demos["demo_without_broker"][0])
