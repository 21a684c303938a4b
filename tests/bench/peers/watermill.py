"""Watermill: its SQL subscriber, whose messages its forwarder publishes to Kafka."""

import base64
import json
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import toolchain
from tests.bench.peers.peer import Command, Peer, program_us
from tests.bench.stage import BenchError, Stage
from tests.kit.chat import Chat
from tests.kit.session import Session


class Watermill(Peer):
    """The queue schema: rows are deleted when they are forwarded."""

    key = "watermill_queue"
    title = "Watermill, queue"
    settings = "MySQLQueueSchema, DeleteOnAck, batches of 100, PollInterval 5 ms; Kafka publisher as it comes"
    client = "its publisher, Go"
    # The envelope in which its forwarder's publisher puts a message.
    backlog = """
INSERT INTO watermill_outbox (uuid, payload, metadata)
SELECT id, JSON_OBJECT('destination_topic', '{topic}', 'uuid', id, 'payload', REPLACE(TO_BASE64(payload), '\n', ''),
       'metadata', JSON_OBJECT('key', message_key)), JSON_OBJECT()
  FROM (SELECT n, UUID() AS id, message_key, payload FROM {chat} WHERE n BETWEEN {first} AND {last}) AS chat
 ORDER BY n"""
    left = "SELECT COUNT(*) FROM watermill_outbox"
    schema = "queue"

    def version(self) -> str:
        """Those of its modules."""
        modules = ("watermill", "watermill-sql/v4", "watermill-kafka/v3")
        return ", ".join(f"{name} {toolchain.go_version(f'github.com/ThreeDotsLabs/{name}')}" for name in modules)

    def build(self) -> None:
        """With Go."""
        toolchain.go("watermill")

    def install(self, stage: Stage) -> None:
        """As it makes its tables itself."""
        stage.server.create_database(self.database)
        command, environment = self._program("install"), self.environment(stage, "nobody")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{self.title} could not be installed:\n{done.stderr[-2000:]}")

    def command(self, stage: Stage, topic: str, folder: Path) -> Command:  # noqa: ARG002
        """The forwarder."""
        return self._program("relay")

    def enqueue(self, session: Session, topic: str, chats: Sequence[Chat]) -> None:
        """What its publisher inserts: all messages in one statement."""
        values: list[str] = []
        for chat in chats:
            id_ = str(uuid.uuid4())
            envelope = {
                "destination_topic": topic,
                "uuid": id_,
                "payload": base64.b64encode(chat.payload.encode()).decode(),
                "metadata": {"key": chat.conversation_id},
            }
            values += [id_, json.dumps(envelope), "{}"]
        rows = ", ".join(["(%s, %s, %s)"] * len(chats))
        session.execute(f"INSERT INTO watermill_outbox (uuid, payload, metadata) VALUES {rows}", *values)

    def enqueue_us(self, stage: Stage, messages: int) -> dict[str, float]:
        """By its own publisher, in Go."""
        return program_us(self, stage, self._program("enqueue", str(messages)))

    def _program(self, *arguments: str) -> Command:
        return (toolchain.go("watermill"), self.schema, *arguments)


class WatermillPubSub(Watermill):
    """The default schema: rows stay, and an offset says how far the subscriber has come."""

    key = "watermill_pubsub"
    title = "Watermill, pub/sub"
    settings = "DefaultMySQLSchema and offsets, batches of 100, PollInterval 5 ms; Kafka publisher as it comes"
    left = (
        "SELECT (SELECT COALESCE(MAX(`offset`), 0) FROM watermill_outbox)"
        " - COALESCE((SELECT MAX(offset_acked) FROM watermill_offsets_outbox), 0)"
    )
    schema = "pubsub"
