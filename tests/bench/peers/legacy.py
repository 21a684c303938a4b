"""The legacy way: a Go service that polls for what is due, and produces and marks it row by row."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import toolchain
from tests.bench.peers.peer import Command, Peer
from tests.bench.stage import Stage
from tests.kit.chat import Chat
from tests.kit.session import Session

_TABLES = """
CREATE TABLE outbox (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, topic VARCHAR(128) NOT NULL,
  message_key VARCHAR(128) NOT NULL, payload LONGTEXT NOT NULL, status VARCHAR(32) NOT NULL DEFAULT 'pending',
  next_retry_at DATETIME(6) NULL DEFAULT (UTC_TIMESTAMP(6)), published_at DATETIME(6), consumed_at DATETIME(6),
  created_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)), KEY (status, next_retry_at));
CREATE TABLE chat_histories (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id BIGINT NOT NULL, chat_id VARCHAR(128) NOT NULL,
  role VARCHAR(32) NOT NULL, message_content LONGTEXT NOT NULL, created_at DATETIME(6) NOT NULL, KEY (chat_id))
"""


class Legacy(Peer):
    """go/legacy: one goroutine, one row after the other, which keeps the order of one instance."""

    key = "legacy"
    title = "legacy Go, row at a time"
    settings = "100 rows a poll, 5 ms between empty polls, franz-go, acks=all, no linger"
    client = "INSERT, Python"
    backlog = (
        "INSERT INTO outbox (topic, message_key, payload) SELECT '{topic}', message_key, payload FROM {chat}"
        " WHERE n BETWEEN {first} AND {last} ORDER BY n"
    )
    left = "SELECT COUNT(*) FROM outbox WHERE status = 'pending'"
    has_effect = True

    def version(self) -> str:
        """It has none; that of its Kafka client."""
        return f"franz-go {toolchain.go_version('github.com/twmb/franz-go')}"

    def build(self) -> None:
        """With Go."""
        toolchain.go("legacy")

    def install(self, stage: Stage) -> None:
        """Its two tables."""
        stage.server.create_database(self.database)
        with stage.connect(self.database) as session:
            session.execute(_TABLES)

    def command(self, stage: Stage, topic: str, folder: Path) -> Command:  # noqa: ARG002
        """The relay."""
        return (toolchain.go("legacy"), "relay")

    def effect_command(self) -> Command:
        """The consumer."""
        return (toolchain.go("legacy"), "consume")

    def enqueue(self, session: Session, topic: str, chats: Sequence[Chat]) -> None:
        """One INSERT of all messages."""
        rows = ", ".join(["(%s, %s, %s)"] * len(chats))
        session.execute(
            f"INSERT INTO outbox (topic, message_key, payload) VALUES {rows}",
            *(value for chat in chats for value in (topic, chat.conversation_id, chat.payload)),
        )
