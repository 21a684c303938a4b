"""The command line: ``python -m tests.faults [--seed N] [FAULT or GROUP ...]``."""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mysql.connector
from confluent_kafka import KafkaException

from tests.faults import catalogue
from tests.faults.report import Report, Run, summary
from tests.faults.stage import FaultError, Stage, open_stage
from tests.servers import process
from tests.servers.errors import ServerError

_BROKERS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the faults that are named, or all; returns 0 where all is well, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults on real servers.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats an earlier run")
    names = "; ".join(f"{group}: {', '.join(faults)}" for group, faults in catalogue.GROUPS.items())
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"a fault or a group of them, default all ({names})")
    options = parser.parse_args(arguments)
    process.leave_on_signals()
    try:
        faults = catalogue.find(options.faults)
    except KeyError as unknown:
        parser.error(f"unknown fault {unknown}: choose from {names}")
    folder = Path(tempfile.mkdtemp(prefix="outboxd-faults-"))
    print(f"seed {options.seed}, logs in {folder}", flush=True)
    reports: list[Report] = []
    try:
        with open_stage(folder, lambda text: print(text, flush=True), _BROKERS) as stage:
            for number, (name, fault) in enumerate(faults.items(), 1):
                print(f"{number} of {len(faults)}: {name}", flush=True)
                reports.append(_try(name, fault, stage, options.seed))
                print(reports[-1], flush=True)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(summary(reports))
    return 0 if all(report.is_well for report in reports) else 1


def _try(name: str, fault: Run, stage: Stage, seed: int) -> Report:
    try:
        stage.restore()
        return fault(stage, seed)
    except (FaultError, ServerError, mysql.connector.Error, KafkaException) as error:
        return Report(name, "could not be done", "see below", problems=[str(error)])


if __name__ == "__main__":
    sys.exit(main())
