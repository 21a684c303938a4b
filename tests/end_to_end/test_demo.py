"""`outboxd demo` as somebody who has never heard of this project runs it."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.driver.support import OUTBOXD, SAMPLE_CHAT, Run, environment, the_one_line
from tests.end_to_end.chat import Chat, arrived, complaints
from tests.sql.support import Database, Server, eventually

RESULT = re.compile(
    r"(\d+) messages, (\d+) persisted, (\d+) duplicated, (\d+) out of order, (\d+) dead, in (\d+\.\d) s \((\d+)/s\)"
)
Demos = dict[str, tuple[subprocess.CompletedProcess[str], list[Chat]]]
# What a hand-written or exported file may hold.
ODD = [
    Chat("one", 1, "user", "hi"),
    Chat("one", 1, "assistant", "hi"),
    Chat("one", 1, "user", "hi"),
    Chat("two", -9_223_372_036_854_775_808, "user", ""),
    Chat("two", 9_223_372_036_854_775_807, "user", 'it\'s "quoted" \\ `%s`\n\t漢字 👩‍👩‍👧'),
    Chat("一二三", 3, "用户", "line\u2028separator\u2029next\u0085line\x0bvertical\x0cfeed\x1cfile"),
    *(Chat("long", 4, "user", f"{number}" * 1000) for number in range(20)),
]
GOOD = {"user_id": 7, "conversation_id": "c-1", "role": "user", "message": "hi"}


def demo(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo with nothing but a database."""
    return subprocess.run(
        [OUTBOXD, "demo", *arguments],
        env=environment({"mysql_url": url}),
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )


def lines_of(chats: list[Chat]) -> str:
    """A file of chat, with members that are to be ignored and an empty line."""
    rows = [
        {"turn": 0, "user_id": one.user, "conversation_id": one.conversation, "role": one.role, "message": one.text}
        for one in chats
    ]
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
        "demo_without_broker": ["--broker", "127.0.0.1:1"],
    }

    def run_one(database: str) -> tuple[subprocess.CompletedProcess[str], list[Chat]]:
        mysql_server.create_database(database)
        url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{database}"
        done = demo(url, folder, *arguments[database])
        with mysql_server.connect(database) as session:
            return done, arrived(session) if "persisted" in done.stdout else []

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(arguments, pool.map(run_one, arguments), strict=True))


@pytest.mark.parametrize("name", ["demo_odd", "demo_sample"])
def test_demo_ends_well_and_its_last_line_says_so(demos: Demos, name: str) -> None:
    done, _ = demos[name]
    assert done.returncode == 0, done.stdout + done.stderr
    result = RESULT.fullmatch(done.stdout.splitlines()[-1])
    assert result
    count = str(len(ODD) if name == "demo_odd" else len(read_sample()))
    assert result.groups()[:5] == (count, count, "0", "0", "0")
    assert done.stderr == ""


def read_sample() -> list[Chat]:
    """The sample that comes with the package, once."""
    rows = [json.loads(line) for line in SAMPLE_CHAT.read_text(encoding="utf-8").split("\n") if line]
    return [Chat(row["conversation_id"], row["user_id"], row["role"], row["message"]) for row in rows]


def test_demo_kills_the_daemon_on_the_way(demos: Demos) -> None:
    assert demos["demo_sample"][0].stdout.count("SIGKILL") == 1


def test_demo_does_what_it_says(demos: Demos) -> None:
    """The check of the demo is checked."""
    assert complaints(ODD, demos["demo_odd"][1]) == []
    assert complaints(read_sample(), demos["demo_sample"][1]) == []


def test_database_that_has_messages_is_refused(mysql_server: Server, db: Database, tmp_path: Path) -> None:
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
