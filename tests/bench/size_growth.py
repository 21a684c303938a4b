"""Whether what applications, relays, consumers and operators call costs more in a large outbox than in a small one."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.bench.measurement import Measurement, Result
from tests.bench.stage import DATABASE, BenchError, Stage
from tests.kit.large_outbox import Call, Contents, fail, fill, look, work
from tests.kit.session import Row, Session

_KEY = "size_growth"
_LARGE, _ONE_LANE = "outboxd_bench_large", "outboxd_bench_lane"
_RELAY = "bench"
_ROUNDS = 3
_BUFFER_POOL = 2**30
_LEASE_S = 3600
_WORK = ("enqueue", "enqueue_batch", "claim", "mark", "consume", "get", "list_due", "purge", "fail")

_Costs = dict[str, list[float]]


class _Meter:
    """Measures the CPU time of the server's thread that serves a session, which holds on a busy machine, too."""

    def __init__(self, session: Session) -> None:
        self._thread = session.value(
            "SELECT thread_os_id FROM performance_schema.threads WHERE processlist_id = CONNECTION_ID()"
        )
        self.costs: _Costs = {}

    def measure(self, calls: Iterable[Call]) -> None:
        """Make the calls, and add what each takes for one of its messages, in microseconds."""
        for name, call, messages in calls:
            before = self._cpu_us()
            call()
            spent = self._cpu_us() - before
            if not messages:
                raise BenchError(f"{name} found no message")
            self.costs.setdefault(name, []).append(spent / len(messages))

    def _cpu_us(self) -> float:
        return int(Path(f"/proc/{self._thread}/schedstat").read_text().split()[0]) / 1000


def _sample(stage: Stage) -> dict[str, _Costs]:
    """Microseconds of each call in a small outbox, in a large one, where one lane has it all, and with many relays."""
    sizes = stage.sizes
    stage.clear()
    pending = sizes.table // 10
    few = Contents(sizes.claim_batch, (sizes.claims + 2) * sizes.claim_batch, sizes.claim_batch // 50)
    filled = {
        DATABASE: few,
        _LARGE: Contents(sizes.table, pending, pending // 10, topics=100),
        _ONE_LANE: Contents(sizes.claim_batch, pending, keys=1),
    }
    with ExitStack() as stack:
        root = stack.enter_context(stage.connect())
        pool = int(root.value("SELECT @@innodb_buffer_pool_size"))
        stack.callback(root.execute, "SET GLOBAL innodb_buffer_pool_size = %s", pool)
        root.execute("SET GLOBAL innodb_buffer_pool_size = %s", max(pool, _BUFFER_POOL))
        meters: dict[str, _Meter] = {}
        sessions: dict[str, Session] = {}
        for database, contents in filled.items():
            if database != DATABASE:
                stage.install(database)
            session = sessions[database] = stack.enter_context(stage.connect(database))
            fill(session, contents)
            session.claim(_RELAY, 1, _LEASE_S)
            meters[database] = _Meter(session)
        stage.settle()
        for _ in range(sizes.claims):
            for database, meter in meters.items():
                meter.measure(work(sessions[database], _RELAY, sizes.claim_batch))
        for database, meter in meters.items():
            for _ in range(_ROUNDS):
                meter.measure(fail(sessions[database], _RELAY))
                meter.measure(look(sessions[database]))
        sessions[_LARGE].call("outbox_leave_v1", _RELAY)
        batch = pending // sizes.relays // 8
        one_relay, relays = _at_once(stage, 1, batch), _at_once(stage, sizes.relays, batch)
    for database in (_LARGE, _ONE_LANE):
        stage.drop(database)
    small, large, one_lane = (meters[database].costs for database in filled)
    return {"small": small, "large": large, "one_lane": one_lane, "one_relay": one_relay, "relays": relays}


def _at_once(stage: Stage, relays: int, batch: int) -> _Costs:
    """So many relays claim and mark all at the same time, in the large outbox."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(stage.connect(_LARGE)) for _ in range(relays)]
        names = [f"{_RELAY}-{number:02}" for number in range(relays)]
        for _ in range(2):  # the first have all slots until the others join
            for session, name in zip(sessions, names, strict=True):
                session.claim(name, 1, _LEASE_S)
        meters = [_Meter(session) for session in sessions]

        def go_round(number: int) -> None:
            for _ in range(_ROUNDS):
                meters[number].measure(_round(sessions[number], names[number], batch))

        with ThreadPoolExecutor(relays) as pool:
            list(pool.map(go_round, range(relays)))
        for session, name in zip(sessions, names, strict=True):
            session.call("outbox_leave_v1", name)
    return {name: [cost for meter in meters for cost in meter.costs[name]] for name in ("claim", "mark")}


def _round(session: Session, relay: str, batch: int) -> Iterable[Call]:
    claimed: list[Row] = []
    yield "claim", lambda: claimed.extend(session.claim(relay, batch, _LEASE_S)), claimed
    yield "mark", lambda: session.mark("published", claimed, relay), claimed


def _summarise(samples: list[dict[str, _Costs]]) -> Result:
    (sample,) = samples
    us = {where: {name: round(median(times), 1) for name, times in of.items()} for where, of in sample.items()}
    small, large = us["small"], us["large"]
    values = {name: large[name] / small[name] for name in _WORK}
    values |= {f"{name}_of_one_lane": us["one_lane"][name] / small[name] for name in _WORK}
    values |= {f"{name}_with_many_relays": us["relays"][name] / us["one_relay"][name] for name in us["relays"]}
    looks = ", ".join(f"{name} {of_call / 1000:.0f} ms" for name, of_call in large.items() if name not in _WORK)
    return Result(
        {_KEY: {name: round(ratio, 2) for name, ratio in values.items()}},
        {_KEY: f"CPU of the server a message; what counts or lists, in the large one: {looks}"},
        {_KEY: {"us": us}},
    )


MEASUREMENT = Measurement(
    keys=(_KEY,), title="the calls in a large outbox and in a small one", sample=_sample, summarise=_summarise
)
