"""`outboxd enqueue` that is cut off, by Ctrl-C or by MySQL: it says what is in, and behind which line to go on."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.kit.account import Account
from tests.kit.command import OUTBOXD, Run, Setting, environment, the_one_line
from tests.kit.server import Connect, Server
from tests.kit.session import Session
from tests.kit.waiting import eventually
from tests.servers.process import LOOPBACK

GOOD = json.dumps({"user_id": 7, "conversation_id": "c-1", "role": "user", "message": "hi"}) + "\n"
# The bad and the empty line count, as the lines of a file do. A transaction takes 511 of them.
LINES = "{\n\n" + GOOD * 520
CUT_OFF = b"509 enqueued, 1 rejected, cut off behind line 511\n"


def test_database_lost_in_the_middle_is_one_line_and_no_line_is_half_in(
    account: Account, outboxd: Run, db: Session, connect: Connect
) -> None:
    """The application would repeat the whole file or go on at a line: what was told as enqueued is in, no more."""
    count = 4000
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(outboxd, "enqueue", "--topic", "chat", "-", stdin=(GOOD * count).encode())
        watcher = connect()
        eventually(lambda: watcher.value("SELECT COUNT(*) FROM agent_outbox_messages") > 0)
        watcher.kill_sessions(account.name)
        done = run.result(60)
    assert the_one_line(done)
    enqueued = len(db.messages())
    assert 0 < enqueued < count
    assert enqueued % 511 == 0
    assert done.stdout == f"{enqueued} enqueued, 0 rejected, cut off behind line {enqueued}\n"


@contextmanager
def enqueuing(settings: dict[str, Setting], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command with its first lines, and an input that does not end: more may come."""
    with subprocess.Popen(
        [OUTBOXD, "enqueue", "--topic", "chat", "-"],
        env=environment(settings),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(LINES.encode())
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def said_at_the_end(process: subprocess.Popen[bytes]) -> bytes:
    """What it has printed, once it has failed."""
    assert process.wait(60) == 1
    assert process.stdout is not None
    return process.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_tells_what_is_in_and_behind_which_line_to_go_on(
    account: Account, db: Session, tmp_path: Path, number: signal.Signals
) -> None:
    with enqueuing({"mysql_url": account.url}, tmp_path) as process:
        assert process.stderr is not None
        # It tells of the bad line once the transaction is counted; it waits for more lines then.
        assert process.stderr.readline().startswith(b"line 1: ")
        process.send_signal(number)
        assert said_at_the_end(process) == CUT_OFF
    assert len(db.messages()) == 509


class HeldCommit:
    """A way to MySQL on which the answer to the first COMMIT comes no further until it is let go."""

    def __init__(self, server: Server) -> None:
        self.sent, self.let_go = Event(), Event()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: Server) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as client,
            socket.create_connection((server.host, server.port)) as behind,
            ThreadPoolExecutor(1) as pool,
        ):
            pool.submit(self._ask, client, behind)
            while answer := behind.recv(1 << 16):
                if self.sent.is_set():
                    self.let_go.wait(60)
                client.sendall(answer)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _ask(self, client: socket.socket, behind: socket.socket) -> None:
        while question := client.recv(1 << 16):
            if question.endswith(b"COMMIT"):  # and not READ-COMMITTED
                self.sent.set()
            behind.sendall(question)
        with suppress(OSError):
            behind.shutdown(socket.SHUT_RDWR)


def test_ctrl_c_before_the_answer_to_a_commit_counts_what_is_in(
    mysql_server: Server, db: Session, tmp_path: Path
) -> None:
    held = HeldCommit(mysql_server)
    database = db.value("SELECT DATABASE()")
    url = f"mysql://{mysql_server.user}@{LOOPBACK}:{held.port}/{database}"
    with enqueuing({"mysql_url": url, "mysql_options": {"ssl_disabled": True}}, tmp_path) as process:
        assert held.sent.wait(60)
        eventually(lambda: len(db.messages()) == 509)
        process.send_signal(signal.SIGINT)
        held.let_go.set()
        assert said_at_the_end(process) == CUT_OFF
    assert len(db.messages()) == 509
