"""Applications, relays and consumers at once, with failures: nothing is lost, doubled or out of order."""

import json
import queue
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.kit.server import Connect
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually

KEYS = 8
TRANSACTIONS = 40
Records = queue.Queue[int]


def produce(session: Session, seed: int) -> None:
    """Enqueue in transactions that last for random times, and are sometimes rolled back."""
    chance = random.Random(seed)
    for number in range(TRANSACTIONS):
        session.execute("START TRANSACTION")
        for part in range(chance.randint(1, 4)):
            key = f"key {chance.randrange(KEYS)}"
            session.enqueue(key, biz_type="eager", payload=chat_payload(f"{seed}:{number}:{part}", conversation=key))
            if chance.random() < 0.1:
                session.execute("DO SLEEP(0.01)")
        session.execute("COMMIT" if chance.random() < 0.9 else "ROLLBACK")


def relay(session: Session, seed: int, records: Records, done: threading.Event) -> None:
    """Hand claimed messages over; some are refused, and some marks come after the record has been consumed."""
    chance = random.Random(seed)
    name = f"relay-{seed}"
    while not done.is_set():
        claimed = session.claim(name, 50, wait_ms=20)
        refused = [row for row in claimed if chance.random() < 0.05]
        sent = [row for row in claimed if row not in refused]
        for row in sent:
            records.put(row["id"])
        session.mark("published", sent, name)
        session.mark("failed", refused, name)
        if chance.random() < 0.05:
            session.call("outbox_leave_v1", name)


def consume(session: Session, seed: int, records: Records, done: threading.Event) -> None:
    """Consume what has arrived, some of it twice."""
    chance = random.Random(seed)
    while not done.is_set():
        batch: set[int] = set()
        while len(batch) < 20 and (message := next_of(records)):
            batch.add(message)
            if chance.random() < 0.1:
                records.put(message)
        for message, outcome in session.consume(*sorted(batch)).items():
            if outcome == "not reached":
                records.put(message)


def next_of(records: Records) -> int | None:
    try:
        return records.get(timeout=0.01)
    except queue.Empty:
        return None


def is_over(db: Session) -> bool:
    return set(db.statuses().values()) == {"consumed"}


def test_everything_takes_effect_once_and_in_order_with_all_at_work(db: Session, connect: Connect) -> None:
    db.register("eager", "outbox_internal_write_chat_history_v1", backoff_base_seconds=0, max_retry=1000)
    records: Records = queue.Queue()
    done = threading.Event()
    workers: list[Callable[[Session, int, Records, threading.Event], None]] = [relay, relay, consume, consume]
    with ThreadPoolExecutor(len(workers) + 2) as pool:
        producing = [pool.submit(produce, connect(), seed) for seed in (1, 2)]
        working = [pool.submit(work, connect(), seed, records, done) for seed, work in enumerate(workers)]
        try:
            for producer in producing:
                producer.result(timeout=60)
            eventually(lambda: is_over(db) or any(worker.done() for worker in working), seconds=60)
        finally:
            done.set()
        for worker in working:
            worker.result(timeout=60)
    expected: dict[str, list[str]] = {}
    for row in db.messages():
        assert row["status"] == "consumed"
        expected.setdefault(row["message_key"], []).append(json.loads(row["payload"])["message"])
    written: dict[str, list[str]] = {}
    for row in db.rows("SELECT chat_id, message_content FROM chat_histories ORDER BY id"):
        written.setdefault(row["chat_id"], []).append(row["message_content"])
    assert written == expected
    assert len(expected) == KEYS
