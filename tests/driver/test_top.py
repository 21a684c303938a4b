"""`outboxd top`: once into a pipe, and live in a terminal."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit.command import OUTBOXD, Invoke, Setting, environment
from tests.kit.operators import fill
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session
from tests.kit.waiting import background, eventually
from tests.servers import process


def row(text: str, *begin: str) -> list[str]:
    """The row that begins with these cells, cell by cell."""
    rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    (only,) = [cells for cells in rows if cells[: len(begin)] == list(begin)]
    return only[len(begin) :]


def test_table_that_somebody_has_locked_is_shown(
    invoke: Invoke, db: Session, connect: Connect, monitor_url: str
) -> None:
    holder, waiting = connect(), connect()
    holder.execute("LOCK TABLES chat_histories WRITE")
    with background(lambda: waiting.rows("SELECT COUNT(*) FROM chat_histories")) as reading:
        eventually(lambda: db.is_in(waiting.session_id, "Waiting for table metadata lock"))
        assert "waiting for table metadata lock for" in invoke("top", mysql_url=monitor_url).output
        holder.execute("UNLOCK TABLES")
        reading.result(timeout=60)
    assert "lock" not in invoke("top", mysql_url=monitor_url).output


def test_without_a_terminal_it_prints_once_what_the_tables_have(invoke: Invoke, db: Session, monitor_url: str) -> None:
    for number in range(3):
        db.enqueue_in("consumed", f"key {number}")
    db.enqueue_published("sent")
    db.enqueue("waits", topic="orders")
    dead = db.enqueue("evil \x1b[2J [red]", topic="orders")
    db.call("outbox_mark_dead_v1", dead, "it was\nrefused")
    db.execute(
        "UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL 90 SECOND WHERE status = 'published'"
    )
    db.claim("relay-a", lease=100)
    done = invoke("top", mysql_url=monitor_url)
    assert done.exit_code == 0, done.output
    pending, _, in_flight, lag, consumed, died = row(done.output, "chat", CHAT)
    assert (pending, in_flight, consumed, died) == ("0", "1", "3", "0")
    assert 90 <= float(lag.removesuffix(" s")) < 110
    pending, overdue, in_flight, _, consumed, died = row(done.output, "orders", CHAT)
    assert (pending, in_flight, consumed, died) == ("1", "0", "0", "1")
    assert overdue.endswith(" s")
    assert row(done.output, "all")[0::2] == ["1", "1", "3"]
    assert row(done.output, "relay-a")[0::2] == ["64", "1"]
    assert row(done.output, str(dead))[:5] == ["orders", CHAT, "evil �[2J [red]", "0", "it was�refused"]
    assert "\x1b" not in done.output


class Terminal:
    """A terminal with a command in it."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._text = ""

    def shows(self, pattern: str, seconds: float = 45) -> re.Match[str]:
        """Wait until the screen has shown this."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self._text)):
            assert select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0], self._text
            self._text += os.read(self._master, 65_536).decode(errors="replace")
            self._text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._text)
        self._text = ""
        return found

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def closes(self, seconds: float = 45) -> None:
        """Wait until nobody has it open. A terminal that nobody reads would hold up a command that writes to it."""
        deadline = time.monotonic() + seconds
        with suppress(OSError):  # what Linux says instead of an end of file
            while os.read(self._master, 65_536):
                assert time.monotonic() < deadline, "still open"


@contextmanager
def terminal(folder: Path, url: str, columns: int = 160) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """`outboxd top` in a terminal of its own; without an address it finds its databases in the folder."""
    settings: dict[str, Setting] = {"mysql_url": url} if url else {}
    master, slave = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        # A shell's background jobs ignore Ctrl-C, and so would what the tests start there.
        ["env", "--default-signal=INT", "setsid", "--ctty", "--wait", OUTBOXD, "top", "--interval", "0.2"],
        env=environment(settings) | size,
        cwd=folder,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    try:
        yield process, Terminal(master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize("key", ["q", "\x03"], ids=["q", "Ctrl-C"])
def test_in_a_terminal_it_follows_the_tables_until_a_key_ends_it(
    tmp_path: Path, db: Session, monitor_url: str, key: str
) -> None:
    with terminal(tmp_path, monitor_url) as (process, screen):
        screen.shows(r"all +0 ")
        for number in range(5):
            db.enqueue(f"key {number}")
        screen.shows(rf"chat +{CHAT} +5 ")
        screen.shows(rf"chat +{CHAT} +5 .* 0\.0 +0\.0")
        screen.type(key)
        screen.closes()
        assert process.wait(45) == 0


@pytest.mark.parametrize("columns", [80, 160])
def test_no_number_is_cut_or_wrapped_where_the_terminal_is_narrow(
    tmp_path: Path, db: Session, monitor_url: str, columns: int
) -> None:
    fill(db, 20_000, "consumed", topic="a-topic-with-a-long-name")
    fill(db, 12_345, "published", topic="a-topic-with-a-long-name", age_seconds=100)
    message = db.enqueue("customer-1234567890")
    db.call("outbox_mark_dead_v1", message, "it was refused for a reason that takes some words to tell")
    with terminal(tmp_path, monitor_url, columns) as (_, screen):
        screen.shows(r"all +0 +0\.0 s +12345 +\d+\.\d s +20000 +1 +0\.0 +0\.0 *\r?\n")
        screen.shows(rf"{message} +chat +chat_his\S+ +customer\S* +0 +it was refused[^\n]*?\d\.\d s *\r?\n")


def test_it_stays_while_mysql_is_away(tmp_path: Path, db: Session, monitor_url: str) -> None:
    db.enqueue("k")
    with terminal(tmp_path, monitor_url) as (process, screen):
        screen.shows(rf"chat +{CHAT} +1 ")
        db.execute("SET GLOBAL offline_mode = ON")  # which ends the sessions of all but administrators
        try:
            screen.shows(r"MySQL is away since \d\d:\d\d:\d\d: +MySQL: ")
            screen.shows(rf"chat +{CHAT} +1 ")
            db.enqueue("l")
        finally:
            db.execute("SET GLOBAL offline_mode = OFF")
        screen.shows(rf"chat +{CHAT} +2 ")
        assert "away" not in screen.shows(rf"(?s)outboxd  .*?{CHAT} +2 ")[0]
        screen.type("q")
        screen.closes()
        assert process.wait(45) == 0


@pytest.mark.parametrize("columns", [80, 160])
def test_fleet_has_a_line_for_each_database_and_shows_which_one_is_away(
    tmp_path: Path, db: Session, monitor_url: str, columns: int
) -> None:
    fill(db, 12_345, "consumed")
    failing = db.enqueue("k")
    db.call("outbox_mark_failed_v1", failing, "it fails")
    nowhere = f"mysql://nobody@127.0.0.1:{process.lasting_port()}/shop"
    tables = {"tenant-with-a-long-name": monitor_url, "gone": nowhere}
    text = "".join(f'[databases.{name}]\nmysql_url = "{url}"\n' for name, url in tables.items())
    (tmp_path / "outboxd.toml").write_text(text, encoding="utf-8")
    with terminal(tmp_path, "", columns) as (ended, screen):
        screen.shows(r"2 databases")
        db.enqueue("l")
        screen.shows(r"tenant-with\S* +2 +\d+\.\d s +0 +\d+\.\d s +12345 +0 +0\.\d +0\.0 *\r?\n")
        screen.shows(r"gone +\? *\r?\n")
        screen.shows(r"(?s)tenant-with-a-long-name: failing: 1 wait .*gone: MySQL is away since \d\d:\d\d:\d\d: ")
        screen.type("q")
        screen.closes()
        assert ended.wait(45) == 0


def test_failing_messages_are_named(invoke: Invoke, db: Session, monitor_url: str) -> None:
    message = db.enqueue()
    assert "failing" not in invoke("top", mysql_url=monitor_url).output
    db.call("outbox_mark_failed_v1", message, "it fails")
    db.execute("UPDATE outbox_failures SET at = at - INTERVAL 180 SECOND")
    assert "failing: 1 wait for a retry, the longest for 3 min;" in invoke("top", mysql_url=monitor_url).output
    assert "failing: 1 of the pending wait for their retry" in invoke("status").output
