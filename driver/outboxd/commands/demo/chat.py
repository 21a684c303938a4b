"""The chat of the demo: what a file holds, and whether all of it has arrived."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from outboxd import jsonl
from outboxd.commands.demo.errors import DemoError
from outboxd.mysql.procedures import OperatorProcedures

Conversations = dict[str, list[tuple[int, str, str]]]
"""user_id, role and message of each message, by conversation, in order."""


@dataclass(frozen=True, slots=True)
class Check:
    """The messages of the file, and what the tables hold of them in the end."""

    messages: int
    persisted: int
    duplicated: int
    out_of_order: int
    dead: int

    @property
    def is_well(self) -> bool:
        """Every message once, in order."""
        return self.persisted == self.messages and not (self.duplicated or self.out_of_order or self.dead)


def read(file: str | None) -> list[bytes]:
    """The lines of the file, or of the sample; raises DemoError if there are no messages in it."""
    source = Path(file) if file else resources.files("outboxd.commands.demo") / "sample_chat.jsonl"
    lines = source.read_bytes().split(b"\n")
    if not any(line.strip() for line in lines):
        raise DemoError(f"{file}: there are no messages in it")
    return lines


def conversations(lines: list[bytes]) -> Conversations:
    """What chat_histories must hold in the end; raises DemoError for a line that is no chat message."""
    expected: Conversations = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = jsonl.parse(line)
            jsonl.check_chat(row)
            if not row["conversation_id"]:
                raise ValueError("conversation_id must not be empty")
            expected[row["conversation_id"]].append((row["user_id"], row["role"], row["message"]))
        except ValueError as error:
            raise DemoError(f"line {number} is no chat message: {error}") from error
    return dict(expected)


def check(database: OperatorProcedures, expected: Conversations, total: int) -> Check:
    """Compare chat_histories with the file, byte for byte."""
    arrived: Conversations = defaultdict(list)
    for chat, *row in database.query("SELECT chat_id, user_id, role, message_content FROM chat_histories ORDER BY id"):
        arrived[chat].append((row[0], row[1], row[2]))
    persisted = duplicated = out_of_order = 0
    for chat in expected.keys() | arrived.keys():
        wanted, got = Counter(expected.get(chat, [])), Counter(arrived.get(chat, []))
        persisted += (wanted & got).total()
        duplicated += (got - wanted).total()
        in_file = [row for row in expected.get(chat, []) if row in got]
        out_of_order += sum(a != b for a, b in zip(in_file, arrived.get(chat, []), strict=False))
    dead = sum(row["messages"] for row in database.status() if row["status"] == "dead")
    return Check(total, persisted, duplicated, out_of_order, dead)
