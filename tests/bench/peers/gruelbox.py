"""Gruelbox Transaction Outbox: a library inside the application, whose scheduled work here is a record for Kafka."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.peers import toolchain
from tests.bench.peers.peer import Command, Load, Peer, program_us
from tests.bench.peers.relay import Relay
from tests.bench.stage import STAGING, BenchError, Stage
from tests.kit.chat import Chat
from tests.kit.session import Session

_PROGRAM = "gruelbox"


class Gruelbox(Peer):
    """Without topics, so without an order."""

    key = "gruelbox"
    title = "gruelbox, unordered"
    settings = "32 threads, attemptFrequency 5 s, flushBatchSize 1000, HikariCP, rewriteBatchedStatements"
    client = "its schedule(), Java"
    left = "SELECT COUNT(*) FROM TXNO_OUTBOX"
    answers = True

    def version(self) -> str:
        """That of its jar."""
        return toolchain.java_version(_PROGRAM, "transactionoutbox-core")

    def build(self) -> None:
        """With Maven and a JDK."""
        toolchain.java(_PROGRAM)

    def install(self, stage: Stage) -> None:
        """As it makes its tables itself."""
        stage.server.create_database(self.database)
        self._do(stage, "nobody", "install")

    def command(self, stage: Stage, topic: str, folder: Path) -> Command:  # noqa: ARG002
        """The application: it flushes, and takes loads."""
        return self._program("relay")

    def environment(self, stage: Stage, topic: str) -> Mapping[str, str]:
        """And where the chat is."""
        return {**super().environment(stage, topic), "PEER_CHAT": f"{STAGING}.chat"}

    def enqueue(self, session: Session, topic: str, chats: Sequence[Chat]) -> None:
        """Only its own program can: what is stored is a call of a method."""
        raise NotImplementedError

    def fill(self, stage: Stage, topic: str, messages: int) -> None:
        """By its own program."""
        self._do(stage, topic, "fill", str(messages))

    def load(self, stage: Stage, relay: Relay, topic: str, load: Load) -> dict[int, float]:  # noqa: ARG002
        """In the process that relays: what is committed there is submitted there, without a look into the table."""
        answer = relay.ask(f"{load.first} {load.messages} {load.per_s} {load.writers} {load.pause}")
        return {int(number): at for number, at in json.loads(answer).items()}

    def enqueue_us(self, stage: Stage, messages: int) -> dict[str, float]:
        """By its own program, in Java."""
        return program_us(self, stage, self._program("enqueue", str(messages)))

    def _do(self, stage: Stage, topic: str, *arguments: str) -> None:
        environment = self.environment(stage, topic)
        done = subprocess.run(self._program(*arguments), env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{self.title}: {arguments[0]} failed:\n{done.stderr[-2000:]}")

    def _program(self, *arguments: str) -> Command:
        return (*toolchain.java(_PROGRAM), "App", *arguments)
