"""A broker that answers late, or not at all, and closes no connection."""

import random
import time
from collections.abc import Sequence

from tests.faults import under_load
from tests.faults.kafka import progress, state
from tests.faults.report import Report
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed, Load

_BEFORE_S = (1.0, 3.0)
_PULSES = 12
_PULSE_S = (0.5, 2.0)
_BETWEEN_S = (0.1, 0.5)
_DEADLINE_S = 150.0
_LOAD = Load(applications_see_no_errors=True)


def slow(stage: Stage, seed: int) -> Report:
    """One broker after the other stops for moments, each too short for others to take over."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        before = progress.consumed(scene)
        took = 0.0
        for _ in range(_PULSES):
            time.sleep(chance.uniform(*_BETWEEN_S))
            pulse = chance.uniform(*_PULSE_S)
            _freeze(stage, chance.choice(list(stage.kafka.nodes)), pulse)
            took += pulse
        meanwhile = progress.consumed(scene) - before
        problems = [] if meanwhile else ["no message took effect meanwhile"]
        return Deed(
            f"{_PULSES} times a broker stopped, for {took:.0f} s in all; {meanwhile} messages took effect meanwhile",
            problems,
        )

    return under_load.run(stage, seed, "a broker is slow", fault, _LOAD)


def hangs(stage: Stage, seed: int) -> Report:
    """A broker that leads partitions stops until all has taken effect without it, then goes on as if it led them."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        time.sleep(chance.uniform(*_BEFORE_S))
        leaders = state.leaders(scene.bootstrap, scene.topics)
        victim = chance.choice(sorted(set(leaders.values())))
        led = [place for place, node in leaders.items() if node == victim]
        others = stage.kafka.bootstrap_of(*(set(stage.kafka.nodes) - {victim}))
        began = time.monotonic()
        stage.kafka.freeze(victim)
        try:
            moved, written = wait_for_work_of_others(scene, others, victim, led)
            # What had been sent to it and never answered as well.
            progress.wait_for_all_until_now(scene, _DEADLINE_S)
            took = time.monotonic() - began
        finally:
            stage.kafka.thaw(victim)
        drained = progress.wait_for_all_until_now(scene, _DEADLINE_S)
        return Deed(
            f"broker {victim} stopped; others led its {len(led)} partitions after {moved:.1f} s, records were"
            f" acknowledged there after {written:.1f} s, and what had been sent to it took effect by {took:.1f} s;"
            f" after its return all took effect within {drained:.1f} s"
        )

    return under_load.run(stage, seed, "a broker hangs", fault, _LOAD)


def wait_for_work_of_others(
    scene: Scene, others: str, victim: int, led: Sequence[tuple[str, int]]
) -> tuple[float, float]:
    """Wait until other nodes lead these partitions, and until they have acknowledged records in each of them.

    Returns after how many seconds they did.
    """
    began = time.monotonic()
    then: state.Places = {}

    def moved() -> bool:
        now = state.leaders(others, scene.topics)
        if any(now[place] in {victim, -1} for place in led):
            return False
        then.update(state.ends(others, led))
        return True

    def wrote() -> bool:
        now = state.ends(others, led)
        return all(now[place] > then[place] for place in led)

    scene.wait_until(lambda: state.answers(moved), "other brokers lead the partitions", _DEADLINE_S)
    elected = time.monotonic() - began
    scene.wait_until(lambda: state.answers(wrote), "records are acknowledged in all partitions", _DEADLINE_S)
    return elected, time.monotonic() - began


def _freeze(stage: Stage, node: int, seconds: float) -> None:
    stage.kafka.freeze(node)
    try:
        time.sleep(seconds)
    finally:
        stage.kafka.thaw(node)
