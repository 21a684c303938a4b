"""Whether a message of another key is relayed as fast beside a million that wait, or beside open transactions."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from tests.bench import cpu
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import BenchError, Stage
from tests.kit.session import CHAT, Session

_KEY = "isolation"
_BESIDE = "outboxd_bench_beside"
_RELAY = "bench"
_LEASE_S = 3600
_WAIT_MS = 500
_FOUND_WITHIN_S = 120.0
_ROWS_PER_INSERT = 10_000
# What a message needs to wait for each reason, in columns of agent_outbox_messages; now is when it was enqueued.
_WAITING = {
    "delayed": "now + INTERVAL 1 DAY AS next_retry_at, 0 AS retry_count, NULL AS noted_for, NULL AS parked_for",
    "failed": "now + INTERVAL 1 HOUR AS next_retry_at, 3 AS retry_count, NULL AS noted_for, NULL AS parked_for",
    "paused_topic": "now AS next_retry_at, 0 AS retry_count, now AS noted_for, (SELECT id FROM outbox_pauses"
    " WHERE kind = 'topic') AS parked_for",
    "paused_type": "now AS next_retry_at, 0 AS retry_count, now AS noted_for, (SELECT id FROM outbox_pauses"
    " WHERE kind = 'biz_type') AS parked_for",
}


@dataclass(frozen=True, slots=True)
class _Sample:
    """Milliseconds from an enqueue to its mark, alone and beside what waits; idle are shares of one core."""

    latency_ms: dict[str, tuple[list[float], list[float]]]
    idle: tuple[float, float]


def _sample(stage: Stage) -> _Sample:
    stage.clear()
    stage.install(_BESIDE)
    latency: dict[str, tuple[list[float], list[float]]] = {}
    with stage.connect() as alone, stage.connect(_BESIDE) as beside:
        beside.call("outbox_pause_v1", "paused", None)
        beside.call("outbox_pause_v1", None, "paused")
        for reason in _WAITING:
            _fill(beside, reason, stage.sizes.waiting)
            stage.settle()
            latency[reason] = _take_turns(alone, beside, stage.sizes.isolation_rounds)
        idle = _idle(stage, alone), _idle(stage, beside)
        for name, transactions, messages in (
            ("one_open_transaction", 1, stage.sizes.open_messages),
            ("open_transactions", stage.sizes.open_transactions, 1),
        ):
            with _open(stage, transactions, messages):
                latency[name] = _take_turns(alone, beside, stage.sizes.isolation_rounds)
    stage.drop(_BESIDE)
    return _Sample(latency, idle)


def _fill(session: Session, reason: str, messages: int) -> None:
    """Add messages that wait, each of a key of its own, as a relay has left them."""
    topic = "paused" if reason == "paused_topic" else "chat"
    biz_type = "paused" if reason == "paused_type" else CHAT
    for start in range(0, messages, _ROWS_PER_INSERT):
        session.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, created_at, updated_at,"
            " next_retry_at, retry_count, noted_for, parked_for)"
            " WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s),"
            f" waiting AS (SELECT now, {_WAITING[reason]} FROM (SELECT UTC_TIMESTAMP(6) AS now) AS clock)"
            f" SELECT /*+ SET_VAR(cte_max_recursion_depth = {_ROWS_PER_INSERT}) */ %s, %s, CONCAT(%s, n), '1', now,"
            " now, next_retry_at, retry_count, noted_for, parked_for FROM numbers CROSS JOIN waiting",
            *(min(_ROWS_PER_INSERT, messages - start), biz_type, topic, f"{reason}-{start}-"),
        )


@contextmanager
def _open(stage: Stage, transactions: int, messages: int) -> Iterator[None]:
    """Transactions that have enqueued so many messages each, and do not end."""
    with stage.connect() as root, ExitStack() as stack:
        # And not back: the server takes its time to end them, and it is the benchmark's own.
        root.execute("SET GLOBAL max_connections = %s", 200 + 2 * transactions)
        for number in range(transactions):
            session = stack.enter_context(stage.connect(_BESIDE))
            session.execute("START TRANSACTION")
            for start in range(0, messages, _ROWS_PER_INSERT):
                session.execute(
                    "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload)"
                    " WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
                    f" SELECT /*+ SET_VAR(cte_max_recursion_depth = {_ROWS_PER_INSERT}) */ %s, 'chat',"
                    " CONCAT(%s, n MOD 2598), '1' FROM numbers",
                    *(min(_ROWS_PER_INSERT, messages - start), CHAT, f"open-{number}-"),
                )
        yield


def _take_turns(alone: Session, beside: Session, rounds: int) -> tuple[list[float], list[float]]:
    """The first round of each is not counted: the relay gets to know what waits."""
    samples: tuple[list[float], list[float]] = ([], [])
    for session in (alone, beside):
        _relay_one(session)
    for _ in range(rounds):
        for session, into in zip((alone, beside), samples, strict=True):
            into.append(_relay_one(session))
    return samples


def _relay_one(session: Session) -> float:
    """Enqueue a message of another key, claim and mark it; the session is application and relay. Milliseconds."""
    message = session.enqueue("another")
    started = time.perf_counter()
    while time.perf_counter() - started < _FOUND_WITHIN_S:
        claimed = session.claim(_RELAY, 1000, _LEASE_S, _WAIT_MS)
        session.mark("published", claimed, _RELAY)
        if [row["id"] for row in claimed] == [message]:
            return (time.perf_counter() - started) * 1000
    raise BenchError(f"message {message} was not claimed within {_FOUND_WITHIN_S:.0f} s")


def _idle(stage: Stage, session: Session) -> float:
    """What mysqld takes of one core while a relay waits for work."""
    groups = {"mysqld": [stage.mysql.pid]}
    before = cpu.now(groups)
    until = time.monotonic() + stage.sizes.idle_seconds / 2
    while time.monotonic() < until:
        session.claim(_RELAY, 1000, _LEASE_S, _WAIT_MS)
    return before.cores_until(cpu.now(groups))["mysqld"]


def _summarise(samples: list[_Sample]) -> Result:
    (sample,) = samples
    p50 = {name: (median(alone), median(beside)) for name, (alone, beside) in sample.latency_ms.items()}
    values = {name: round(beside / alone, 2) for name, (alone, beside) in p50.items()}
    values["idle_cpu_added"] = round(sample.idle[1] - sample.idle[0], 4)
    note = "p50 beside / alone: " + ", ".join(f"{name} {b:.1f} / {a:.1f} ms" for name, (a, b) in p50.items())
    return Result({_KEY: values}, {_KEY: note}, {_KEY: {"p50_ms": p50, "idle": sample.idle}})


MEASUREMENT = Measurement(keys=(_KEY,), title="messages beside those that wait", sample=_sample, summarise=_summarise)
