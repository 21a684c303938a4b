"""The command line: ``python -m tests.faults [--seed N] [--quick] [FAULT ...]``."""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults import delays, order, slots
from tests.faults.report import Report, summary
from tests.faults.slots import Change
from tests.faults.stage import FaultError, Stage, open_stage
from tests.servers.errors import ServerError

_GENTLE = [Change(starts=16), Change(stops=7), Change(starts=3), Change(stops=8, starts=8)]
_ROUGH = [Change(kills=5), Change(starts=4), Change(kills=6), Change(starts=11, stops=2, kills=2), Change(kills=8)]

_FAULTS: dict[str, Callable[[Stage, int], Report]] = {
    "order": lambda stage, seed: order.run(stage, seed, order.Size(12_000, applications=8))[1],
    "disorder": lambda stage, seed: order.run(stage, seed, order.Size(2_000), ordering="none")[1],
    "stuck": lambda stage, _: delays.stuck_keys(stage, 1000),
    "slow": lambda stage, _: delays.slow_key(stage, 300, 0.2),
    "sharing": lambda stage, seed: slots.sharing(stage, seed, _GENTLE, _ROUGH, 6_000),
    "frozen": lambda stage, _: slots.frozen(stage, 900),
    "hot": lambda stage, _: slots.batches(stage, 20_000, 1),
    "wide": lambda stage, _: slots.batches(stage, 100_000, 100_000),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the faults that are named, or all; returns 0 where all is well, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults on real servers.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats an earlier run")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"default: all of {', '.join(_FAULTS)}")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.faults if name not in _FAULTS]
    if unknown:
        parser.error(f"unknown fault {unknown[0]}: choose from {', '.join(_FAULTS)}")
    folder = Path(tempfile.mkdtemp(prefix="outboxd-faults-"))
    print(f"seed {options.seed}, logs in {folder}", flush=True)
    reports: list[Report] = []
    try:
        with open_stage(folder, lambda text: print(text, flush=True)) as stage:
            for name in options.faults or _FAULTS:
                reports.append(_try(name, stage, options.seed))
                print(reports[-1], flush=True)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(summary(reports))
    return 0 if all(report.is_well for report in reports) else 1


def _try(name: str, stage: Stage, seed: int) -> Report:
    try:
        return _FAULTS[name](stage, seed)
    except FaultError as error:
        return Report(name, "could not be done", "see below", problems=[str(error)])


if __name__ == "__main__":
    sys.exit(main())
