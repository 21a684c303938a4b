"""What a measurement is, and what comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Result:
    """Values by their key in bench.json, what the table says about each, and everything else worth keeping."""

    values: dict[str, Any]
    notes: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Takes samples; those that are repeated take turns with each other, so that a slow minute hits all alike."""

    keys: tuple[str, ...]
    title: str
    sample: Callable[[Stage], Any]
    summarise: Callable[[list[Any]], Result]
    repeated: bool = False


def rate(key: str, note: str) -> Callable[[list[float]], Result]:
    """How samples that are plain rates become the median rate."""

    def summarise(samples: list[float]) -> Result:
        return Result({key: round(median(samples), 1)}, {key: note}, {key: {"samples": samples}})

    return summarise


def quantile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
