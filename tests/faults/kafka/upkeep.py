"""What operators do to a cluster that works: restart its brokers one by one, and add partitions to topics."""

import random
import time
from collections.abc import Callable
from datetime import datetime

from tests.faults import under_load
from tests.faults.kafka import progress, state
from tests.faults.report import Report
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed, Load

# About 1,000 messages a second.
_LOAD = Load(applications=12, messages=150_000, haste=20, applications_see_no_errors=True, drain_seconds=240)
_SOME = 100
_QUIET_S = 5.0
_DEADLINE_S = 120.0
# A consumer group takes up to the refresh of its metadata and a rebalance to see what has changed.
_LONGEST_PAUSE_S = 20.0
_PAUSE = (
    "SELECT COALESCE(MAX(gap), 0) / 1000000 FROM (SELECT TIMESTAMPDIFF(MICROSECOND, LAG(consumed_at)"
    " OVER (ORDER BY consumed_at), consumed_at) AS gap FROM agent_outbox_messages"
    " WHERE consumed_at BETWEEN %s AND %s) AS gaps"
)


def restarted(stage: Stage, seed: int) -> Report:
    """Each broker in turn is shut down, the controller with them, and started once the others do its work."""

    def deed(scene: Scene) -> str:
        for node in stage.kafka.nodes:
            stage.kafka.shut_down(node)
            progress.wait_for_more(scene, _SOME, _DEADLINE_S)
            stage.kafka.start()
            scene.wait_until(
                lambda: state.are_all_in_sync(scene.bootstrap, scene.topics, stage.kafka.replicas),
                "all replicas are in sync",
                _DEADLINE_S,
            )
        return f"{len(stage.kafka.nodes)} brokers shut down and started, one after the other"

    return _under_steady_load(stage, seed, "brokers are restarted one by one", deed)


def partitions_added(stage: Stage, seed: int) -> Report:
    """The topics get more partitions twice, so that lanes go on in other partitions."""

    def deed(scene: Scene) -> str:
        counts = []
        for _ in range(2):
            counts.append(2 * len(state.leaders(scene.bootstrap, scene.topics)) // len(scene.topics))
            state.add_partitions(scene.bootstrap, scene.topics, counts[-1])
            time.sleep(_QUIET_S)
        return f"{len(scene.topics)} topics with {' and then '.join(map(str, counts))} partitions"

    return _under_steady_load(stage, seed, "partitions are added", deed)


def _under_steady_load(stage: Stage, seed: int, name: str, deed: Callable[[Scene], str]) -> Report:
    """Do it, and tell the rate and the longest time in which nothing took effect."""

    def fault(scene: Scene, _: random.Random) -> Deed:
        progress.wait_for_more(scene, _SOME, _DEADLINE_S)
        time.sleep(_QUIET_S)
        began, before = time.monotonic(), progress.now(scene)
        done = deed(scene)
        took, after = time.monotonic() - began, progress.now(scene)
        written = progress.enqueued(scene, before)
        pause = _longest_pause(scene, before, after)
        problems = [] if pause < _LONGEST_PAUSE_S else [f"nothing took effect for {pause:.1f} s"]
        return Deed(f"{done}, in {took:.0f} s at {written / took:.0f}/s; the longest pause {pause:.1f} s", problems)

    return under_load.run(stage, seed, name, fault, _LOAD)


def _longest_pause(scene: Scene, since: datetime, until: datetime) -> float:
    return float(scene.session.value(_PAUSE, since, until))
