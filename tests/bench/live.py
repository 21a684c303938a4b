"""Live traffic: how much, how late, and what it costs the server; beside transactions that roll back or stay open."""

import json
import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from tests.bench import cpu, daemon
from tests.bench.measurement import Measurement, Result, quantile
from tests.bench.stage import DATABASE, Stage
from tests.kit.chat import Chat
from tests.kit.server import Server
from tests.kit.session import CHAT, Session
from tests.kit.waiting import eventually

_SUSTAINED, _HALF, _BESIDE, _CORES = "sustained_per_s", "latency_at_half_ms", "latency_beside", "live_cores"
_PER_S = 200
_P99_MS = 250
# As many as MySQL gives ids out for without a gap.
_BATCH = 63
_FIRST_PER_S, _FASTER = 1000, 1.4
_KEPT = 0.95
_DEADLINE_S = 120


@dataclass(frozen=True, slots=True)
class _Latency:
    """Milliseconds from the enqueue to the effect, by the server's clock, and the rate of the enqueues."""

    p50: float
    p99: float
    per_s: float


@dataclass(frozen=True, slots=True)
class _Sample:
    sustained: _Latency
    half: _Latency
    beside: dict[str, _Latency]
    cores: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Load:
    """What one process enqueues; rolled_back is the share of the transactions that are undone."""

    topic: str
    per_s: float
    seconds: float
    batch: int = 1
    rolled_back: float = 0.0


def _sample(stage: Stage) -> _Sample:
    stage.clear()
    topic, seconds = stage.new_topic(), stage.sizes.live_seconds
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn) as pool,
        stage.connect() as session,
        daemon.run(stage, topic) as daemons,
    ):

        def measure(load: _Load) -> _Latency:
            first = int(session.value("SELECT COALESCE(MAX(id), 0) FROM agent_outbox_messages"))
            per_s = pool.submit(_enqueue, stage.server, load, stage.chat).result()
            daemons.check()
            return _latency(session, first, per_s)

        daemons.wait_until_shared()
        measure(_Load(topic, _PER_S, 1))
        groups = {"mysqld": [stage.mysql.pid], "daemon": daemons.pids}
        before = cpu.now(groups)
        beside = {"none": measure(_Load(topic, _PER_S, seconds))}
        cores = before.cores_until(cpu.now(groups))
        for share in (0.1, 0.5):
            beside[f"rolled_back_{share:.0%}"] = measure(_Load(topic, _PER_S, seconds, rolled_back=share))
        with _open(stage):
            beside["open_transaction"] = measure(_Load(topic, _PER_S, seconds))
        sustained = _Latency(0, 0, 0)
        per_s = float(_FIRST_PER_S)
        while (now := measure(_Load(topic, per_s, seconds, _BATCH))).p99 <= _P99_MS and now.per_s >= _KEPT * per_s:
            sustained, per_s = now, per_s * _FASTER
        half = measure(_Load(topic, max(sustained.per_s, _FIRST_PER_S) / 2, seconds, _BATCH))
    # What is left of the server's time without enqueues is the outbox's.
    before = cpu.now({"mysqld": [stage.mysql.pid]})
    with ProcessPoolExecutor(1, spawn) as pool:
        pool.submit(_enqueue, stage.server, _Load("nobody", _PER_S, seconds), stage.chat).result()
    enqueues = before.cores_until(cpu.now({"mysqld": [stage.mysql.pid]}))
    stage.clear()
    return _Sample(
        sustained,
        half,
        beside,
        {"mysqld": cores["mysqld"], "of_which_enqueues": enqueues["mysqld"], "daemon": cores["daemon"]},
    )


def _enqueue(server: Server, load: _Load, chats: Sequence[Chat]) -> float:
    """Enqueue at a steady rate, in batches where they have more than one message; returns the rate that was kept."""
    chance = random.Random(1)
    messages = round(load.per_s * load.seconds)
    with server.connect(DATABASE) as session:
        began = time.monotonic()
        for number in range(0, messages, load.batch):
            time.sleep(max(0.0, began + number / load.per_s - time.monotonic()))
            some = [chats[(number + place) % len(chats)] for place in range(load.batch)]
            if load.batch > 1:
                batch = [
                    {"biz_type": CHAT, "topic": load.topic, "key": chat.conversation_id, "payload": chat.payload}
                    for chat in some
                ]
                session.out("outbox_enqueue_batch_v1", json.dumps(batch))
                continue
            is_undone = chance.random() < load.rolled_back
            if is_undone:
                session.execute("START TRANSACTION")
            session.enqueue(some[0].conversation_id, topic=load.topic, payload=some[0].payload)
            if is_undone:
                session.execute("ROLLBACK")
        return messages / (time.monotonic() - began)


def _latency(session: Session, first: int, per_s: float) -> _Latency:
    """Once all that is committed is consumed."""
    committed = f"FROM agent_outbox_messages WHERE id > {first}"
    eventually(
        lambda: not session.value(f"SELECT EXISTS (SELECT 1 {committed} AND status <> 'consumed')"),
        seconds=_DEADLINE_S,
    )
    micros = session.column(f"SELECT TIMESTAMPDIFF(MICROSECOND, created_at, consumed_at) {committed}")
    latencies = [float(value) / 1000 for value in micros]
    return _Latency(quantile(latencies, 0.5), quantile(latencies, 0.99), per_s)


@contextmanager
def _open(stage: Stage) -> Iterator[None]:
    """A transaction that has enqueued many messages of other keys, and does not end."""
    with stage.connect() as session:
        session.execute("START TRANSACTION")
        session.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload)"
            " WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
            " SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ %s, 'nobody', CONCAT('open-', n MOD 2598), '1'"
            " FROM numbers",
            *(stage.sizes.live_open_messages, CHAT),
        )
        yield
        session.execute("ROLLBACK")


def _summarise(samples: list[_Sample]) -> Result:
    (sample,) = samples
    alone = sample.beside["none"]
    ratios = {name: round(of.p50 / alone.p50, 2) for name, of in sample.beside.items() if name != "none"}
    return Result(
        {
            _SUSTAINED: round(sample.sustained.per_s, 1),
            _HALF: {"p50": round(sample.half.p50, 2), "p99": round(sample.half.p99, 2)},
            _BESIDE: ratios,
            _CORES: {name: round(cores, 3) for name, cores in sample.cores.items()},
        },
        {
            _SUSTAINED: f"enqueued in batches of {_BATCH} and consumed, with a p99 of {sample.sustained.p99:.0f} ms",
            _HALF: f"at {sample.half.per_s:.0f}/s",
            _BESIDE: f"p50 beside / alone, at {_PER_S}/s: "
            + ", ".join(f"{name} {of.p50:.1f} ms" for name, of in sample.beside.items()),
            _CORES: f"at {_PER_S} messages/s from the enqueue to the effect",
        },
        {key: asdict(sample) for key in (_SUSTAINED,)},
    )


MEASUREMENT = Measurement(
    keys=(_SUSTAINED, _HALF, _BESIDE, _CORES), title="live traffic", sample=_sample, summarise=_summarise
)
