"""Growth with the backlog: the daemon's memory, and the time per message."""

from dataclasses import asdict
from statistics import median

from tests.bench import drain
from tests.bench.drain import Drain
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage

_MEMORY, _TIME = "memory_growth", "time_growth"


def _sample(stage: Stage) -> tuple[list[Drain], Drain]:
    few, many = stage.sizes.growth
    return [drain.run(stage, few) for _ in range(stage.sizes.repeats)], drain.run(stage, many)


def _summarise(samples: list[tuple[list[Drain], Drain]]) -> Result:
    """The small backlog is over soon: the median of several runs stands against one run of the large one."""
    ((few, many),) = samples
    rss = [peak / 2**20 for peak in (max(sample.peak_rss for sample in few), many.peak_rss)]
    micros = [1e6 / per_s for per_s in (median(sample.steady_per_s for sample in few), many.steady_per_s)]
    sizes = f"{few[0].messages:,} to {many.messages:,} messages"
    return Result(
        {_MEMORY: round(rss[1] / rss[0], 3), _TIME: round(micros[1] / micros[0], 3)},
        {
            _MEMORY: f"the daemon's peak RSS {rss[0]:.0f} to {rss[1]:.0f} MiB, backlog {sizes}",
            _TIME: f"{micros[0]:.0f} to {micros[1]:.0f} us a message once it runs, backlog {sizes}",
        },
        {"growth": {"few": [asdict(sample) for sample in few], "many": asdict(many)}},
    )


MEASUREMENT = Measurement(
    keys=(_MEMORY, _TIME),
    title="growth of memory and time with the backlog",
    sample=_sample,
    summarise=_summarise,
)
