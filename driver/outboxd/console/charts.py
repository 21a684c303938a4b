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
    """The rates over time, each as long as it was one; None: there is none yet."""
    known = [rate for rate in rates if rate.consumed is not None]
    if not known:
        return None
    start, end = rates[0].since, rates[-1].at
    span = max(end - start, 1)
    highest = max(max(rate.consumed or 0, rate.dead or 0) for rate in known)

    def x(at: float) -> str:
        return f"{(at - start) / span * width:.1f}"

    def path(values: Sequence[float | None]) -> str:
        parts, is_drawing = [], False
        for rate, value in zip(rates, values, strict=True):
            if value is None:
                is_drawing = False
                continue
            y = f"{height - 1 - value / (highest or 1) * (height - 2):.1f}"
            parts.append(f"{'L' if is_drawing else 'M'}{x(rate.since)} {y} L{x(rate.at)} {y}")
            is_drawing = True
        return " ".join(parts)

    consumed = path([rate.consumed for rate in rates])
    dead = path([rate.dead for rate in rates])
    return Curve(width, height, consumed, dead, highest, end - start)
