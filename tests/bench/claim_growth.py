"""Whether claiming costs more with more consumed messages in the table."""

import time
from statistics import median

from tests.bench.measurement import Measurement, Result
from tests.bench.stage import DATABASE, BenchError, Stage
from tests.kit.session import Session

_KEY = "claim_growth"
_MANY = "outboxd_bench_many"
_RELAY = "bench"
_LEASE_S = 3600


def _sample(stage: Stage) -> tuple[list[float], list[float]]:
    """Seconds per message of each claim, with few and with many consumed messages in the table; the two take turns."""
    sizes = stage.sizes
    stage.clear()
    stage.install(_MANY)
    for database, consumed in ((DATABASE, sizes.consumed_few), (_MANY, sizes.consumed_many)):
        stage.fill_consumed(database, consumed)
        stage.fill((sizes.claims + 1) * sizes.claim_batch, database=database, first_id=consumed + 1)
    stage.settle()
    few: list[float] = []
    many: list[float] = []
    with stage.connect() as small, stage.connect(_MANY) as large:
        for _ in range(sizes.claims + 1):
            few.append(_round(small, sizes.claim_batch))
            many.append(_round(large, sizes.claim_batch))
    stage.drop(_MANY)
    return few[1:], many[1:]  # the first claim takes the slots, too


def _round(session: Session, limit: int) -> float:
    """A relay's round, a claim and its mark; returns the claim's seconds per message."""
    started = time.perf_counter()
    claimed = session.claim(_RELAY, limit, _LEASE_S)
    seconds = time.perf_counter() - started
    marked = session.mark("published", claimed, _RELAY)
    if not claimed or marked != len(claimed):
        raise BenchError(f"{len(claimed)} messages were claimed and {marked} marked")
    return seconds / len(claimed)


def _summarise(samples: list[tuple[list[float], list[float]]]) -> Result:
    ((few, many),) = samples
    few_us, many_us = (median(times) * 1e6 for times in (few, many))
    return Result(
        {_KEY: round(many_us / few_us, 3)},
        {_KEY: f"medians of {len(few)} claims: {few_us:.1f} and {many_us:.1f} us a message"},
        {_KEY: {"few_us": few_us, "many_us": many_us}},
    )


MEASUREMENT = Measurement(
    keys=(_KEY,), title="claims with few and with many consumed messages", sample=_sample, summarise=_summarise
)
