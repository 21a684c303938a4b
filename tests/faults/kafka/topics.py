"""Topics that are deleted, and made again, while they hold messages that nobody has consumed."""

import json
import random
import time

from tests.faults import under_load
from tests.faults.kafka import progress, state
from tests.faults.report import Report
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed, Load
from tests.kit.kafka import create_topics

_BEFORE_S = (1.0, 3.0)
_GONE_S = (1.0, 3.0)
# After that no frozen consumer has a record in its hands that it could take effect from.
_FETCHED_S = 1.0
_LOST = 50
_STALE_S = 10
_DEADLINE_S = 120.0
# While a topic is away its messages fail: that is what an operator has to see.
_LOAD = Load(
    settings={"stale_seconds": _STALE_S},
    topics_are_kept=False,
    may_use_retries=True,
    applications_see_no_errors=True,
)


def remade(stage: Stage, seed: int, partitions: int) -> Report:
    """The topics are deleted with messages that are published and not consumed, and made with so many partitions."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        time.sleep(chance.uniform(*_BEFORE_S))
        progress.wait_for_more(scene, 1, _DEADLINE_S)
        consumers = [daemon for daemon in scene.daemons if daemon.only == "consumer"]
        for consumer in consumers:
            consumer.freeze()
        time.sleep(_FETCHED_S)
        frozen = progress.now(scene)
        scene.wait_until(
            lambda: progress.published(scene, frozen) >= _LOST, f"{_LOST} messages are published", _DEADLINE_S
        )
        lost = scene.session.column(
            "SELECT id FROM agent_outbox_messages WHERE status = 'published' AND published_at > %s", frozen
        )
        state.delete_topics(scene.bootstrap, scene.topics)
        time.sleep(chance.uniform(*_GONE_S))
        create_topics(scene.bootstrap, scene.topics, partitions, stage.kafka.replicas)
        for consumer in consumers:
            consumer.wake()
        back = time.monotonic()
        scene.wait_until(
            lambda: _count(scene, lost, "status = 'consumed'") == len(lost), "what was lost takes effect", _DEADLINE_S
        )
        took = time.monotonic() - back
        recovered = sum(int(event["messages"]) for daemon in scene.daemons for event in daemon.events("recovered"))
        problems = []
        if recovered < len(lost):
            problems.append(f"only {recovered} messages were sent again, of {len(lost)} lost ones")
        return Deed(
            f"the topics deleted with {len(lost)} messages that nobody had fetched, and made again with {partitions}"
            f" partitions; {recovered} messages were sent again after {_STALE_S} s, and the lost ones had taken effect"
            f" {took:.1f} s after the topics were back",
            problems,
        )

    return under_load.run(stage, seed, f"topics are deleted and made again with {partitions} partitions", fault, _LOAD)


def _count(scene: Scene, ids: list[int], condition: str) -> int:
    return int(
        scene.session.value(
            "SELECT COUNT(*) FROM JSON_TABLE(%s, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS lost"
            f" JOIN agent_outbox_messages USING (id) WHERE {condition}",
            json.dumps(ids),
        )
    )
