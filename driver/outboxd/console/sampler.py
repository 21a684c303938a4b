"""The numbers of the overview, and what they were: all sessions share them, so that many viewers cost what one does."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outboxd.console.renewed import Renewed
from outboxd.mysql import views
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.mysql.views import Pause, Stream
from outboxd.retry import Unavailable

Lend = Callable[[], AbstractContextManager[OperatorProcedures]]
Key = tuple[str, str]
_LEAST_SECONDS = 5
_SHARE = 0.01
_KEPT = 720
_FIRST_WAIT_SECONDS = 0.1
_LATEST_DEAD = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """What the views said at one moment. at: on this process's clock; time: on the server's, UTC."""

    at: float
    time: datetime
    streams: dict[Key, Stream]
    relays: list[Any]
    dead: list[Row]
    unavailable: list[Row]
    pauses: list[Pause]
    lock_wait: tuple[str, int] | None
    lag: Row
    findings: list[Row]

    @property
    def total(self) -> Stream:
        """All streams together."""
        return sum(self.streams.values(), Stream())


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second between two samples, at these times; None: there was no sample shortly before."""

    since: float
    at: float
    consumed: float | None
    dead: float | None


@dataclass(frozen=True, slots=True)
class _Final:
    at: float
    gap_seconds: float
    counts: dict[Key, tuple[int, int]]


class Sampler:
    """Looks while somebody looks at it."""

    def __init__(self) -> None:
        self._sample: Renewed[Sample] = Renewed(_LEAST_SECONDS, _SHARE)
        self._history: deque[_Final] = deque(maxlen=_KEPT)

    @property
    def seconds(self) -> float:
        """How often the numbers are looked up."""
        return self._sample.seconds

    @property
    def problem(self) -> str:
        """Why they could not be looked up the last time."""
        return self._sample.problem

    def get(self, lend: Lend) -> Sample | None:
        """The latest numbers; None: they are being counted for the first time."""
        return self._sample.get(lambda: self._look(lend), _FIRST_WAIT_SECONDS)

    def rates(self, key: Key | None = None) -> list[Rate]:
        """What was consumed and what died in a second, of one stream or of all. Does not see what was purged."""
        rates, before = [], None
        for now in list(self._history):
            if before is None or now.at - before.at > now.gap_seconds:
                rates.append(Rate(now.at, now.at, None, None))
            else:
                seconds = now.at - before.at
                consumed, dead = (
                    max(0, _sum(now, key, place) - _sum(before, key, place)) / seconds for place in (0, 1)
                )
                rates.append(Rate(before.at, now.at, consumed, dead))
            before = now
        return rates

    def _look(self, lend: Lend) -> Sample:
        try:
            sample = self._look_once(lend)
        except Unavailable:
            sample = self._look_once(lend)  # the connection may have been an old one
        final = {
            key: (stream.counts.get("consumed", 0), stream.counts.get("dead", 0))
            for key, stream in sample.streams.items()
        }
        self._history.append(_Final(sample.at, 4 * self._sample.seconds, final))
        return sample

    def _look_once(self, lend: Lend) -> Sample:
        with lend() as database:
            return Sample(
                at=time.monotonic(),
                time=views.now(database),
                streams=views.streams(database),
                relays=views.relays(database),
                dead=views.latest_dead(database, _LATEST_DEAD),
                unavailable=views.topics_unavailable(database),
                pauses=views.pauses(database),
                lock_wait=database.lock_wait(),
                lag=database.lag(),
                findings=database.doctor(),
            )


def _sum(final: _Final, key: Key | None, place: int) -> int:
    return sum(counts[place] for stream, counts in final.counts.items() if key in {None, stream})
