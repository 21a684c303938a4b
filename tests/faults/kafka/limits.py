"""A limit on the size of records that is lowered below a message."""

import base64
import json
import random
import time
from collections.abc import Callable

from tests.faults import under_load
from tests.faults.kafka import state
from tests.faults.report import Report
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed, Load

_BEFORE_S = (0.5, 2.0)
_LIMIT = 20_000
_SIZE = 60_000
_DEADLINE_S = 120.0
_TYPE = "noted"
_KEY, _OTHER_KEY = "key of the large one", "another key"
_LOAD = Load(applications_see_no_errors=True)

_HANDLER = """
CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, message_id BIGINT UNSIGNED NOT NULL);

CREATE PROCEDURE take_note (
  IN p_id BIGINT UNSIGNED,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
MODIFIES SQL DATA
INSERT INTO notes (message_id) VALUES (p_id)
"""


def of_topic(stage: Stage, seed: int, load: Load = _LOAD) -> Report:
    """The topics' own max.message.bytes."""

    def limit(scene: Scene, value: int | None) -> None:
        state.change_topics(scene.bootstrap, scene.topics, "max.message.bytes", value)

    return _lowered(stage, seed, "max.message.bytes", limit, load)


def of_brokers(stage: Stage, seed: int) -> Report:
    """The brokers' message.max.bytes, for all topics that have no limit of their own."""

    def limit(scene: Scene, value: int | None) -> None:
        state.change_brokers(scene.bootstrap, stage.kafka.nodes, "message.max.bytes", value)

    return _lowered(stage, seed, "message.max.bytes", limit, _LOAD)


def _lowered(stage: Stage, seed: int, setting: str, limit: Callable[[Scene, int | None], None], load: Load) -> Report:
    def fault(scene: Scene, chance: random.Random) -> Deed:
        scene.session.execute(_HANDLER)
        scene.session.register(_TYPE, "take_note")
        time.sleep(chance.uniform(*_BEFORE_S))
        limit(scene, _LIMIT)
        try:
            before, large, behind, others = _enqueue(scene, chance)
            scene.wait_until(
                lambda: _notes(scene).issuperset({*before, *behind, *others}), "its neighbours take effect", _DEADLINE_S
            )
            scene.wait_until(lambda: _status(scene, large) == "dead", "the large one is dead", _DEADLINE_S)
            error = str(scene.session.message(large)["last_error"])
            went_through = large in _notes(scene)
        finally:
            limit(scene, None)
        changed = scene.session.out("outbox_requeue_v1", large)
        scene.wait_until(lambda: _status(scene, large) == "consumed", "the large one arrives", _DEADLINE_S)
        order = scene.session.column("SELECT message_id FROM notes ORDER BY id")
        own = [*before, *behind, large]
        problems = []
        if "MSG_SIZE_TOO_LARGE" not in error:
            problems.append(f"the last_error of the large message does not say why: {error}")
        if went_through:
            problems.append("the large message took effect in spite of the limit")
        if changed != 1:
            problems.append(f"outbox_requeue_v1 changed {changed} messages")
        if [id_ for id_ in order if id_ in own] != own:
            problems.append(f"of its key took effect {[id_ for id_ in order if id_ in own]}, not {own}")
        if len(order) != len(own) + len(others):
            problems.append(f"{len(own) + len(others)} messages took effect as {order}")
        return Deed(
            f"{setting} lowered to {_LIMIT}, and a message of {_SIZE} bytes enqueued among {len(before)} before and"
            f" {len(behind)} behind it of its key and {len(others)} others; it was dead ({error}), and arrived once the"
            f" limit was as before and it was requeued",
            problems,
            own={*own, *others},
        )

    return under_load.run(stage, seed, f"{setting} is below a message", fault, load)


def _enqueue(scene: Scene, chance: random.Random) -> tuple[list[int], int, list[int], list[int]]:
    """In one transaction, so that they are sent together: some before the large one, it, some behind it, and others."""
    # Random, so that no compression makes it small.
    noise = base64.b64encode(chance.randbytes(_SIZE)).decode()[:_SIZE]
    others = []
    scene.session.execute("START TRANSACTION")
    before = [_one(scene, _KEY) for _ in range(3)]
    others.append(_one(scene, _OTHER_KEY))
    large = _one(scene, _KEY, noise)
    others.append(_one(scene, _OTHER_KEY))
    behind = [_one(scene, _KEY) for _ in range(3)]
    scene.session.execute("COMMIT")
    return before, large, behind, others


def _one(scene: Scene, key: str, text: str = "small") -> int:
    return scene.session.enqueue(key, biz_type=_TYPE, topic=scene.topics[0], payload=json.dumps({"text": text}))


def _notes(scene: Scene) -> set[int]:
    return set(scene.session.column("SELECT message_id FROM notes"))


def _status(scene: Scene, message: int) -> str:
    return str(scene.session.message(message)["status"])
