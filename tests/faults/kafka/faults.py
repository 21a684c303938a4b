"""What brokers do: they die and come back, one or all of them, or too many for a majority."""

import random
import time
from collections.abc import Callable
from functools import partial

from tests.faults import under_load
from tests.faults.kafka import groups, limits, progress, slow, state, topics, upkeep
from tests.faults.report import Report, Run
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed, Load

_BEFORE_S = (0.5, 2.0)
_DOWN_S = 120.0
_TOO_FEW_S = 15.0
_LAST_MARKS_S = 3.0
_DEADLINE_S = 120.0
# Enqueuing has nothing to do with Kafka.
_LOAD = Load(applications_see_no_errors=True)


def broker_killed(stage: Stage, seed: int) -> Report:
    """One broker after the other is killed, leaders both, and started once the others do its work."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        told = []
        for _ in range(2):
            time.sleep(chance.uniform(*_BEFORE_S))
            leading = set(state.leaders(scene.bootstrap, scene.topics).values())
            told.append(_kill(stage, scene, chance.choice(sorted(leading))))
        return Deed("; ".join(told))

    return under_load.run(stage, seed, "a broker is killed", fault, _LOAD)


def controller_killed(stage: Stage, seed: int) -> Report:
    """The broker that is the controller is killed, and started once another one is, twice."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        told = []
        for _ in range(2):
            time.sleep(chance.uniform(*_BEFORE_S))
            victim = stage.kafka.controller
            told.append(f"the controller, {_kill(stage, scene, victim, lambda: stage.kafka.controller)}")
        return Deed("; ".join(told))

    return under_load.run(stage, seed, "the controller is killed", fault, _LOAD)


def brokers_down(stage: Stage, seed: int, seconds: float = _DOWN_S, load: Load = _LOAD) -> Report:
    """All brokers are killed at once, and started after so many seconds."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        time.sleep(chance.uniform(*_BEFORE_S))
        progress.wait_for_more(scene, 1, _DEADLINE_S)
        stage.kafka.kill()
        scene.wait_until(lambda: all(daemon.events("unavailable") for daemon in scene.daemons), "all say they wait", 90)
        problems, written = _nothing_is_published(scene, seconds)
        stage.kafka.start()
        drained = progress.wait_for_all_until_now(scene, _DEADLINE_S)
        return Deed(
            f"all {len(stage.kafka.nodes)} brokers killed, and started after {seconds:.0f} s, in which {written}"
            f" messages were enqueued; all in order {drained:.1f} s after the brokers were back",
            problems,
        )

    return under_load.run(stage, seed, "all brokers are down", fault, load)


def too_few_replicas(stage: Stage, seed: int) -> Report:
    """One of three brokers is killed where a topic wants three replicas in sync: brokers answer, and refuse."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        time.sleep(chance.uniform(*_BEFORE_S))
        wanted = "min.insync.replicas"
        state.change_topics(scene.bootstrap, scene.topics, wanted, stage.kafka.replicas)
        victim = chance.choice(list(stage.kafka.nodes))
        others = stage.kafka.bootstrap_of(*(set(stage.kafka.nodes) - {victim}))
        stage.kafka.kill(victim)
        scene.wait_until(
            lambda: state.answers(lambda: max(state.in_sync(others, scene.topics).values()) < stage.kafka.replicas),
            "a replica is missed",
            _DEADLINE_S,
        )
        problems, written = _nothing_is_published(scene, _TOO_FEW_S)
        state.change_topics(others, scene.topics, wanted, None)
        went_on = progress.wait_for_all_until_now(scene, _DEADLINE_S)
        _start(stage, scene)
        return Deed(
            f"with {wanted}={stage.kafka.replicas} broker {victim} killed, for {_TOO_FEW_S:.0f} s, in which {written}"
            f" messages were enqueued; all in order {went_on:.1f} s after the topics wanted less",
            problems,
        )

    return under_load.run(stage, seed, "fewer replicas in sync than the topics want", fault, _LOAD)


def majority_killed(stage: Stage, seed: int) -> Report:
    """All brokers but one are killed: it can neither write what counts, nor elect anybody."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        time.sleep(chance.uniform(*_BEFORE_S))
        victims = chance.sample(list(stage.kafka.nodes), len(stage.kafka.nodes) - 1)
        stage.kafka.kill(*victims)
        problems, written = _nothing_is_published(scene, _TOO_FEW_S)
        _start(stage, scene)
        drained = progress.wait_for_all_until_now(scene, _DEADLINE_S)
        return Deed(
            f"brokers {victims} of {len(stage.kafka.nodes)} killed, and started after {_TOO_FEW_S:.0f} s, in which"
            f" {written} messages were enqueued; all in order {drained:.1f} s after they were back",
            problems,
        )

    return under_load.run(stage, seed, "a majority of the brokers is killed", fault, _LOAD)


def _kill(stage: Stage, scene: Scene, victim: int, controller: Callable[[], int] | None = None) -> str:
    """Kill a broker, wait until others do its work, and start it again."""
    led = [place for place, node in state.leaders(scene.bootstrap, scene.topics).items() if node == victim]
    others = stage.kafka.bootstrap_of(*(set(stage.kafka.nodes) - {victim}))
    began = time.monotonic()
    stage.kafka.kill(victim)
    elected = ""
    if controller is not None:
        scene.wait_until(lambda: controller() not in {victim, -1}, "another controller is elected", 90)
        elected = f", {controller()} elected after {time.monotonic() - began:.1f} s"
    slow.wait_for_work_of_others(scene, others, victim, led)
    took = time.monotonic() - began
    progress.wait_for_more(scene, 1, _DEADLINE_S)
    _start(stage, scene)
    return f"broker {victim} killed{elected}, its {len(led)} partitions written by others after {took:.1f} s"


def _start(stage: Stage, scene: Scene) -> None:
    """Start what is missing, and wait until it has caught up: else the next one killed would be one too many."""
    stage.kafka.start()
    scene.wait_until(
        lambda: state.are_all_in_sync(scene.bootstrap, scene.topics, stage.kafka.replicas),
        "all replicas are in sync",
        _DEADLINE_S,
    )


def _nothing_is_published(scene: Scene, seconds: float) -> tuple[list[str], int]:
    """Let so much time pass; returns what is wrong, and how many messages were enqueued meanwhile."""
    time.sleep(_LAST_MARKS_S)  # what was acknowledged before the fault is marked by then
    began = progress.now(scene)
    time.sleep(seconds)
    published, written = progress.published(scene, began), progress.enqueued(scene, began)
    problems = []
    if published:
        problems.append(f"{published} messages were marked published while nothing could be acknowledged")
    if not written:
        problems.append("nothing was enqueued while nothing could be acknowledged")
    if scene.retries():
        problems.append(f"{scene.retries()} retries were used up by then")
    dead = scene.counts().get("dead", 0)
    if dead:
        problems.append(f"{dead} messages were dead by then")
    return problems, written


FAULTS: dict[str, Run] = {
    "broker-killed": broker_killed,
    "controller-killed": controller_killed,
    "brokers-down": brokers_down,
    "replicas-missing": too_few_replicas,
    "majority-killed": majority_killed,
    "broker-slow": slow.slow,
    "broker-hangs": slow.hangs,
    "brokers-restarted": upkeep.restarted,
    "partitions-added": upkeep.partitions_added,
    "topic-remade": partial(topics.remade, partitions=4),
    "topic-resized": partial(topics.remade, partitions=6),
    "offsets-reset": groups.redelivered,
    "limit-of-topic": limits.of_topic,
    "limit-of-brokers": limits.of_brokers,
}
