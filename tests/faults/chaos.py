"""Chaos: kills, freezes and wakes daemons at random, and starts killed ones again."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.background import Background
from tests.faults.daemon import FaultyDaemon

_PAUSE_S = (0.3, 1.2)
_DOWN_S = (0.0, 1.0)


@dataclass(order=True)
class _Return:
    """When a daemon that is down or frozen comes back."""

    at: float
    daemon: FaultyDaemon = field(compare=False)


class Chaos(Background):
    """Works on the daemons until the block is left, and then brings all of them back; without kills it only freezes.

    A frozen daemon stays so for longer than lapse seconds, after which others have taken over what it had. At least
    one of a kind is neither down nor frozen at any time, so that somebody is there to take over.
    """

    def __init__(self, daemons: Sequence[FaultyDaemon], seed: int, lapse: float, *, kills: bool = True) -> None:
        super().__init__()
        self.killed = self.frozen = 0
        self._kills = kills
        self._daemons = daemons
        self._chance = random.Random(f"{seed} chaos")
        self._lapse = lapse
        self._away: list[_Return] = []

    def run(self) -> None:
        """Until the block is left."""
        next_at = time.monotonic() + self._chance.uniform(*_PAUSE_S)
        while not self.over.wait(0.02):
            now = time.monotonic()
            self._bring_back(now)
            if now >= next_at:
                self._strike(now)
                next_at = now + self._chance.uniform(*_PAUSE_S)
        self._bring_back(float("inf"))

    def _strike(self, now: float) -> None:
        away = {back.daemon.name for back in self._away}
        standing = [daemon for daemon in self._daemons if daemon.name not in away]
        kinds = [daemon.only for daemon in standing]
        victims = [daemon for daemon in standing if kinds.count(daemon.only) > 1]
        if not victims:
            return
        victim = self._chance.choice(victims)
        if self._kills and self._chance.random() < 0.5:
            victim.kill()
            self.killed += 1
            self._away.append(_Return(now + self._chance.uniform(*_DOWN_S), victim))
        else:
            victim.freeze()
            self.frozen += 1
            self._away.append(_Return(now + self._lapse + self._chance.uniform(0.2, 1.5), victim))

    def _bring_back(self, until: float) -> None:
        while self._away and min(self._away).at <= until:
            back = min(self._away)
            self._away.remove(back)
            if back.daemon.is_alive:
                back.daemon.wake()
            else:
                back.daemon.start()
