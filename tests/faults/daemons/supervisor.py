"""A supervisor, as a service manager would be one: it starts daemons again that killed themselves at a step, and wakes
those that stopped themselves."""

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from tests.faults.background import Background
from tests.faults.daemon import FaultyDaemon
from tests.faults.launcher import Faults
from tests.faults.stage import Scene

_LOOKS_EVERY_S = 0.1


class Supervisor(Background):
    """Looks after all daemons of a scene until the block is left; then all are started anew, without faults.

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
        restart(self._scene, self._scene.daemons)

    def run(self) -> None:
        """Until the block is left."""
        while not self.over.wait(_LOOKS_EVERY_S):
            now = time.monotonic()
            for daemon in self._scene.daemons:
                if daemon.killed_itself:
                    daemon.start()
                elif not daemon.is_frozen:
                    self._stopped_since.pop(daemon.name, None)
                elif now > self._stopped_since.setdefault(daemon.name, now) + self._lapse:
                    daemon.wake()


def restart(scene: Scene, daemons: Sequence[FaultyDaemon]) -> None:
    """Kill daemons, and start them without faults; they are ready on return."""
    for daemon in daemons:
        daemon.kill()
        daemon.faults = Faults()
        daemon.start()
    scene.wait_until(lambda: all(daemon.is_ready for daemon in daemons), "all daemons are back", 90)


def times_at_steps(daemons: Sequence[FaultyDaemon], what: str) -> Counter[str]:
    """How often daemons stopped or killed themselves (steps.STOPPED or KILLED), by step."""
    return Counter(str(event["after"]) for daemon in daemons for event in daemon.events(what))
