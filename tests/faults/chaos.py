"""Chaos: kills, freezes and wakes drivers at random, and starts killed ones again."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.background import Background
from tests.faults.driver import Driver

_PAUSE_S = (0.3, 1.2)
_DOWN_S = (0.0, 1.0)


@dataclass(order=True)
class _Return:
    """When a driver that is down or frozen comes back."""

    at: float
    driver: Driver = field(compare=False)


class Chaos(Background):
    """Works on the drivers until the block is left, and then brings all of them back; without kills it only freezes.

    A frozen driver stays so for longer than lapse seconds, after which others have taken over what it had. At least
    one of a kind is neither down nor frozen at any time, so that somebody is there to take over.
    """

    def __init__(self, drivers: Sequence[Driver], seed: int, lapse: float, *, kills: bool = True) -> None:
        super().__init__()
        self.killed = self.frozen = 0
        self._kills = kills
        self._drivers = drivers
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
        away = {back.driver.name for back in self._away}
        standing = [driver for driver in self._drivers if driver.name not in away]
        kinds = [driver.only for driver in standing]
        victims = [driver for driver in standing if kinds.count(driver.only) > 1]
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
            if back.driver.is_alive:
                back.driver.wake()
            else:
                back.driver.start()
