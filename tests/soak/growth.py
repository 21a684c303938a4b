"""Whether a measured value grows: its median in the last quarter of the time against that in the second.

The first quarter is left out: caches fill then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.soak.samples import Sample

FEWEST = 12


@dataclass(frozen=True, slots=True)
class Limit:
    """How much more a value may be in the end: a share of what it was, and a step that is no leak."""

    share: float
    step: float


LIMITS = {
    "memory_mib": Limit(0.05, 2),
    "open_files": Limit(0, 3),
    "threads": Limit(0, 1),
    "sessions": Limit(0, 1),
    # Of those that were killed a moment ago.
    "orphans": Limit(0, 3),
    # Grows in steps, of 4 MiB and more, until the purge keeps pace.
    "table_mib": Limit(0.25, 8),
    "lag_s": Limit(0.5, 2),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A value early and late, and the most that it may be late."""

    name: str
    early: float
    late: float
    most: float

    @property
    def grows(self) -> bool:
        """Whether it is more than it may be."""
        return self.late > self.most


def find(samples: Sequence[Sample]) -> list[Finding]:
    """One finding a value. Raises ValueError where the samples are too few to tell."""
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} samples are too few to see growth: {FEWEST} are needed")
    quarter = len(samples) // 4
    findings = []
    for name, limit in LIMITS.items():
        values = [float(getattr(sample, name)) for sample in samples]
        early, late = median(values[quarter : 2 * quarter]), median(values[-quarter:])
        findings.append(Finding(name, early, late, early * (1 + limit.share) + limit.step))
    return findings
