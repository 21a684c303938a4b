"""Real chat: one reader of its files, and one writer that knows what it has put into the outbox."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle, islice
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from tests.kit.ledger import Entry
from tests.kit.session import Session, chat_payload
from tests.servers.paths import CHECKOUT

_LARGE = CHECKOUT.parent / "shared" / "data" / "chat.jsonl"
_PER_TRANSACTION = 10


@dataclass(frozen=True, slots=True)
class Chat:
    """One message of a conversation."""

    user_id: int
    conversation_id: str
    role: str
    message: str

    @property
    def payload(self) -> str:
        """The message as the outbox stores it."""
        return chat_payload(self.message, self.conversation_id, self.role, self.user_id)

    def marked(self, mark: object) -> "Chat":
        """The same with a mark at its end, so that no other message has its text."""
        return replace(self, message=f"{self.message} #{mark}")


def sample_file() -> Path:
    """The sample that comes with the package."""
    return next((CHECKOUT / "driver" / "outboxd").rglob("sample_chat.jsonl"))


def default_file() -> Path:
    """The large file beside the checkout if there is one, else the package's own sample."""
    return _LARGE if _LARGE.is_file() else sample_file()


def read(file: Path, messages: int | None = None) -> list[Chat]:
    """The first messages of the file, or all; one with fewer is repeated, each time with other conversation ids."""
    # Not splitlines(), which knows more ends of lines than JSON lines have.
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    return list(islice(_endless(lines), len(lines) if messages is None else messages))


def _endless(lines: list[dict[str, object]]) -> Iterator[Chat]:
    for copy in count():
        for line in lines:
            conversation = str(line["conversation_id"])
            if copy:
                conversation = str(uuid5(NAMESPACE_OID, f"{conversation} {copy}"))
            yield Chat(int(str(line["user_id"])), conversation, str(line["role"]), str(line["message"]))


def enqueue(session: Session, topic: str, line: Chat) -> Entry:
    """Enqueue a chat message by its own procedure; the conversation is the key."""
    key = line.conversation_id
    id_ = session.out("outbox_enqueue_chat_history_v1", topic, key, line.user_id, key, line.role, line.message, None)
    return entry_of(id_, topic, line)


def entry_of(message: int, topic: str, line: Chat) -> Entry:
    """What the application knows of a chat message that has this id; the conversation is the key."""
    return Entry(int(message), topic, line.conversation_id, line.user_id, line.role, line.message)


def enqueue_all(session: Session, topic: str, lines: Sequence[Chat]) -> list[Entry]:
    """Enqueue chat messages in their order as an application does, a few in a transaction."""
    entries: list[Entry] = []
    for start in range(0, len(lines), _PER_TRANSACTION):
        session.execute("START TRANSACTION")
        entries += [enqueue(session, topic, line) for line in lines[start : start + _PER_TRANSACTION]]
        session.execute("COMMIT")
    return entries


class Writer:
    """Enqueues real chat under given keys, no text twice, and keeps the entries."""

    def __init__(self, topic: str) -> None:
        self.entries: list[Entry] = []
        self._topic = topic
        self._numbers = count(1)
        self._lines = cycle(read(sample_file()))

    def enqueue(self, session: Session, *keys: str) -> list[Entry]:
        """A message a key."""
        made = [enqueue(session, self._topic, line) for line in self._next(keys)]
        self.entries += made
        return made

    def _next(self, keys: Iterable[str]) -> Iterator[Chat]:
        for key in keys:
            yield replace(next(self._lines), conversation_id=key).marked(next(self._numbers))
