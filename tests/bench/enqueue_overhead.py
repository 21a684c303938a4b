"""What the procedure adds to an INSERT that an application could make itself."""

import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from statistics import median

from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage
from tests.kit.chat import Chat
from tests.kit.session import CHAT, Session

_KEY = "enqueue_overhead"
INSERT = """
INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, headers,
  status, retry_count, max_retry, next_retry_at, created_at, updated_at)
VALUES """
ROW = f"""
('{CHAT}', 'chat', %s, %s, NULL, 'pending', 0, 20, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"""
"""What an application would insert for a message: its key and its payload."""

Times = list[float]


def _sample(stage: Stage) -> tuple[Times, Times]:
    """Seconds of each call and of each insert: blocks take turns on one connection, one commit each."""
    stage.clear()
    calls: Times = []
    inserts: Times = []
    chats = cycle(stage.chat)
    with stage.connect() as session:
        for _ in range(2):  # the first rounds fill the server's caches of statements and routines
            calls.clear()
            inserts.clear()
            for _ in range(stage.sizes.enqueue_blocks):
                calls.extend(_timed(session, _call, islice(chats, stage.sizes.enqueue_block)))
                inserts.extend(_timed(session, _insert, islice(chats, stage.sizes.enqueue_block)))
    return calls, inserts


def _timed(session: Session, enqueue: Callable[[Session, Chat], None], chats: Iterator[Chat]) -> Times:
    times: Times = []
    for chat in chats:
        started = time.perf_counter()
        enqueue(session, chat)
        times.append(time.perf_counter() - started)
    return times


def _call(session: Session, chat: Chat) -> None:
    session.execute(
        "CALL outbox_enqueue_chat_history_v1('chat', %s, %s, %s, %s, %s, NULL, @id)",
        *(chat.conversation_id, chat.user_id, chat.conversation_id, chat.role, chat.message),
    )


def _insert(session: Session, chat: Chat) -> None:
    session.execute(INSERT + ROW, chat.conversation_id, chat.payload)


def _summarise(samples: list[tuple[Times, Times]]) -> Result:
    ((calls, inserts),) = samples
    call_us, insert_us = (median(times) * 1e6 for times in (calls, inserts))
    return Result(
        {_KEY: round(call_us / insert_us, 3)},
        {_KEY: f"medians of {len(calls):,} each: CALL {call_us:,.0f} us, INSERT {insert_us:,.0f} us, commit included"},
        {_KEY: {"call_us": call_us, "insert_us": insert_us}},
    )


MEASUREMENT = Measurement(keys=(_KEY,), title="enqueue: CALL against INSERT", sample=_sample, summarise=_summarise)
