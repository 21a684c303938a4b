"""The purge of a service that keeps little: what was consumed a minute ago goes."""

from tests.faults.background import Background
from tests.faults.stage import Scene

_EVERY_S = 5.0
_KEPT_S = 60


class Purge(Background):
    """Purges until the block is left, by the procedure that an operator calls."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.deleted = 0
        self._scene = scene

    def run(self) -> None:
        """Until the block is left."""
        with self._scene.server.connect(self._scene.database) as session:
            while not self.over.wait(_EVERY_S):
                before = session.value("SELECT UTC_TIMESTAMP(6) - INTERVAL %s SECOND", _KEPT_S)
                (done,) = session.call("outbox_purge_v1", before, 100_000)
                self.deleted += done["deleted"]
