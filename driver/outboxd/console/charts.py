"""Curves of rates, as the points of SVG paths: drawn by the server, so that they need no script."""

from collections.abc import Sequence
from dataclasses import dataclass

from outboxd.console.sampler import Rate


@dataclass(frozen=True, slots=True)
class Curve:
    """Two paths in a box of width by height, their highest value, and how many seconds the box spans."""

    width: int
    height: int
    consumed: str
    dead: str
    highest: float
    seconds: float


def curve(rates: Sequence[Rate], width: int, height: int) -> Curve | None:
    """The rates over time; None: there are not two of them in a row yet."""
    known = [rate for rate in rates if rate.consumed is not None]
    if not known:
        return None
    start, end = rates[0].at, rates[-1].at
    span = max(end - start, 1)
    highest = max(max(rate.consumed or 0, rate.dead or 0) for rate in known)
    scale = highest or 1

    def path(values: Sequence[float | None]) -> str:
        parts, pen = [], "M"
        for rate, value in zip(rates, values, strict=True):
            if value is None:
                pen = "M"
                continue
            x = (rate.at - start) / span * width
            y = height - 1 - value / scale * (height - 2)
            parts.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        return " ".join(parts)

    consumed = path([rate.consumed for rate in rates])
    dead = path([rate.dead for rate in rates])
    return Curve(width, height, consumed, dead, highest, end - start)
