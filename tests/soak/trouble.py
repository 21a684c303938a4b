"""Random faults beside the chaos of the daemons: sessions are killed, brokers freeze, are killed and come back."""

import random
import time
from collections import Counter

from tests.faults.background import Background
from tests.faults.stage import ACCOUNT, Scene, Stage

_PAUSE_S = (8.0, 20.0)
_FROZEN_S = (0.5, 4.0)
_DOWN_S = (2.0, 6.0)


class Trouble(Background):
    """Makes trouble until the block is left, and undoes what it has done; `failure` is what went wrong with itself."""

    def __init__(self, stage: Stage, scene: Scene, seed: int) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()
        self.failure: Exception | None = None
        self._stage, self._scene = stage, scene
        self._chance = random.Random(f"{seed} trouble")

    def run(self) -> None:
        """Until the block is left."""
        kinds = {
            "sessions killed": self._kill_sessions,
            "brokers frozen": self._freeze_broker,
            "brokers killed": self._kill_broker,
        }
        try:
            while not self.over.wait(self._chance.uniform(*_PAUSE_S)):
                name = self._chance.choice(list(kinds))
                kinds[name]()
                self.made[name] += 1
        except Exception as failure:  # whoever leaves the block tells it
            self.failure = failure

    def _kill_sessions(self) -> None:
        with self._scene.server.connect(self._scene.database) as session:
            session.kill_sessions(ACCOUNT)

    def _freeze_broker(self) -> None:
        node = self._chance.choice(list(self._stage.kafka.nodes))
        self._stage.kafka.freeze(node)
        time.sleep(self._chance.uniform(*_FROZEN_S))
        self._stage.kafka.thaw(node)

    def _kill_broker(self) -> None:
        self._stage.kafka.kill(self._chance.choice(list(self._stage.kafka.nodes)))
        time.sleep(self._chance.uniform(*_DOWN_S))
        self._stage.kafka.start()
