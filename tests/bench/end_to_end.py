"""End to end: a backlog through the daemon, Kafka and the consumer."""

from dataclasses import asdict
from statistics import median

from tests.bench import drain
from tests.bench.drain import Drain
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage

_KEY = "end_to_end_per_s"


def _sample(stage: Stage) -> Drain:
    return drain.run(stage, stage.sizes.messages)


def _summarise(samples: list[Drain]) -> Result:
    running = median(sample.running_per_s for sample in samples)
    note = f"start of the daemon's process included; {running:,.0f} from the first published row"
    return Result(
        {_KEY: round(median(sample.per_s for sample in samples), 1)},
        {_KEY: note},
        {_KEY: {"running_per_s": running, "samples": [asdict(sample) for sample in samples]}},
    )


MEASUREMENT = Measurement(
    keys=(_KEY,),
    title="end to end: a backlog through the daemon and Kafka",
    sample=_sample,
    summarise=_summarise,
    repeated=True,
)
