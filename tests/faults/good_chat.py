"""Chat that nothing is wrong with, to be enqueued before, between and behind what is bad."""

from itertools import count, cycle

from tests.bench import chat
from tests.faults.ledger import Entry
from tests.sql.support import Database

_LINES = 500


class GoodChat:
    """Enqueues real chat under given keys, and keeps the ledger."""

    def __init__(self, topic: str) -> None:
        self.entries: list[Entry] = []
        self._topic = topic
        self._numbers = count(1)
        self._lines = cycle(chat.read(chat.default_file(), _LINES))

    def enqueue(self, session: Database, *keys: str) -> list[Entry]:
        """A message a key."""
        made = [self._one(session, key) for key in keys]
        self.entries += made
        return made

    def _one(self, session: Database, key: str) -> Entry:
        line = next(self._lines)
        text = f"{line.message} #{next(self._numbers)}"
        arguments = (self._topic, key, line.user_id, key, line.role, text, None)
        id_ = session.out("outbox_enqueue_chat_history_v1", *arguments)
        return Entry(int(id_), self._topic, key, line.user_id, line.role, text)
