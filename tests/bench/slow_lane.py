"""What messages of other keys see of one lane with a long backlog and a slow handler, and what that lane loses."""

import time
from dataclasses import asdict, dataclass

from tests.bench import daemon
from tests.bench.measurement import Measurement, Result, quantile
from tests.bench.stage import BenchError, Stage
from tests.kit.session import Session
from tests.kit.waiting import eventually

_DELAY, _SHARE = "slow_lane_delay", "slow_lane_share"
_TYPE = "bench_slow"
_HANDLER_MS = 5
_OTHERS_PER_S = 20
_PLAIN_CALLS = 300
_DEADLINE_S = 120


@dataclass(frozen=True, slots=True)
class _Sample:
    alone_p50_ms: float
    alone_p99_ms: float
    beside_p50_ms: float
    beside_p99_ms: float
    consumed_per_s: float
    plain_per_s: float


def _sample(stage: Stage) -> _Sample:
    """Latencies from the enqueue to the effect, by the server's clock: alone, then beside the lane's backlog."""
    stage.clear()
    topic = stage.new_topic()
    messages, others = stage.sizes.slow_lane_messages, stage.sizes.slow_lane_others
    with stage.connect() as session:
        session.execute(
            f"DROP PROCEDURE IF EXISTS {_TYPE};"
            f"CREATE PROCEDURE {_TYPE} (p_id BIGINT UNSIGNED, p_payload LONGTEXT) DO SLEEP({_HANDLER_MS / 1000});"
            f"REPLACE INTO outbox_biz_types (biz_type, handler) VALUES ('{_TYPE}', '{_TYPE}')"
        )
        with daemon.run(stage, topic) as daemons:
            daemons.wait_until_shared()
            alone = _latencies(session, _enqueue_others(session, topic, others))
            first = _fill(session, topic, messages)
            eventually(lambda: _consumed(session, first) > 0, seconds=_DEADLINE_S)
            before, began = _consumed(session, first), time.monotonic()
            ids = _enqueue_others(session, topic, others)
            consumed_per_s = (_consumed(session, first) - before) / (time.monotonic() - began)
            if _consumed(session, first) >= messages:
                raise BenchError("the lane has ended before the others: more messages are needed")
            beside = _latencies(session, ids)
            daemons.check()
        plain_per_s = _plain(session, topic)
        session.execute(f"DELETE FROM outbox_biz_types WHERE biz_type = '{_TYPE}'; DROP PROCEDURE {_TYPE}")
    return _Sample(
        quantile(alone, 0.5),
        quantile(alone, 0.99),
        quantile(beside, 0.5),
        quantile(beside, 0.99),
        consumed_per_s,
        plain_per_s,
    )


def _enqueue_others(session: Session, topic: str, messages: int) -> list[int]:
    """Messages of keys of their own, at a steady rate."""
    ids: list[int] = []
    began = time.monotonic()
    for number in range(messages):
        time.sleep(max(0.0, began + number / _OTHERS_PER_S - time.monotonic()))
        ids.append(session.enqueue(f"other {number}", biz_type=_TYPE, topic=topic, payload="1"))
    return ids


def _fill(session: Session, topic: str, messages: int) -> int:
    """Enqueue the lane's backlog in one transaction; returns its first id."""
    session.execute("START TRANSACTION")
    first, *_ = [session.enqueue("hot", biz_type=_TYPE, topic=topic, payload="1") for _ in range(messages)]
    session.execute("COMMIT")
    return first


def _consumed(session: Session, first: int) -> int:
    return int(
        session.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE id >= %s AND status = 'consumed'", first)
    )


def _latencies(session: Session, ids: list[int]) -> list[float]:
    """Milliseconds, once all are consumed."""
    numbers = ", ".join(map(str, ids))
    rows = f"FROM agent_outbox_messages WHERE id IN ({numbers}) AND status = 'consumed'"
    eventually(lambda: session.value(f"SELECT COUNT(*) {rows}") == len(ids), seconds=_DEADLINE_S)
    return [
        float(micros) / 1000
        for micros in session.column(f"SELECT TIMESTAMPDIFF(MICROSECOND, created_at, consumed_at) {rows}")
    ]


def _plain(session: Session, topic: str) -> float:
    """Messages per second of a loop that consumes the lane one by one."""
    session.execute("UPDATE agent_outbox_messages SET status = 'dead', next_retry_at = NULL WHERE status <> 'consumed'")
    messages = [session.enqueue_published("hot", biz_type=_TYPE, topic=topic, payload="1") for _ in range(_PLAIN_CALLS)]
    records = [session.record(message) for message in messages]
    began = time.monotonic()
    for record in records:
        session.consume(record)
    return _PLAIN_CALLS / (time.monotonic() - began)


def _summarise(samples: list[_Sample]) -> Result:
    (sample,) = samples
    delay = (sample.beside_p99_ms - sample.alone_p99_ms) / _HANDLER_MS
    share = sample.consumed_per_s / sample.plain_per_s
    note = (
        f"others: p50 {sample.alone_p50_ms:.0f} ms alone, {sample.beside_p50_ms:.0f} beside; p99"
        f" {sample.alone_p99_ms:.0f} and {sample.beside_p99_ms:.0f}; the difference of these by {_HANDLER_MS} ms"
    )
    return Result(
        {_DELAY: round(delay, 2), _SHARE: round(share, 3)},
        {_DELAY: note, _SHARE: f"{sample.consumed_per_s:.0f}/s in all, of {sample.plain_per_s:.0f}/s by plain calls"},
        {_DELAY: asdict(sample)},
    )


MEASUREMENT = Measurement(
    keys=(_DELAY, _SHARE), title="beside a lane with a slow handler", sample=_sample, summarise=_summarise
)
