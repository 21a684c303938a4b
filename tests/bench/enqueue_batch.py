"""What 1,000 messages in one call take, against a multi-row INSERT that an application could make itself."""

import json
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median

from tests.bench.enqueue_overhead import INSERT, ROW
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage
from tests.kit.chat import Chat
from tests.kit.session import CHAT, Session

_KEY = "enqueue_batch"

Times = dict[str, list[float]]


def _insert(session: Session, chats: Sequence[Chat], _: int) -> None:
    values = [text for chat in chats for text in (chat.conversation_id, chat.payload)]
    session.execute(INSERT + ",".join([ROW] * len(chats)), *values)


def _batch(session: Session, chats: Sequence[Chat], _: int) -> None:
    _call(session, [_element(chat) for chat in chats])


def _batch_with_dedup_keys(session: Session, chats: Sequence[Chat], turn: int) -> None:
    _call(session, [_element(chat) | {"dedup_key": f"{turn}:{number}"} for number, chat in enumerate(chats)])


def _single_calls(session: Session, chats: Sequence[Chat], _: int) -> None:
    for chat in chats:
        session.execute(
            "CALL outbox_enqueue_v1(%s, 'chat', %s, %s, NULL, @id)", CHAT, chat.conversation_id, chat.payload
        )


def _element(chat: Chat) -> dict[str, str]:
    return {"biz_type": CHAT, "topic": "chat", "key": chat.conversation_id, "payload": chat.payload}


def _call(session: Session, elements: Sequence[dict[str, str]]) -> None:
    session.execute("CALL outbox_enqueue_batch_v1(%s, @enqueued)", json.dumps(elements, ensure_ascii=False))


_WAYS: dict[str, Callable[[Session, Sequence[Chat], int], None]] = {
    "insert": _insert,
    "batch": _batch,
    "batch_with_dedup_keys": _batch_with_dedup_keys,
    "single_calls": _single_calls,
}


def _sample(stage: Stage) -> Times:
    """Seconds a message: the ways take turns on one connection, a transaction each, what the client does included."""
    stage.clear()
    times: Times = {way: [] for way in _WAYS}
    chats = cycle(stage.chat)
    with stage.connect() as session:
        for turn in range(stage.sizes.enqueue_transactions + 1):
            for way, enqueue in _WAYS.items():
                some = list(islice(chats, stage.sizes.enqueue_transaction))
                started = time.perf_counter()
                session.execute("START TRANSACTION")
                enqueue(session, some, turn)
                session.execute("COMMIT")
                if turn > 0:  # the first fills the server's caches
                    times[way].append((time.perf_counter() - started) / len(some))
    return times


def _summarise(samples: list[Times]) -> Result:
    (times,) = samples
    us = {way: median(seconds) * 1e6 for way, seconds in times.items()}
    said = ", ".join(f"{way.replace('_', ' ')} {one:,.0f}" for way, one in us.items())
    return Result(
        {_KEY: round(us["batch"] / us["insert"], 3)},
        {_KEY: f"us a message, medians of {len(times['batch'])} transactions: {said}"},
        {_KEY: us},
    )


MEASUREMENT = Measurement(
    keys=(_KEY,), title="enqueue: a batch against a multi-row INSERT", sample=_sample, summarise=_summarise
)
