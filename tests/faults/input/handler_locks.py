"""Handlers that are right, and cannot have their locks or their time: deadlocks, lock waits, and long work."""

import time

from tests.faults.input import outcomes
from tests.faults.input.outcomes import Expected
from tests.faults.report import Report
from tests.faults.stage import Scene, Stage
from tests.kit.application import Application
from tests.kit.chat import Writer
from tests.kit.ledger import Entry
from tests.kit.session import Session

_COUNT = (
    "INSERT INTO app_effects (message) VALUES (p_id); UPDATE app_effects SET payload = p_payload WHERE id IN (1, 2)"
)
# Rows of app_effects; the handler locks them in this order.
_OURS, _THEIRS = 1, 2
_MANY = ", ".join(["(0)"] * 3000)


def deadlocks(stage: Stage, times: int) -> Report:
    """Let a handler deadlock with an application's transaction so many times, with good chat in the same batches.

    The server gives up the transaction that has changed the fewest rows, which is the consumer's.
    """
    with stage.scene(partitions=1) as scene:
        application = Application(scene.session)
        application.business("counts", _COUNT, backoff_cap_seconds=1)
        scene.session.execute("INSERT INTO app_effects (message) VALUES (0), (0)")
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        good, ids, before = Writer(scene.topics[0]), [], _found_deadlocks(scene)
        for _ in range(times):
            with scene.server.connect(scene.database) as other:
                other.execute(f"START TRANSACTION; INSERT INTO app_effects (message) VALUES {_MANY}")
                _lock(other, _THEIRS)
                ids.append(_among(scene, good, "counts"))
                _wait_for_a_waiting_lock(scene)
                _lock(other, _OURS)
                other.execute("ROLLBACK")
            scene.wait_until_final()
        found = _found_deadlocks(scene) - before
        # Whether a deadlock counts as a failure, or only as a reason to try again: its message is consumed in the end.
        said = {id_: scene.session.message(id_)["last_error"] for id_ in ids}
        expected = [Expected(id_, "deadlocks", "consumed", said[id_] and "Deadlock found", retries=None) for id_ in ids]
        judgement = outcomes.judge(scene, good.entries, expected)
        problems = _effects(application, ids)
        if found < times:
            problems.append(f"{found} deadlocks were found by the server, {times} were made")
        return Report(
            "handlers that deadlock",
            f"{times} deadlocks between a handler and a transaction of an application, {len(good.entries)} good"
            " messages in the same batches",
            judgement.found,
            judgement.verdict,
            problems + judgement.problems,
        )


def lock_waits(stage: Stage) -> Report:
    """Let an application hold the lock that a handler needs until the handler's message has been set back for it."""
    with stage.scene(partitions=1) as scene:
        application = Application(scene.session)
        application.business("counts", _COUNT, backoff_cap_seconds=1)
        scene.session.execute("INSERT INTO app_effects (message) VALUES (0), (0)")
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        good = Writer(scene.topics[0])
        with scene.server.connect(scene.database) as other:
            other.execute("START TRANSACTION")
            _lock(other, _THEIRS)
            id_ = _among(scene, good, "counts")
            began = time.monotonic()
            others = [entry for entry in good.entries if entry.key != "counts"]
            scene.wait_until(lambda: _are_consumed(scene, others), "chat of other keys is consumed", 90)
            waited = time.monotonic() - began
            scene.wait_until(
                lambda: "waits for a lock" in (scene.session.message(id_)["last_error"] or ""),
                "the message is set back",
                90,
            )
            other.execute("ROLLBACK")
        scene.wait_until_final()
        expected = Expected(id_, "waits for a lock", "consumed")
        judgement = outcomes.judge(scene, good.entries, [expected])
        return Report(
            "a handler that waits for a lock",
            f"an application's transaction held it until the message was set back; {len(good.entries)} good messages"
            f" around it, of which those of other keys were consumed after {waited:.1f} s",
            judgement.found,
            judgement.verdict,
            _effects(application, [id_]) + judgement.problems,
        )


def long_work(stage: Stage, seconds: float) -> Report:
    """Let a handler take so long for each of two messages; what is behind them with another key passes the second."""
    with stage.scene(partitions=1) as scene:
        application = Application(scene.session)
        application.business("works", f"{_COUNT}; DO SLEEP({seconds})", backoff_cap_seconds=1)
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        good = Writer(scene.topics[0])
        ids = [_among(scene, good, "works") for _ in range(2)]
        behind = good.enqueue(scene.session, "behind", "behind", "far behind")
        scene.wait_until_final()
        overtaken = scene.session.value(
            "SELECT COUNT(*) FROM agent_outbox_messages AS m JOIN agent_outbox_messages AS last"
            f" WHERE last.id = {ids[-1]} AND m.id IN ({', '.join(str(entry.id) for entry in behind)})"
            f" AND TIMESTAMPDIFF(MICROSECOND, last.consumed_at, m.consumed_at) >= {int(seconds * 500_000)}"
        )
        problems = [f"{overtaken} messages of other keys waited for the second one"] if overtaken else []
        judgement = outcomes.judge(scene, good.entries, [Expected(id_, "works long", "consumed") for id_ in ids])
        return Report(
            "a handler that works long",
            f"{seconds} s for each of two messages, {len(good.entries)} good messages around and behind them",
            judgement.found,
            judgement.verdict,
            problems + _effects(application, ids) + judgement.problems,
        )


def _among(scene: Scene, good: Writer, biz_type: str) -> int:
    """One message for the handler, between good chat of its own key and of others, all in one transaction."""
    scene.session.execute("START TRANSACTION")
    good.enqueue(scene.session, biz_type, "before")
    id_ = scene.session.enqueue(biz_type, biz_type=biz_type, topic=scene.topics[0], payload="{}")
    good.enqueue(scene.session, biz_type, "between")
    scene.session.execute("COMMIT")
    return id_


def _found_deadlocks(scene: Scene) -> int:
    counted = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
    return int(scene.session.value(counted))


def _lock(session: Session, row: int) -> None:
    session.execute("UPDATE app_effects SET payload = 'other' WHERE id = %s", row)


def _wait_for_a_waiting_lock(scene: Scene) -> None:
    waits = (
        "SELECT COUNT(*) FROM performance_schema.data_locks"
        " WHERE object_schema = %s AND object_name = 'app_effects' AND lock_status = 'WAITING'"
    )
    scene.wait_until(lambda: scene.session.value(waits, scene.database) > 0, "the handler waits for a lock", 90)


def _are_consumed(scene: Scene, entries: list[Entry]) -> bool:
    ids = ", ".join(str(entry.id) for entry in entries)
    unfinished = f"SELECT COUNT(*) FROM agent_outbox_messages WHERE status <> 'consumed' AND id IN ({ids})"
    return bool(scene.session.value(unfinished) == 0)


def _effects(application: Application, ids: list[int]) -> list[str]:
    effects = application.effects()
    return [f"message {id_} took effect {effects.count(id_)} times" for id_ in ids if effects.count(id_) != 1]
