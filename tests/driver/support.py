"""Helpers of the driver's tests: the command as a process, the daemon with its logs, and a plain Kafka consumer."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import Result
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from outboxd.settings import Settings
from tests.servers.paths import CHECKOUT
from tests.sql.support import Database, Server, eventually

OUTBOXD = Path(sys.executable).with_name("outboxd")
SAMPLE_CHAT = CHECKOUT / "driver" / "outboxd" / "commands" / "demo" / "sample_chat.jsonl"

# A mock cluster takes any timeout, so that a member that was killed is missed within a second.
QUICK_GROUP = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 200, "fetch.wait.max.ms": 50}
QUICK = {"wait_ms": 200, "lease_seconds": 2, "stop_seconds": 3}

Command = Sequence[str | Path]
Setting = str | int | list[str] | Mapping[str, Any]
Event = dict[str, Any]


def environment(settings: Mapping[str, Setting]) -> dict[str, str]:
    """The environment of a process that has these settings of outboxd and no others, and finds the tests' modules."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTBOXD_")}
    own["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *filter(None, [own.get("PYTHONPATH")])])
    return own | {f"OUTBOXD_{name.upper()}": _as_text(value) for name, value in settings.items()}


def _as_text(value: Setting) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


class Run(Protocol):
    """Runs the installed command to its end, with settings from the environment."""

    def __call__(
        self, *arguments: str, stdin: bytes = b"", **settings: Setting
    ) -> subprocess.CompletedProcess[str]: ...


class Invoke(Protocol):
    """The same inside this process, for speed; what main() does about errors is not in it."""

    def __call__(self, *arguments: str, stdin: bytes = b"", **settings: Setting) -> Result: ...


def run(
    folder: Path,
    settings: Mapping[str, Setting],
    arguments: Sequence[str],
    stdin: bytes = b"",
    command: Command = (OUTBOXD,),
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder, as a user would, or another that is used alike."""
    done = subprocess.run(
        [*command, *arguments],
        env=environment(settings),
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def the_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line on standard error of a command that failed, which is no traceback."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("outboxd: ")
    return lines[0]


class Daemon:
    """`outboxd run` as a process; its log is read as a log collector reads it."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Setting],
        arguments: Sequence[str] = (),
        command: Command = (OUTBOXD,),
    ) -> None:
        self._log = folder / f"daemon-{uuid.uuid4().hex[:8]}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "run", *arguments], env=environment(settings), cwd=folder, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text()

    def events(self, name: str | None = None, **members: object) -> list[Event]:
        """The log's events: all, or those of one name and with these members."""
        finished = self.log.rpartition("\n")[0]
        events = [json.loads(line) for line in finished.splitlines() if line.startswith("{")]
        return [
            event for event in events if (name is None or event["event"] == name) and members.items() <= event.items()
        ]

    def says(self, name: str, count: int = 1, seconds: float = 45, **members: object) -> None:
        """Wait until it has logged this event so many times."""
        self.eventually(lambda: len(self.events(name, **members)) >= count, f"{name} {members}", seconds)

    def eventually(self, condition: Callable[[], bool], what: str, seconds: float = 45) -> None:
        """Wait until the condition holds; fail at once where the daemon has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s: {what}")
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            if not condition():
                pytest.fail(f"the daemon ended with {self.process.returncode} before: {what}\n{self.log}")

    def outlives(self, seconds: float) -> None:
        """Let it run for so long."""
        with pytest.raises(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 15) -> int:
        """Send it a signal, and return its exit code."""
        self.send(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL; harmless where it has ended."""
        self.process.kill()
        self.process.wait()


class StartDaemon(Protocol):
    """Starts a daemon with settings and arguments; it is gone when the test ends."""

    def __call__(self, *arguments: str, **settings: Setting) -> Daemon: ...


@dataclass(frozen=True, slots=True)
class Account:
    """A MySQL account that may only call outboxd's procedures, with a password that a URL has to quote."""

    server: Server
    database: str

    name = "outboxd_daemon"
    password = "p@ss:w/o#r?d %é"
    quoted = "p%40ss%3Aw%2Fo%23r%3Fd%20%25%C3%A9"

    @property
    def url(self) -> str:
        """mysql_url with this account."""
        return f"mysql://{self.name}:{self.quoted}@{self.server.host}:{self.server.port}/{self.database}"

    def create(self) -> None:
        """Make the account."""
        with self.server.connect(self.database) as session:
            session.execute(f"DROP USER IF EXISTS {self.name}")
            session.execute(f"CREATE USER {self.name} IDENTIFIED BY '{self.password}'")
            session.execute(f"GRANT EXECUTE ON {self.database}.* TO {self.name}")

    def settle(self, session: Database) -> None:
        """Wait until the server has noticed that the account's clients are gone: what they began may still commit."""
        eventually(
            lambda: not session.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = %s", self.name)
        )


@contextmanager
def daemons(folder: Path, base: Mapping[str, Setting]) -> Iterator[StartDaemon]:
    """Lend a function that starts daemons with the base settings and further ones; all are gone at the end."""
    started: list[Daemon] = []

    def start(*arguments: str, **settings: Setting) -> Daemon:
        started.append(Daemon(folder, {**base, **settings}, arguments))
        return started[-1]

    try:
        yield start
    finally:
        for daemon in started:
            daemon.kill()
            print(daemon.log)  # pytest shows it where the test has failed


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a plain consumer gets it."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    partition: int


def read_back(bootstrap: str, topic: str, count: int, seconds: float = 15) -> list[Record]:
    """The first records of a topic, read without a group, partition by partition in their order."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        records: list[Record] = []
        deadline = time.monotonic() + seconds
        while len(records) < count and time.monotonic() < deadline:
            record: Any = consumer.poll(0.2)
            if record is not None and record.error() is None:
                records.append(Record(record.key(), record.value(), record.headers() or [], record.partition()))
        assert len(records) == count
        return records
    finally:
        consumer.close()


def put(bootstrap: str, topic: str, *records: Mapping[str, Any]) -> None:
    """Produce records as any client may: keyword arguments of Producer.produce()."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    errors: list[Any] = []
    for record in records:
        producer.produce(topic, on_delivery=lambda error, _: errors.append(error), **record)
    producer.flush(10)
    assert errors == [None] * len(records)


def create_topic(bootstrap: str, partitions: int = 4, **config: str) -> str:
    """Make a topic of an unused name on a real broker, and return the name."""
    name = unused("topic")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
        made.result(15)
    return name


def unused(kind: str) -> str:
    """A name that nothing else has."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def settings(mysql_url: str = "mysql://user@localhost/db", **others: Any) -> Settings:
    """Settings for calls of the driver's own modules."""
    return Settings(mysql_url=mysql_url, **others)
