"""Whether a message of another key takes effect as fast beside a million that wait, or beside open transactions."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from tests.bench import cpu, daemon
from tests.bench.daemon import Daemons
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import DATABASE, Stage
from tests.kit.session import CHAT, Session
from tests.kit.waiting import eventually

_KEY = "isolation"
_BESIDE = "outboxd_bench_beside"
_PER_S = 20
_DEADLINE_S = 120.0
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
    """Milliseconds from an enqueue to its effect, alone and beside what waits; idle are mysqld's shares of one core."""

    latency_ms: dict[str, tuple[list[float], list[float]]]
    idle: tuple[float, float]


def _sample(stage: Stage) -> _Sample:
    """Two outboxes, each with a daemon of its own, take turns."""
    stage.clear()
    stage.install(_BESIDE)
    topics = stage.new_topic(), stage.new_topic()
    latency: dict[str, tuple[list[float], list[float]]] = {}
    with ExitStack() as stack:
        sessions = [stack.enter_context(stage.connect(database)) for database in (DATABASE, _BESIDE)]
        turns = list(zip(sessions, topics, strict=True))
        beside = sessions[1]
        beside.call("outbox_pause_v1", "paused", None)
        beside.call("outbox_pause_v1", None, "paused")
        with _daemons(stage, topics) as daemons:
            for reason in _WAITING:
                _fill(beside, reason, stage.sizes.waiting)
                latency[reason] = _take_turns(stage, turns, daemons)
        # Before the transactions: what these leave behind is the server's own work for a while.
        idle = _idle(stage, topics[0], DATABASE), _idle(stage, topics[1], _BESIDE)
        with _daemons(stage, topics) as daemons:
            for name, transactions, messages in (
                ("one_open_transaction", 1, stage.sizes.open_messages),
                ("open_transactions", stage.sizes.open_transactions, 1),
            ):
                with _open(stage, transactions, messages):
                    latency[name] = _take_turns(stage, turns, daemons)
    stage.drop(_BESIDE)
    return _Sample(latency, idle)


@contextmanager
def _daemons(stage: Stage, topics: Sequence[str]) -> Iterator[list[Daemons]]:
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(daemon.run(stage, topic, database=database))
            for topic, database in zip(topics, (DATABASE, _BESIDE), strict=True)
        ]
        for one in daemons:
            one.wait_until_shared()
        yield daemons


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


def _take_turns(
    stage: Stage, turns: Sequence[tuple[Session, str]], daemons: Sequence[Daemons]
) -> tuple[list[float], list[float]]:
    """Enqueue messages of other keys at a steady rate, in turn; returns the latencies of each once all are consumed."""
    stage.settle()
    ids: list[list[int]] = [[] for _ in turns]
    began = time.monotonic()
    for number in range(stage.sizes.isolation_messages):
        for of, (session, topic) in zip(ids, turns, strict=True):
            time.sleep(max(0.0, began + sum(map(len, ids)) / (_PER_S * len(turns)) - time.monotonic()))
            of.append(session.enqueue(f"other-{number}", topic=topic))
    for one in daemons:
        one.check()
    alone, beside = (_latencies(session, of) for (session, _), of in zip(turns, ids, strict=True))
    return alone, beside


def _latencies(session: Session, ids: Sequence[int]) -> list[float]:
    """By the server's clock; the first are not counted, in which a relay gets to know what waits."""
    rows = f"FROM agent_outbox_messages WHERE id IN ({', '.join(map(str, ids))}) AND status = 'consumed'"
    eventually(lambda: session.value(f"SELECT COUNT(*) {rows}") == len(ids), seconds=_DEADLINE_S)
    counted = f"{rows} AND id > {ids[len(ids) // 10]}"
    return [
        float(micros) / 1000
        for micros in session.column(f"SELECT TIMESTAMPDIFF(MICROSECOND, created_at, consumed_at) {counted}")
    ]


def _idle(stage: Stage, topic: str, database: str) -> float:
    """What mysqld takes of one core while a daemon waits for work."""
    groups = {"mysqld": [stage.mysql.pid]}
    with daemon.run(stage, topic, database=database) as daemons:
        daemons.wait_until_shared()
        stage.settle()
        before = cpu.now(groups)
        time.sleep(stage.sizes.idle_seconds)
        return before.cores_until(cpu.now(groups))["mysqld"]


def _summarise(samples: list[_Sample]) -> Result:
    (sample,) = samples
    p50 = {name: (median(alone), median(beside)) for name, (alone, beside) in sample.latency_ms.items()}
    values = {name: round(beside / alone, 2) for name, (alone, beside) in p50.items()}
    values["idle_cpu_added"] = round(sample.idle[1] - sample.idle[0], 4)
    note = "p50 beside / alone: " + ", ".join(f"{name} {b:.1f} / {a:.1f} ms" for name, (a, b) in p50.items())
    return Result({_KEY: values}, {_KEY: note}, {_KEY: {"p50_ms": p50, "idle": sample.idle}})


MEASUREMENT = Measurement(keys=(_KEY,), title="messages beside those that wait", sample=_sample, summarise=_summarise)
