"""What a fault was and what came of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.faults.stage import Stage
from tests.kit.checker import Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """One fault: what was done, what was found, and what is wrong about that; messages count where a verdict is."""

    fault: str
    done: str
    found: str
    verdict: Verdict | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        """A few lines, for people."""
        head = f"{self.fault}: {'well' if self.is_well else 'WRONG'}"
        return "\n".join(
            [head, f"  done:  {self.done}", f"  found: {self.found}", *(f"  wrong: {what}" for what in self.problems)]
        )


Run = Callable[[Stage, int], Report]
"""Runs a fault on a stage with a seed."""


def summary(reports: Iterable[Report]) -> str:
    """The last line of a run."""
    reports = list(reports)
    verdicts = [report.verdict for report in reports if report.verdict is not None]
    return (
        f"{len(reports)} faults, {sum(verdict.messages for verdict in verdicts)} messages, "
        f"{sum(verdict.lost for verdict in verdicts)} lost, "
        f"{sum(verdict.duplicated for verdict in verdicts)} duplicated, "
        f"{sum(verdict.out_of_order for verdict in verdicts)} out of order"
    )


def problems_of(verdict: Verdict) -> list[str]:
    """What is wrong by the checker."""
    return [] if verdict.is_well else [str(verdict), *verdict.evidence]
