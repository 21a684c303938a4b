"""The demo: real chat through the whole outbox, the daemon killed once on the way, and a check of what arrived."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from confluent_kafka import KafkaException, Producer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from outboxd import enqueue, kafka, migrations
from outboxd.database import Database
from outboxd.settings import Settings

WRITERS = 3
STALLED_AFTER_SECONDS = 120


class DemoError(Exception):
    """The demo cannot be run; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the tables say at the end, against the file."""

    messages: int
    persisted: int
    duplicated: int
    out_of_order: int
    dead: int

    @property
    def is_well(self) -> bool:
        """Every message once, in order."""
        return self.persisted == self.messages and not (self.duplicated or self.out_of_order or self.dead)


def run(settings: Settings, chat: str | None, broker: str | None, console: Console) -> bool:
    """Run the demo and print its progress; the last line is the result. Returns whether all is well."""
    lines = _read(chat)
    expected = _conversations(lines)
    lines = [line for line in lines if line.strip()]
    topic = f"outboxd-demo-{os.getpid()}"
    with Database(settings) as database, _kafka(settings, broker, topic) as bootstrap, TemporaryDirectory() as folder:
        applied = list(migrations.apply(database))
        if database.status():
            raise DemoError(f"database {settings.database} has messages already: give the demo an empty one")
        console.print(f"{len(applied)} migrations applied to database {settings.database}")
        where = f"Kafka at {broker}" if broker else "a mock of Kafka inside this demo"
        console.print(f"{len(lines)} messages of {len(expected)} conversations, through {where}")

        session_ms = 6000 if broker else 3000  # brokers accept no less
        # A consumer that was killed is missed after its session's timeout, and its partitions are idle until then.
        session = {"session.timeout.ms": session_ms, "heartbeat.interval.ms": session_ms // 3}
        own = {
            "kafka_bootstrap": bootstrap,
            "kafka_options": {**(settings.kafka_options if broker else {}), **session},
            "topics": [topic],
            "lease_seconds": 3,
        }
        daemon = _Daemon(settings.model_copy(update=own), Path(folder))
        started = time.monotonic()
        daemon.start()
        try:
            writers = _write(settings, topic, lines, daemon.killed)
            _watch(database, daemon, writers, len(lines), console)
        finally:
            daemon.stop()
        seconds = time.monotonic() - started
        check = _check(database, expected, len(lines))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    console.print(f"the daemon had at most {memory} MB resident")
    console.print(
        f"{check.messages} messages, {check.persisted} persisted, {check.duplicated} duplicated, "
        f"{check.out_of_order} out of order, {check.dead} dead, in {seconds:.1f} s ({len(lines) / seconds:.0f}/s)",
        highlight=False,
        soft_wrap=True,
    )
    return check.is_well


def _read(chat: str | None) -> list[bytes]:
    source = Path(chat) if chat else resources.files("outboxd") / "sample_chat.jsonl"
    lines = source.read_bytes().split(b"\n")
    if not any(line.strip() for line in lines):
        raise DemoError(f"{chat}: there are no messages in it")
    return lines


def _conversations(lines: list[bytes]) -> dict[str, list[tuple[int, str, str]]]:
    """What chat_histories must hold in the end: by conversation, in the order of the file."""
    expected: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = enqueue.parse(line)
            enqueue.check_chat(row)
            if not row["conversation_id"]:
                raise ValueError("conversation_id must not be empty")
            expected[row["conversation_id"]].append((row["user_id"], row["role"], row["message"]))
        except ValueError as error:
            raise DemoError(f"line {number} is no chat message: {error}") from error
    return dict(expected)


@contextmanager
def _kafka(settings: Settings, broker: str | None, topic: str) -> Iterator[str]:
    """A broker's address, or that of a mock cluster which lives as long as this block; the topic is made there."""
    # The options are for the broker: the mock cluster knows no TLS and no passwords.
    options = settings.kafka_options if broker else {"test.mock.num.brokers": 1}
    where = settings.model_copy(update={"kafka_bootstrap": broker or "", "kafka_options": options})
    client = kafka.connect(Producer, where, {"log_level": 0})
    try:
        brokers = client.list_topics(topic, timeout=10).brokers.values()  # asking for a topic creates it
    except KafkaException as error:
        raise DemoError(f"no Kafka broker answers at {broker}: {error.args[0].str()}") from error
    yield broker or ",".join(f"{known.host}:{known.port}" for known in brokers)


def _as_text(value: object) -> str:
    """The value of a setting as the environment has it."""
    if isinstance(value, list):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


class _Daemon:
    """The real daemon, as a process of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.session_seconds = settings.kafka_options["session.timeout.ms"] // 1000
        self._log = folder / "daemon.log"
        no_file = folder / "outboxd.toml"  # a mapping in the user's would be added to that of the environment
        no_file.touch()
        given = {f"OUTBOXD_{name.upper()}": _as_text(getattr(settings, name)) for name in settings.model_fields_set}
        self._environment = {**os.environ, **given, "OUTBOXD_CONFIG": str(no_file)}
        self._process: subprocess.Popen[bytes] | None = None
        self.killed = threading.Event()

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "outboxd", "run"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill_and_restart(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self.killed.set()
        self.start()

    def check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise DemoError(f"the daemon ended with exit code {self._process.returncode}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class _Writer(threading.Thread):
    """An application: enqueues the conversations it is given in their order, a few messages a transaction."""

    def __init__(
        self, settings: Settings, topic: str, lines: list[bytes], per_transaction: int, killed: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._settings, self._topic, self._lines, self._killed = settings, topic, lines, killed
        # A transaction of more than half would leave nothing for after the kill.
        self._size = min(per_transaction, max(1, len(lines) // 2))
        self.enqueued = 0
        self.error: str | None = None

    def run(self) -> None:
        try:
            with Database(self._settings) as database:
                for done in enqueue.enqueue(
                    database, self._topic, self._lines, strict=True, per_transaction=self._size
                ):
                    refused = [line.error for line in done if line.error]
                    self.enqueued += len(done) - len(refused)
                    if refused:
                        self.error = refused[0]
                    if self.enqueued >= len(self._lines) // 2:
                        self._killed.wait()  # so that the kill comes in the middle, however short the file is
        except Exception as error:  # reported by the main thread, which stops the demo
            self.error = str(error)


def _write(settings: Settings, topic: str, lines: list[bytes], killed: threading.Event) -> list[_Writer]:
    shares: list[list[bytes]] = [[] for _ in range(WRITERS)]
    for line in lines:
        shares[crc32(enqueue.parse(line)["conversation_id"].encode()) % WRITERS].append(line)
    writers = [
        _Writer(settings, topic, share, size, killed) for share, size in zip(shares, (20, 100, 500), strict=True)
    ]
    for writer in writers:
        writer.start()
    return writers


def _watch(database: Database, daemon: _Daemon, writers: list[_Writer], total: int, console: Console) -> None:
    """Show the counts until every message is final; kill the daemon once, in the middle."""
    started = last_progress = time.monotonic()
    best = 0
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
        while True:
            counts = Counter({row["status"]: row["messages"] for row in database.status()})
            final = counts["consumed"] + counts["dead"]
            seconds = time.monotonic() - started
            live.update(_counts(counts, sum(writer.enqueued for writer in writers), total, final / max(seconds, 0.1)))
            for writer in writers:
                if writer.error:
                    raise DemoError(f"enqueuing failed: {writer.error}")
            daemon.check_alive()
            # Before the end is looked at: of a message or two, all may be final when the first is seen to be.
            if final >= max(1, total // 4) and not daemon.killed.is_set():
                daemon.kill_and_restart()
                console.print(
                    f"killed the daemon (SIGKILL) at {final} of {total}, and started it again; "
                    f"Kafka misses the killed consumer after {daemon.session_seconds} s"
                )
            if final >= total:
                return
            if final > best:
                best, last_progress = final, time.monotonic()
            elif time.monotonic() - last_progress > STALLED_AFTER_SECONDS:
                raise DemoError(
                    f"nothing moved for {STALLED_AFTER_SECONDS} s; the daemon's log ends:\n{daemon.log_tail()}"
                )
            time.sleep(0.25)


def _counts(counts: Counter[str], enqueued: int, total: int, rate: float) -> Table:
    table = Table("enqueued", "pending", "published", "consumed", "dead", "rate", box=None)
    columns = [str(counts[name]) for name in ("pending", "published", "consumed", "dead")]
    table.add_row(f"{enqueued}/{total}", *columns, f"{rate:.0f}/s")
    return table


def _check(database: Database, expected: dict[str, list[tuple[int, str, str]]], total: int) -> Check:
    """Compare chat_histories with the file, byte for byte."""
    arrived: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for chat, *row in database.query("SELECT chat_id, user_id, role, message_content FROM chat_histories ORDER BY id"):
        arrived[chat].append((row[0], row[1], row[2]))
    persisted = duplicated = out_of_order = 0
    for chat in expected.keys() | arrived.keys():
        wanted, got = Counter(expected.get(chat, [])), Counter(arrived.get(chat, []))
        persisted += (wanted & got).total()
        duplicated += (got - wanted).total()
        in_file = [row for row in expected.get(chat, []) if row in got]
        out_of_order += sum(a != b for a, b in zip(in_file, arrived.get(chat, []), strict=False))
    dead = sum(row["messages"] for row in database.status() if row["status"] == "dead")
    return Check(total, persisted, duplicated, out_of_order, dead)
