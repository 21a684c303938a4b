"""A consumer group that is set back to the beginning."""

import random
import time
from collections import Counter
from collections.abc import Sequence

from tests.faults import under_load
from tests.faults.daemon import FaultyDaemon
from tests.faults.kafka import progress, state
from tests.faults.report import Report
from tests.faults.stage import STOP_DEADLINE_S, Scene, Stage
from tests.faults.under_load import Deed, Load

_BEFORE_S = (0.5, 2.0)
_FEWEST = 50
_DEADLINE_S = 120.0
_LOAD = Load(applications_see_no_errors=True)


def redelivered(stage: Stage, seed: int, load: Load = _LOAD) -> Report:
    """All consumers stop, the group's offsets are set to the beginning, and they start again."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        time.sleep(chance.uniform(*_BEFORE_S))
        scene.wait_until(lambda: progress.consumed(scene) >= _FEWEST, f"{_FEWEST} messages have taken effect", 90)
        consumers = [daemon for daemon in scene.daemons if daemon.only == "consumer"]
        for consumer in consumers:
            consumer.terminate()
        codes = [consumer.wait_or_kill(STOP_DEADLINE_S) for consumer in consumers]
        consumed = progress.consumed(scene)
        before = _outcomes(consumers)
        state.set_to_beginning(scene.bootstrap, scene.database, scene.topics)
        for consumer in consumers:
            consumer.start()
        began = time.monotonic()
        scene.wait_until(
            lambda: (_outcomes(consumers) - before)["duplicate"] >= consumed,
            f"{consumed} messages that had taken effect come again",
            _DEADLINE_S,
        )
        took = time.monotonic() - began
        again = (_outcomes(consumers) - before)["duplicate"]
        return Deed(
            f"the group set back to the beginning when {consumed} messages had taken effect: {again} came again and"
            f" were called duplicates, within {took:.1f} s",
            [f"exit codes of the consumers: {codes}"] if any(codes) else [],
        )

    return under_load.run(stage, seed, "offsets are set back to the beginning", fault, load)


def _outcomes(consumers: Sequence[FaultyDaemon]) -> Counter[str]:
    """What became of the records that these have taken so far."""
    counts: Counter[str] = Counter()
    for consumer in consumers:
        for event in consumer.events("consumed"):
            counts.update({outcome: count for outcome, count in event.items() if isinstance(count, int)})
    return counts
