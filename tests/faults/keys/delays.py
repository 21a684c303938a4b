"""A bad key among good ones: every way in which a key can be stuck, and what the others notice of it."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from tests.faults import handlers
from tests.faults.launcher import Faults
from tests.faults.report import Report, problems_of
from tests.faults.stage import STOP_DEADLINE_S, Scene, Stage
from tests.kit import checker
from tests.kit.chat import Writer
from tests.kit.ledger import Entry, Ledger
from tests.kit.names import key_of

# All in one slot, where they have the best chance to be in each other's way.
_SLOT = 7
FAILING, REFUSED, HELD, SLOW = (key_of(_SLOT, number) for number in range(4))
_GOOD = [key_of(_SLOT, number) for number in range(10, 40)]
_BACKLOG = 10
_LIMIT_MS = 1500
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Delays:
    """From the enqueue to the effect, by the server's clock."""

    median_ms: float
    p95_ms: float
    worst_ms: float

    def __str__(self) -> str:
        """As in a report."""
        return f"median {self.median_ms:.0f} ms, 95 % within {self.p95_ms:.0f} ms, worst {self.worst_ms:.0f} ms"


def stuck_keys(stage: Stage, messages: int) -> Report:
    """Chat of good keys while others of their slot and partition are stuck; then all are healed, and must arrive.

    Of one key the handler always fails, another's records Kafka refuses, and an application holds a transaction open
    that has messages of both and of a third.
    """
    with stage.scene(partitions=1) as scene:
        handlers.fail_by_key(scene.session, FAILING)
        relay = scene.start("relay", "relay", faults=Faults(refuse_key=REFUSED))
        scene.start("consumer", "consumer")
        written = Writer(scene.topics[0])
        with scene.server.connect(scene.database) as application:
            warm = written.enqueue(scene.session, *_GOOD)
            scene.wait_until(lambda: _are_consumed(scene, warm), "the daemons work", 90)
            written.enqueue(scene.session, *[FAILING, REFUSED, HELD] * _BACKLOG)
            application.execute("START TRANSACTION")
            written.enqueue(application, FAILING, REFUSED, HELD)
            (behind, *_) = written.enqueue(scene.session, HELD, FAILING, REFUSED)
            good = list(_steadily(written, scene, messages))
            scene.wait_until(lambda: _are_consumed(scene, good), "the good keys' messages have taken effect", 90)
            overtook = _are_consumed(scene, [behind])
            application.execute("COMMIT")
        delays = _delays(scene, good)
        failures = scene.retries()
        handlers.heal(scene.session)
        relay.terminate()
        relay.wait_or_kill(STOP_DEADLINE_S)
        scene.start("relay", "healed relay")
        scene.wait_until_final()
        verdict = checker.check(Ledger(written.entries), scene.session)
        problems = problems_of(verdict) + _problems_of(delays)
        if overtook:
            problems.append("a message overtook an earlier one of its key that was not committed")
        if not failures:
            problems.append("nothing failed")
        return Report(
            "stuck keys among good ones",
            f"{messages} messages of {len(_GOOD)} good keys in one slot and partition with a key that always fails, one"
            f" that Kafka refuses, and a transaction held open with messages of both and of a third;"
            f" {failures} failures",
            f"of the good keys from enqueue to effect: {delays}; after healing: {verdict}",
            verdict,
            problems,
        )


def slow_key(stage: Stage, messages: int, seconds: float) -> Report:
    """Chat of good keys while the handler of another of their partition takes so long for each message."""
    with stage.scene(partitions=1) as scene:
        handlers.be_slow_by_key(scene.session, SLOW, seconds)
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        written = Writer(scene.topics[0])
        warm = written.enqueue(scene.session, *_GOOD)
        scene.wait_until(lambda: _are_consumed(scene, warm), "the daemons work", 90)
        written.enqueue(scene.session, *[SLOW] * _BACKLOG)
        good = list(_steadily(written, scene, messages))
        scene.wait_until(lambda: _are_consumed(scene, good), "the good keys' messages have taken effect", 90)
        delays = _delays(scene, good)
        scene.wait_until_final()
        verdict = checker.check(Ledger(written.entries), scene.session)
        return Report(
            "a slow key among good ones",
            f"{messages} messages of {len(_GOOD)} good keys in one slot and partition with a key whose handler takes"
            f" {seconds} s a message, {_BACKLOG} messages",
            f"of the good keys from enqueue to effect: {delays}; {verdict}",
            verdict,
            problems_of(verdict) + _problems_of(delays),
        )


def _problems_of(delays: Delays) -> list[str]:
    # What waits for a bad key waits for a backoff or a transaction, seconds at least; a busy machine does not.
    return [f"the good keys were delayed: {delays}"] if delays.p95_ms > _LIMIT_MS else []


def _steadily(written: Writer, scene: Scene, messages: int) -> Iterator[Entry]:
    keys = cycle(_GOOD)
    for _ in range(messages):
        yield from written.enqueue(scene.session, next(keys))
        time.sleep(_PAUSE_S)


def _are_consumed(scene: Scene, entries: Sequence[Entry]) -> bool:
    ids = ", ".join(str(entry.id) for entry in entries)
    count_ = f"SELECT COUNT(*) FROM agent_outbox_messages WHERE status = 'consumed' AND id IN ({ids})"
    return bool(scene.session.value(count_) == len(entries))


def _delays(scene: Scene, entries: Sequence[Entry]) -> Delays:
    ids = ", ".join(str(entry.id) for entry in entries)
    microseconds = scene.session.column(
        f"SELECT TIMESTAMPDIFF(MICROSECOND, created_at, consumed_at) FROM agent_outbox_messages WHERE id IN ({ids})"
    )
    in_ms = sorted(float(value) / 1000 for value in microseconds)
    return Delays(statistics.median(in_ms), in_ms[int(len(in_ms) * 0.95)], in_ms[-1])
