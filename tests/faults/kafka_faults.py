"""What brokers do: they die, and come back."""

import random
import time

from tests.faults import under_load
from tests.faults.report import Report, Run
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed

_BEFORE_S = (1.0, 3.0)
_DOWN_S = (4.0, 8.0)


def _broker_killed(stage: Stage, seed: int) -> Report:
    def fault(_: Scene, chance: random.Random) -> Deed:
        victims = chance.sample(list(stage.kafka.nodes), 2)
        for victim in victims:
            time.sleep(chance.uniform(*_BEFORE_S))
            stage.kafka.kill(victim)
            time.sleep(chance.uniform(*_DOWN_S))
            stage.kafka.start()
        return Deed(f"brokers {victims} of {len(stage.kafka.nodes)} killed one after the other, and started again")

    return under_load.run(stage, seed, "a broker is killed", fault)


FAULTS: dict[str, Run] = {"broker-killed": _broker_killed}
