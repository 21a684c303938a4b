"""The applications of the demo: they enqueue, in transactions of several sizes."""

import json
import threading
from zlib import crc32

from outboxd import jsonl
from outboxd.mysql.procedures import ApplicationProcedures
from outboxd.settings import Settings

_PER_TRANSACTION = (20, 100, 500)
EVENT = "chat_said"
"""The business type of chat that takes effect in another service; without a handler here."""


class Writer(threading.Thread):
    """An application: enqueues the given conversations in their order, a few messages a transaction."""

    def __init__(
        self, settings: Settings, topic: str, lines: list[bytes], per_transaction: int, killed: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._settings, self._topic, self._lines, self._killed = settings, topic, lines, killed
        # A transaction of more than half would leave nothing for after the kill.
        self._size = min(per_transaction, max(1, len(lines) // 2))
        self.enqueued = 0
        self.error: str | None = None

    def run(self) -> None:
        """Enqueue all; what fails is in `error`."""
        try:
            with ApplicationProcedures(self._settings) as database:
                for done in jsonl.enqueue(database, self._topic, self._lines, strict=True, per_transaction=self._size):
                    self.enqueued += done.enqueued
                    if done.rejected:
                        self.error = done.rejected[0].error
                    if self.enqueued >= len(self._lines) // 2:
                        self._killed.wait()  # so that the kill comes in the middle, however short the file is
        except Exception as error:  # reported by the main thread, which stops the demo
            self.error = str(error)


def start(
    settings: Settings, topic: str, lines: list[bytes], killed: threading.Event, *, as_events: bool
) -> list[Writer]:
    """Start the applications; they share the conversations, and wait in the middle until the daemon was killed.

    As events, the messages have no effect in the database in which they are enqueued.
    """
    shares: list[list[bytes]] = [[] for _ in _PER_TRANSACTION]
    for line in lines:
        chat = jsonl.parse(line)
        event = {"biz_type": EVENT, "key": chat["conversation_id"], "payload": chat}
        share = shares[crc32(chat["conversation_id"].encode()) % len(shares)]
        share.append(json.dumps(event, ensure_ascii=False).encode() if as_events else line)
    writers = [
        Writer(settings, topic, share, size, killed) for share, size in zip(shares, _PER_TRANSACTION, strict=True)
    ]
    for writer in writers:
        writer.start()
    return writers
