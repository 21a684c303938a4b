"""Real chat messages, as many as a measurement needs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from tests.servers.paths import CHECKOUT
from tests.sql.support import chat_payload

_LARGE = CHECKOUT.parent / "shared" / "data" / "chat.jsonl"
_SAMPLE = CHECKOUT / "driver" / "outboxd" / "commands" / "demo" / "sample_chat.jsonl"


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


def default_file() -> Path:
    """The large file beside the checkout if there is one, else the package's own sample."""
    return _LARGE if _LARGE.is_file() else _SAMPLE


def read(file: Path, messages: int) -> list[Chat]:
    """The first messages of the file; a file with fewer is repeated, each time with other conversation ids."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list(islice(_endless(lines), messages))


def _endless(lines: list[dict[str, object]]) -> Iterator[Chat]:
    for copy in count():
        for line in lines:
            conversation = str(line["conversation_id"])
            if copy:
                conversation = str(uuid5(NAMESPACE_OID, f"{conversation} {copy}"))
            yield Chat(int(str(line["user_id"])), conversation, str(line["role"]), str(line["message"]))
