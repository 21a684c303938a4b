"""Debezium: its engine, the MySQL connector and the outbox event router."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import toolchain
from tests.bench.peers.peer import Command, Peer
from tests.bench.peers.relay import running
from tests.bench.peers.topic import Topic
from tests.bench.stage import BenchError, Stage
from tests.kit.chat import Chat
from tests.kit.session import Session

_PROGRAM = "debezium"
# The columns that the event router's page asks for.
_TABLE = """
CREATE TABLE outboxevent (
  id CHAR(36) NOT NULL PRIMARY KEY, aggregatetype VARCHAR(255) NOT NULL, aggregateid VARCHAR(255) NOT NULL,
  type VARCHAR(255) NOT NULL, payload LONGTEXT)"""


class Debezium(Peer):
    """As it comes."""

    key = "debezium_default"
    title = "Debezium, as it comes"
    settings = "engine and event router with their defaults; Kafka producer as it comes"
    client = "INSERT, Python"
    backlog = (
        "INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, payload)"
        " SELECT UUID(), '{topic}', message_key, 'chat', payload FROM {chat}"
        " WHERE n BETWEEN {first} AND {last} ORDER BY n"
    )
    left = "SELECT 0"  # it has no mark
    tuned: tuple[str, ...] = ()

    def version(self) -> str:
        """That of its jars."""
        return toolchain.java_version(_PROGRAM, "debezium-connector-mysql")

    def build(self) -> None:
        """With Maven and a JDK."""
        toolchain.java(_PROGRAM)

    def install(self, stage: Stage) -> None:
        """The table of the outbox."""
        stage.server.create_database(self.database)
        with stage.connect(self.database) as session:
            session.execute(_TABLE)

    def prepare(self, stage: Stage, folder: Path) -> None:
        """It has run before, and so has a place in the binary log to go on from.

        What is there when it starts it reads as a snapshot; only a message behind that gives it a place.
        """
        topic = Topic(stage)
        with (
            stage.connect(self.database) as session,
            running(self.command(stage, topic.name, folder), folder, self.environment(stage, topic.name)) as relay,
        ):
            for records in (1, 2):
                self.enqueue(session, topic.name, [stage.chat[0]])
                topic.wait(records, lambda _: relay.check())
        offsets = folder / "offsets"
        stored = offsets.read_bytes() if offsets.exists() else b""
        if b'"pos"' not in stored or b'"snapshot"' in stored:
            raise BenchError(f"{self.title} has no place in the binary log: {stored!r}")

    def command(self, stage: Stage, topic: str, folder: Path) -> Command:  # noqa: ARG002
        """The engine; it keeps its offsets in the folder."""
        return (*toolchain.java(_PROGRAM), "Relay", *self.tuned)

    def enqueue(self, session: Session, topic: str, chats: Sequence[Chat]) -> None:
        """One INSERT of all messages."""
        rows = ", ".join(["(UUID(), %s, %s, 'chat', %s)"] * len(chats))
        session.execute(
            f"INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, payload) VALUES {rows}",
            *(value for chat in chats for value in (topic, chat.conversation_id, chat.payload)),
        )


class DebeziumTuned(Debezium):
    """For latency and for large batches."""

    key = "debezium_tuned"
    title = "Debezium, tuned"
    settings = "poll.interval.ms=5, max.batch.size=8192, max.queue.size=32768; the rest as before"
    tuned = ("poll.interval.ms=5", "max.batch.size=8192", "max.queue.size=32768")
