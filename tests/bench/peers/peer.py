"""What a peer is: tables of its own, a way to enqueue, and a relay that is a process."""

import json
import os
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from zlib import crc32

from tests.bench.peers.relay import Relay
from tests.bench.stage import STAGING, BenchError, Stage
from tests.kit.chat import Chat
from tests.kit.session import Session

_PER_TRANSACTION = 100
Command = Sequence[str | Path]


class Missing(Exception):
    """A toolchain that a peer needs is not on this machine; the message is one line."""


@dataclass(frozen=True, slots=True)
class Load:
    """Messages from number `first` on, at a rate; up to `pause` seconds lie between an enqueue and its commit."""

    first: int
    messages: int
    per_s: float
    writers: int = 1
    pause: float = 0.0


class Peer(ABC):
    """One way to get messages from MySQL to Kafka; `key` is its name in bench.json and in the names of its database."""

    key: str
    title: str
    settings: str
    client: str
    """The client that enqueues: its language is a part of what enqueuing costs."""
    backlog: str
    """INSERT ... SELECT of the rows n = {first} to {last} of the table {chat}, for the topic {topic}."""
    left: str
    """SELECT of the number of messages that the relay has still to do something for."""
    answers = False
    """Whether its relay takes commands."""
    has_effect = False
    """Whether it takes messages to chat_histories of its database, by its relay or by a second process."""

    @property
    def database(self) -> str:
        """The database of its own."""
        return f"peers_{self.key}"

    @abstractmethod
    def version(self) -> str:
        """Its release."""

    @abstractmethod
    def build(self) -> None:
        """Fetch and compile what it needs. Raises Missing where this machine lacks a toolchain."""

    @abstractmethod
    def install(self, stage: Stage) -> None:
        """Make its database and its tables, empty."""

    def prepare(self, stage: Stage, folder: Path) -> None:  # noqa: B027
        """What comes before a backlog that the relay finds when it starts."""

    @abstractmethod
    def command(self, stage: Stage, topic: str, folder: Path) -> Command:
        """The relay; it works in the folder until SIGTERM."""

    def environment(self, stage: Stage, topic: str) -> Mapping[str, str]:
        """That of the relay."""
        return os.environ | {
            "PEER_MYSQL_HOST": stage.mysql.host,
            "PEER_MYSQL_PORT": str(stage.mysql.port),
            "PEER_DATABASE": self.database,
            "PEER_KAFKA": stage.kafka.bootstrap,
            "PEER_TOPIC": topic,
        }

    def effect_command(self) -> Command | None:
        """That second process, in the environment of the relay; None where the relay does it."""
        return None

    @abstractmethod
    def enqueue(self, session: Session, topic: str, chats: Sequence[Chat]) -> None:
        """Enqueue messages in the transaction of the session."""

    def fill(self, stage: Stage, topic: str, messages: int) -> None:
        """A backlog of the first messages, a hundred in a transaction."""
        with stage.connect(self.database) as session:
            for first in range(1, messages + 1, _PER_TRANSACTION):
                last = min(first + _PER_TRANSACTION - 1, messages)
                session.execute(self.backlog.format(first=first, last=last, topic=topic, chat=f"{STAGING}.chat"))

    def load(self, stage: Stage, _: Relay, topic: str, load: Load) -> dict[int, float]:
        """Enqueue live, a message in a transaction; returns when each was committed, by the wall clock.

        A key has one writer, so that the numbers of a key rise in the order of their commits.
        """
        committed: dict[int, float] = {}
        together = threading.Barrier(load.writers)

        def write(writer: int) -> None:
            with stage.connect(self.database) as session:
                together.wait()
                began = time.monotonic()
                for place in range(load.messages):
                    number = load.first + place
                    chat = stage.chat[number - 1]
                    if crc32(chat.conversation_id.encode()) % load.writers == writer:
                        time.sleep(max(0.0, began + place / load.per_s - time.monotonic()))
                        session.execute("START TRANSACTION")
                        self.enqueue(session, topic, [chat])
                        time.sleep(load.pause * (crc32(b"%d" % number) % 100) / 100)
                        session.execute("COMMIT")
                        committed[number] = time.time()

        with ThreadPoolExecutor(load.writers) as pool:
            for writing in [pool.submit(write, writer) for writer in range(load.writers)]:
                writing.result()
        return committed

    def enqueue_us(self, stage: Stage, messages: int) -> dict[str, float]:
        """Microseconds a message, commits included, medians: alone in a transaction, and of a hundred in one."""
        medians = {}
        with stage.connect(self.database) as session:
            for size in (1, _PER_TRANSACTION):
                took: list[float] = []
                for first in range(0, messages, size):
                    chats = stage.chat[first : first + size]
                    started = time.perf_counter()
                    session.execute("START TRANSACTION")
                    self.enqueue(session, "nobody", chats)
                    session.execute("COMMIT")
                    took.append((time.perf_counter() - started) / len(chats) * 1e6)
                medians[f"in_{size}"] = median(took)
        return medians


def program_us(peer: Peer, stage: Stage, command: Command) -> dict[str, float]:
    """The same, measured by a program in the peer's own language, which enqueues a message of the median length."""
    payload = sorted((chat.payload for chat in stage.chat), key=len)[len(stage.chat) // 2]
    environment = {**peer.environment(stage, "nobody"), "PEER_PAYLOAD": payload}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{peer.title} could not enqueue:\n{done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
