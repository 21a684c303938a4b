"""outboxd itself: `outboxd run --only relay`, and both halves for the effect."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.bench.peers.peer import Command, Peer
from tests.bench.stage import Stage
from tests.kit.chat import Chat
from tests.kit.command import environment
from tests.kit.session import CHAT, Session


class Outboxd(Peer):
    """The relay, with the settings that it has by default; messages are publish-only."""

    key = "outboxd"
    title = "outboxd, relay only"
    settings = "as it comes"
    client = "CALL, Python"
    left = "SELECT COUNT(*) FROM agent_outbox_messages WHERE status = 'pending'"
    biz_type = "published_only"
    only: tuple[str, ...] = ("--only", "relay")

    @property
    def backlog(self) -> str:  # type: ignore[override]
        """As its own benchmark fills it."""
        return (
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload)"
            f" SELECT '{self.biz_type}', '{{topic}}', message_key, payload FROM {{chat}}"
            " WHERE n BETWEEN {first} AND {last} ORDER BY n"
        )

    def version(self) -> str:
        """That of the checkout."""
        return version("outboxd")

    def build(self) -> None:
        """It is here."""

    def install(self, stage: Stage) -> None:
        """As `outboxd migrate` does, once."""
        with stage.connect() as session:
            is_there = session.rows("SHOW DATABASES LIKE %s", self.database)
        stage.clear(self.database) if is_there else stage.install(self.database)

    def command(self, stage: Stage, topic: str, folder: Path) -> Command:  # noqa: ARG002
        """The daemon."""
        return (sys.executable, "-m", "outboxd", "run", *self.only)

    def environment(self, stage: Stage, topic: str) -> Mapping[str, str]:
        """Its settings."""
        return environment(stage.daemon_settings(topic, self.database)) | {"PYTHONPATH": str(stage.code)}

    def enqueue(self, session: Session, topic: str, chats: Sequence[Chat]) -> None:
        """One call, whether of one message or of many."""
        if len(chats) == 1:
            (chat,) = chats
            session.execute(
                "CALL outbox_enqueue_v1(%s, %s, %s, %s, NULL, @id)",
                *(self.biz_type, topic, chat.conversation_id, chat.payload),
            )
            return
        batch = [
            {
                "biz_type": self.biz_type,
                "topic": topic,
                "key": chat.conversation_id,
                "payload": json.loads(chat.payload),
            }
            for chat in chats
        ]
        session.execute("CALL outbox_enqueue_batch_v1(%s, @enqueued)", json.dumps(batch))


class OutboxdWithEffect(Outboxd):
    """Both halves, up to the row in chat_histories."""

    key = "outboxd_effect"
    title = "outboxd, with effect"
    left = "SELECT COUNT(*) FROM agent_outbox_messages WHERE status <> 'consumed'"
    has_effect = True
    biz_type = CHAT
    only = ()
