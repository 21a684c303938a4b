"""One application process: ``python -m tests.faults.writer PLAN``, a JSON file of the members of ``Plan``.

It enqueues its share of the chat in transactions of random length, held open for random times, so that they commit in
another order than their ids. Some are rolled back; some end with the process, which kills itself and is to be started
again. All chance comes from the seed and the position in the chat, so a successor goes on as its predecessor would.
A patient one takes errors of MySQL as an application must: the transaction is over, and the next one is begun, on a new
connection where the old one is gone. It ends early once the file `enough` is there.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mysql.connector
from mysql.connector import errorcode

from tests.faults.handlers import PLAIN
from tests.kit import ledger
from tests.kit.chat import Chat, enqueue, entry_of
from tests.kit.session import Session

KILLED_IN_TRANSACTION = ("before the intent to commit", "before COMMIT", "after COMMIT")
_FATES = ("committed", "rolled back", *KILLED_IN_TRANSACTION)
_ODDS = (90, 7)
_ODDS_OF_A_KILL = 1
_LONGEST_TRANSACTION = 8
_PAUSE_S = 0.1
# A server may answer nothing, and close nothing; otherwise a lock is waited for longest, 10 seconds.
_ANSWER_S = 15
# The server has become a replica: the source is another one.
_ELSEWHERE = {errorcode.ER_OPTION_PREVENTS_STATEMENT}
_HOLDS_S = {0.0: 45, 0.01: 25, 0.05: 15, 0.3: 12, 1.0: 3}


@dataclass(frozen=True, slots=True)
class Plan:
    """What one application does; chat is a file of JSON arrays, a Chat's members each."""

    name: str
    seed: int
    topics: Sequence[str]
    chat: str
    ledger: str
    enough: str
    patient: bool
    haste: float
    host: str
    port: int
    user: str
    password: str
    database: str

    def to_json(self) -> str:
        """As the file that is given to the process has it."""
        return json.dumps(asdict(self))


def main(plan: Plan) -> None:
    """Enqueue the rest of the chat."""
    chat = [Chat(*json.loads(line)) for line in Path(plan.chat).read_text(encoding="utf-8").splitlines()]
    position = ledger.position(Path(plan.ledger))
    book = ledger.Writer(Path(plan.ledger))
    session: Session | None = None
    while position < len(chat) and not Path(plan.enough).exists():
        chance = random.Random(f"{plan.seed} {plan.name} {position}")
        size = chance.randint(1, _LONGEST_TRANSACTION)
        book.begins(position + size)
        try:
            session = session or _connect(plan)
            _transact(plan, session, book, chance, list(enumerate(chat[position : position + size], position)))
        except mysql.connector.Error as error:
            if not plan.patient:
                raise
            book.failed(f"{error.errno}: {error.msg}")
            session = _rolled_back(session) if session and error.errno not in _ELSEWHERE else None
            time.sleep(_PAUSE_S)
        position += size


def _connect(plan: Plan) -> Session:
    account = {"user": plan.user, "password": plan.password, "database": plan.database}
    return Session(host=plan.host, port=plan.port, **account, read_timeout=_ANSWER_S)


def _rolled_back(session: Session) -> Session | None:
    """The session without its transaction; None where it is gone, and the transaction with it."""
    try:
        session.execute("ROLLBACK")
    except mysql.connector.Error:
        return None
    return session


def _transact(
    plan: Plan, session: Session, book: ledger.Writer, chance: random.Random, chat: Sequence[tuple[int, Chat]]
) -> None:
    kills = [_ODDS_OF_A_KILL / plan.haste] * len(KILLED_IN_TRANSACTION)
    (fate,) = chance.choices(_FATES, [*_ODDS, *kills])
    session.execute("START TRANSACTION")
    entries = [_enqueue(plan, session, chance, number, line) for number, line in chat]
    (seconds,) = chance.choices(list(_HOLDS_S), list(_HOLDS_S.values()))
    time.sleep(seconds / plan.haste)
    if fate == "rolled back":
        session.execute("ROLLBACK")
        return
    if fate == "before the intent to commit":
        _die()
    book.commits(entries)
    if fate == "before COMMIT":
        _die()
    session.execute("COMMIT")
    if fate == "after COMMIT":
        _die()
    book.committed()


def _enqueue(plan: Plan, session: Session, chance: random.Random, number: int, chat: Chat) -> ledger.Entry:
    """Enqueue one message, marked at its end so that no other has its text."""
    time.sleep(chance.expovariate(1 / 0.003) / plan.haste)
    topic = chance.choices(plan.topics, [3, *[1] * (len(plan.topics) - 1)])[0]
    line = chat.marked(f"{plan.name}-{number}")
    if chance.random() < 0.5:
        return enqueue(session, topic, line)
    id_ = session.out("outbox_enqueue_v1", PLAIN, topic, line.conversation_id, line.payload, None)
    return entry_of(id_, topic, line)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
