"""A supervisor, as a service manager would be one: it starts drivers again that killed themselves at a step, and wakes
those that stopped themselves."""

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from tests.faults.background import Background
from tests.faults.driver import Driver
from tests.faults.launcher import Faults
from tests.faults.stage import Scene

_LOOKS_EVERY_S = 0.1


class Supervisor(Background):
    """Looks after all drivers of a scene until the block is left; then all are started anew, without faults.

    One that has stopped itself stays so for lapse seconds.
    """

    def __init__(self, scene: Scene, lapse: float) -> None:
        super().__init__()
        self._scene = scene
        self._lapse = lapse
        self._stopped_since: dict[str, float] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        restart(self._scene, self._scene.drivers)

    def run(self) -> None:
        """Until the block is left."""
        while not self.over.wait(_LOOKS_EVERY_S):
            now = time.monotonic()
            for driver in self._scene.drivers:
                if driver.killed_itself:
                    driver.start()
                elif not driver.is_stopped:
                    self._stopped_since.pop(driver.name, None)
                elif now > self._stopped_since.setdefault(driver.name, now) + self._lapse:
                    driver.wake()


def restart(scene: Scene, drivers: Sequence[Driver]) -> None:
    """Kill drivers, and start them without faults; they are ready on return."""
    for driver in drivers:
        driver.kill()
        driver.faults = Faults()
        driver.start()
    scene.wait_until(lambda: all(driver.is_ready for driver in drivers), "all drivers are back", 90)


def times_at_steps(drivers: Sequence[Driver], what: str) -> Counter[str]:
    """How often drivers stopped or killed themselves (steps.STOPPED or KILLED), by step."""
    return Counter(str(event["after"]) for driver in drivers for event in driver.events(what))
