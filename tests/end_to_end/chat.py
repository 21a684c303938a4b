"""Real chat as a load, and the check that all of it arrived: once, byte for byte, each conversation in its order."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from tests.driver.support import SAMPLE_CHAT
from tests.servers.paths import CHECKOUT
from tests.sql.support import Database

_LARGE = CHECKOUT.parent / "shared" / "data" / "chat.jsonl"
_PER_TRANSACTION = 10
_ENQUEUE = "CALL outbox_enqueue_chat_history_v1(%s, %s, %s, %s, %s, %s, NULL, @id)"


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat message, as an application has it and as chat_histories holds it."""

    conversation: str
    user: int
    role: str
    text: str


def read_chat(messages: int) -> list[Chat]:
    """The first messages of a large file where there is one, else of the sample, again and again under new names."""
    lines = _lines(_LARGE) if _LARGE.is_file() else []
    if len(lines) < messages:
        lines = _lines(SAMPLE_CHAT)
    repeated = (
        Chat(f"{row['conversation_id']}#{turn}", row["user_id"], row["role"], row["message"])
        for turn in count()
        for row in lines
    )
    return list(islice(repeated, messages))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def enqueue(session: Database, topic: str, chats: Sequence[Chat]) -> None:
    """Enqueue messages in their order as an application does, a few in a transaction."""
    for start in range(0, len(chats), _PER_TRANSACTION):
        session.execute("START TRANSACTION")
        for chat in chats[start : start + _PER_TRANSACTION]:
            members = (chat.user, chat.conversation, chat.role, chat.text)
            session.execute(_ENQUEUE, topic, chat.conversation, *members)
        session.execute("COMMIT")


def arrived(session: Database) -> list[Chat]:
    """What is in chat_histories, in the order in which it was written."""
    rows = session.rows("SELECT chat_id, user_id, role, HEX(message_content) AS bytes FROM chat_histories ORDER BY id")
    return [
        Chat(row["chat_id"], row["user_id"], row["role"], bytes.fromhex(row["bytes"]).decode(errors="replace"))
        for row in rows
    ]


def complaints(expected: Iterable[Chat], got: Iterable[Chat]) -> list[str]:
    """Everything that is wrong with what arrived; nothing if it is exactly what was sent."""
    wanted, there = list(expected), list(got)
    surplus, missing = Counter(there) - Counter(wanted), Counter(wanted) - Counter(there)
    found = [f"lost: {chat}" for chat in missing.elements()]
    found += [f"{'duplicated' if chat in set(wanted) else 'foreign'}: {chat}" for chat in surplus.elements()]
    order = _by_conversation(there)
    for conversation, chats in _by_conversation(wanted).items():
        if order[conversation] != chats and Counter(order[conversation]) == Counter(chats):
            found.append(f"out of order: {conversation}")
    return found


def _by_conversation(chats: Iterable[Chat]) -> dict[str, list[Chat]]:
    conversations: dict[str, list[Chat]] = defaultdict(list)
    for chat in chats:
        conversations[chat.conversation].append(chat)
    return conversations
