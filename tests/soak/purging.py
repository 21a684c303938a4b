"""The purge of a service that keeps little: what was consumed a minute ago goes."""

import threading
from types import TracebackType
from typing import Self

from tests.faults.stage import Scene

_EVERY_S = 5.0
_KEPT_S = 60


class Purge(threading.Thread):
    """Purges until the block is left, by the procedure that an operator calls."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(name="purge")
        self.deleted = 0
        self._scene = scene
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until the block is left."""
        with self._scene.server.connect(self._scene.database) as session:
            while not self._over.wait(_EVERY_S):
                before = session.value("SELECT UTC_TIMESTAMP(6) - INTERVAL %s SECOND", _KEPT_S)
                (done,) = session.call("outbox_purge_v1", before, 100_000)
                self.deleted += done["deleted"]
