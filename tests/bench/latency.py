"""From the commit of an enqueue to the row in chat_histories, message by message, at a steady rate."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tests.bench import daemon
from tests.bench.measurement import Measurement, Result, quantile
from tests.bench.stage import DATABASE, BenchError, Stage
from tests.kit.chat import Chat
from tests.kit.server import Server
from tests.kit.session import Session

_KEY = "latency_ms"
_POLL_S = 0.001
_OVERLAP_S = 0.2
_STALLED_AFTER_S = 30.0
_WARM_UP = 100
_KEPT = 0.95

Times = dict[int, float]


@dataclass(frozen=True, slots=True)
class _Sample:
    """Milliseconds; poll_ms is how far apart the poller's looks were, and so the error of a latency, upwards."""

    latency_ms: list[float]
    enqueue_ms: list[float]
    poll_ms: list[float]
    per_s: float
    wanted_per_s: float


def _sample(stage: Stage) -> _Sample:
    """Enqueue in one process and look for the rows in another; both read the host's one monotonic clock.

    A message is followed by its user_id, which here is its number. The commit is dated by the return of the CALL,
    which comes a loopback's way later than the commit itself.
    """
    stage.clear()
    topic = stage.new_topic()
    sizes = stage.sizes
    wanted = round(sizes.latency_seconds * sizes.latency_per_s)
    chat = [stage.chat[number % len(stage.chat)] for number in range(wanted)]
    with (
        daemon.run(stage, topic) as daemons,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        stage.connect() as session,
    ):
        daemons.wait_until_shared()
        _follow(session, pool.submit(_enqueue, stage.server, topic, chat[:_WARM_UP], sizes.latency_per_s, wanted))
        (sent, took), seen, looks = _follow(
            session, pool.submit(_enqueue, stage.server, topic, chat, sizes.latency_per_s, 0)
        )
        daemons.check()
    return _Sample(
        latency_ms=[(seen[number] - sent[number]) * 1000 for number in sent],
        enqueue_ms=[seconds * 1000 for seconds in took],
        poll_ms=[(later - look) * 1000 for look, later in pairwise(looks)],
        per_s=(len(sent) - 1) / (max(sent.values()) - min(sent.values())),
        wanted_per_s=sizes.latency_per_s,
    )


def _enqueue(server: Server, topic: str, chats: Sequence[Chat], per_s: int, first: int) -> tuple[Times, list[float]]:
    """Enqueue at a steady rate, one commit each; returns when each was committed, and how long each call took."""
    committed: Times = {}
    took: list[float] = []
    with server.connect(DATABASE) as session:
        started = time.monotonic()
        for number, chat in enumerate(chats):
            time.sleep(max(0.0, started + number / per_s - time.monotonic()))
            called = time.monotonic()
            session.execute(
                "CALL outbox_enqueue_chat_history_v1(%s, %s, %s, %s, %s, %s, NULL, @id)",
                *(topic, chat.conversation_id, first + number, chat.conversation_id, chat.role, chat.message),
            )
            committed[first + number] = time.monotonic()
            took.append(committed[first + number] - called)
    return committed, took


def _follow(
    session: Session, enqueuing: "Future[tuple[Times, list[float]]]"
) -> tuple[tuple[Times, list[float]], Times, list[float]]:
    """Look for new rows every millisecond until each enqueued message has one; returns also when it saw and looked.

    Ids become visible out of their order where consumers run side by side, so the last of them are read again.
    """
    seen: Times = {}
    looks: list[float] = []
    recent: list[tuple[float, int]] = [(0.0, int(session.value("SELECT COALESCE(MAX(id), 0) FROM chat_histories")))]
    moved_at = time.monotonic()
    while not enqueuing.done() or enqueuing.result()[0].keys() - seen.keys():
        rows = session.rows("SELECT id, user_id FROM chat_histories WHERE id > %s ORDER BY id", recent[0][1])
        now = time.monotonic()
        looks.append(now)
        for row in rows:
            if row["user_id"] not in seen:
                seen[row["user_id"]] = moved_at = now
                recent.append((now, row["id"]))
        while len(recent) > 1 and recent[1][0] < now - _OVERLAP_S:
            recent.pop(0)
        if now - moved_at > _STALLED_AFTER_S:
            raise BenchError(f"nothing arrived for {_STALLED_AFTER_S:.0f} s")
        time.sleep(_POLL_S)
    return enqueuing.result(), seen, looks


def _summarise(samples: list[_Sample]) -> Result:
    (sample,) = samples
    shares = {f"p{share}": round(quantile(sample.latency_ms, share / 100), 2) for share in (50, 90, 99)}
    note = (
        f"{len(sample.latency_ms):,} messages at {sample.per_s:.0f}/s, from the return of the enqueue's CALL "
        f"(median {median(sample.enqueue_ms):.1f} ms) to a reader that looks every {median(sample.poll_ms):.1f} ms"
    )
    return Result(
        {_KEY: {"p50": shares["p50"], "p99": shares["p99"]}},
        {_KEY: note},
        {
            _KEY: {
                **shares,
                "max": max(sample.latency_ms),
                "per_s": sample.per_s,
                "rate_was_kept": sample.per_s >= _KEPT * sample.wanted_per_s,
                "enqueue_p50": median(sample.enqueue_ms),
                "poll_p50": median(sample.poll_ms),
                "poll_p99": quantile(sample.poll_ms, 0.99),
            }
        },
    )


MEASUREMENT = Measurement(
    keys=(_KEY,), title="latency at 200 messages per second", sample=_sample, summarise=_summarise
)
