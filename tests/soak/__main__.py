"""The command line: ``python -m tests.soak [--minutes N] [--seed N]``.

Exit codes: 0 nothing grew and nothing is wrong with the messages, 1 something did or is, 2 wrong usage or no servers.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.faults.report import problems_of
from tests.faults.stage import FaultError, open_stage
from tests.servers import process
from tests.servers.errors import ServerError
from tests.servers.paths import CHECKOUT
from tests.soak import chart, growth
from tests.soak.growth import Finding
from tests.soak.samples import Sample
from tests.soak.soak import Outcome, soak

_BROKERS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, report and judge; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A steady load with random faults.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10, at least 1)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats an earlier run")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "build", help="folder of soak.png (default: build)")
    options = parser.parse_args(arguments)
    process.leave_on_signals()
    if not options.minutes >= 1:
        parser.error(f"--minutes {options.minutes:g} is too short to see growth: give 1 or more")
    console = Console()
    try:
        outcome = _run(options.seed, options.minutes * 60, console)
    except (ServerError, FaultError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    findings = growth.find(outcome.samples)
    options.out.mkdir(parents=True, exist_ok=True)
    picture = options.out / "soak.png"
    title = f"{options.minutes:g} minutes, {outcome.verdict.messages:,} messages, random faults (seed {options.seed})"
    chart.draw(picture, outcome.samples, title)
    console.print(_table(findings))
    console.print(outcome.done)
    console.print(f"picture: {picture}")
    problems = [f"{finding.name} grew" for finding in findings if finding.grows] + problems_of(outcome.verdict)
    for problem in problems:
        console.print(f"wrong: {problem}", style="bold red", markup=False)
    console.print(f"{outcome.verdict}")
    return 1 if problems else 0


def _run(seed: int, seconds: float, console: Console) -> Outcome:
    folder = Path(tempfile.mkdtemp(prefix="outboxd-soak-"))
    console.print(f"seed {seed}, logs in {folder}")
    columns = BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    with (
        open_stage(folder, console.print, _BROKERS) as stage,
        stage.scene(topics=2) as scene,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task("", total=seconds)

        def tell(sample: Sample) -> None:
            said = f"{sample.memory_mib:.0f} MiB, {sample.open_files:.0f} files, lag {sample.lag_s:.1f} s"
            progress.update(task, completed=sample.at_s, description=said)

        return soak(stage, scene, seed, seconds, tell)


def _table(findings: Sequence[Finding]) -> Table:
    made = Table("", "second quarter", "last quarter", "at most", "")
    for finding in findings:
        numbers = [f"{number:,.1f}" for number in (finding.early, finding.late, finding.most)]
        made.add_row(finding.name, *numbers, "[bold red]grew[/]" if finding.grows else "[green]ok[/]")
    return made


if __name__ == "__main__":
    sys.exit(main())
