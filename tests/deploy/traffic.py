"""Application sessions that enqueue real chat all the time, and know every call that failed."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

import mysql.connector

from tests.kit import chat
from tests.kit.chat import Chat, enqueue, entry_of
from tests.kit.ledger import Entry, Ledger
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session
from tests.kit.waiting import eventually

_OLD, _NEW = "outbox_enqueue_v1", "outbox_enqueue_v2"
_TOPIC = "chat"
_LONGEST_TRANSACTION = 3
_PAUSE_S = 0.02


class Application:
    """One session, in a thread of its own: short transactions, half of the messages by each of two procedures."""

    def __init__(self, name: str, lines: Sequence[Chat], connect: Connect, stop: threading.Event) -> None:
        self.name = name
        self.committed: list[Entry] = []
        self.failed: list[str] = []
        self.calls: Counter[str] = Counter()
        self._procedure: tuple[str, ...] = (_OLD,)
        self._lines = lines
        self._connect = connect
        self._stop = stop
        self.thread = threading.Thread(target=self._work, name=name)

    def move(self) -> None:
        """Call the next release's procedure from now on; returns when it does."""
        self._procedure = (_NEW, self.name)
        eventually(lambda: self.calls[_NEW] > 0)

    def _work(self) -> None:
        numbered = iter(enumerate(self._lines))
        size = 1
        with self._connect() as session:
            while not self._stop.wait(_PAUSE_S):
                try:
                    self.committed += self._transact(session, list(islice(numbered, size)))
                except mysql.connector.Error as error:
                    self.failed.append(str(error))
                    with suppress(mysql.connector.Error):
                        session.execute("ROLLBACK")
                size = size % _LONGEST_TRANSACTION + 1

    def _transact(self, session: Session, lines: Sequence[tuple[int, Chat]]) -> list[Entry]:
        session.execute("START TRANSACTION")
        entries = [self._enqueue(session, number, line) for number, line in lines]
        session.execute("COMMIT")
        return entries

    def _enqueue(self, session: Session, number: int, chat: Chat) -> Entry:
        """Enqueue one message, marked at its end so that no other has its text."""
        line = chat.marked(f"{self.name}-{number}")
        if number % 2:
            return enqueue(session, _TOPIC, line)
        procedure, *more = self._procedure
        id_ = session.out(procedure, CHAT, _TOPIC, line.conversation_id, line.payload, None, *more)
        self.calls[procedure] += 1
        return entry_of(id_, _TOPIC, line)


@contextmanager
def applications(count: int, connect: Connect) -> Iterator[tuple[list[Application], Callable[[], Ledger]]]:
    """Lend so many, at work, and a function that ends them and returns what they know.

    They share the conversations, so that each key is written to by all of them.
    """
    lines = chat.read(chat.default_file(), 40_000)
    stop = threading.Event()
    running = [Application(f"shop-{n}", lines[n::count], connect, stop) for n in range(count)]

    def finish() -> Ledger:
        stop.set()
        for one in running:
            one.thread.join()
        committed = [entry for one in running for entry in one.committed]
        return Ledger(committed, errors=[error for one in running for error in one.failed])

    for one in running:
        one.thread.start()
    try:
        yield running, finish
    finally:
        finish()
