"""End to end with more than one daemon process, and what limits it."""

from dataclasses import asdict
from itertools import pairwise

from tests.bench import cpu, drain
from tests.bench.drain import Drain
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage

_KEY = "scale"
_BUSY = 0.85
_NOISE = 0.9


def _sample(stage: Stage) -> list[Drain]:
    sizes = stage.sizes
    return [drain.run(stage, sizes.scale_messages, processes, waiting=True) for processes in sizes.processes]


def _summarise(samples: list[list[Drain]]) -> Result:
    """The median run of each number of processes, over all turns."""
    typical = [sorted(drains, key=_per_s)[len(drains) // 2] for drains in zip(*samples, strict=True)]
    limit = _limit(max(typical, key=_per_s))
    return Result(
        {_KEY: {str(sample.processes): round(sample.per_s, 1) for sample in typical}},
        {_KEY: f"from the backlog's commit; the daemons were waiting for it. {limit}"},
        {
            _KEY: {
                "limit": limit,
                "rises_to_the_limit": all(_rises(before, after) for before, after in pairwise(typical)),
                "samples": [[asdict(sample) for sample in drains] for drains in samples],
            }
        },
    )


def _per_s(sample: Drain) -> float:
    return sample.per_s


def _rises(before: Drain, after: Drain) -> bool:
    """More processes are faster; or no slower, beyond noise, where the ones before had the machine busy already."""
    if after.per_s > before.per_s:
        return True
    return _machine_share(before) >= _BUSY and after.per_s >= _NOISE * before.per_s


def _machine_share(sample: Drain) -> float:
    return sample.cores["machine"] / cpu.cores()


def _limit(sample: Drain) -> str:
    """A sentence made of what was measured during the run."""
    cores = sample.cores
    used = f"mysqld {cores['mysqld']:.2f}, Kafka {cores['kafka']:.2f}, daemons {cores['daemons']:.2f}"
    other = cores["machine"] - cores["mysqld"] - cores["kafka"] - cores["daemons"]
    shares = f"{used}, others {max(other, 0):.2f} of {cpu.cores()} cores; log syncs {sample.sync_share:.0%} of the time"
    if _machine_share(sample) >= _BUSY:
        top = max(("mysqld", "kafka", "daemons"), key=lambda name: cores[name])
        limit = f"the machine's CPU, most of it used by {top}"
    elif sample.sync_share >= 0.5:
        limit = "MySQL's syncs of its logs"
    else:
        limit = "waiting for each other: neither CPU nor disk is used up"
    return f"Limit with {sample.processes}: {limit} ({shares})"


MEASUREMENT = Measurement(
    keys=(_KEY,), title="end to end with more daemon processes", sample=_sample, summarise=_summarise, repeated=True
)
