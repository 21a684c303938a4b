"""One fault under load: applications write, daemons relay and consume, and meanwhile the fault is done and undone."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.faults.applications import Applications
from tests.faults.launcher import Faults
from tests.faults.report import Report, problems_of
from tests.faults.stage import Scene, Stage
from tests.kit import checker, kafka
from tests.kit.command import Setting

_FEWEST = 50
_COMMON_ERRORS = 3


@dataclass(slots=True)
class Deed:
    """What was done, and what is wrong by the fault's own check.

    own: messages that the fault itself enqueued, and checked; they leave no row in chat_histories.
    """

    done: str
    problems: list[str] = field(default_factory=list)
    own: Set[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Load:
    """Who is at work while the fault is done, and what is expected of it. See Applications for haste.

    Without the topics' records where the fault deletes them; with retries used up only where the fault is the message's
    own, or its handler's. The applications may see errors, but where the fault is none of MySQL's.
    """

    applications: int = 3
    messages: int = 30_000
    haste: float = 1
    daemons_of_a_kind: int = 2
    settings: Mapping[str, Setting] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    topics_are_kept: bool = True
    may_use_retries: bool = False
    applications_see_no_errors: bool = False
    drain_seconds: float = 120


Fault = Callable[[Scene, random.Random], Deed]
"""Does a fault on a scene under load, and undoes it before it returns; what it draws repeats with the seed."""


def run(stage: Stage, seed: int, name: str, fault: Fault, load: Load | None = None) -> Report:
    """Do a fault under load; then let everything drain, and check. The applications write until the fault is over."""
    load = load or Load()
    with stage.scene(topics=2) as scene:
        for number in range(load.daemons_of_a_kind):
            scene.start("relay", f"relay-{number}", faults=load.faults, **load.settings)
            scene.start("consumer", f"consumer-{number}", faults=load.faults, **load.settings)
        scene.wait_until(lambda: all(daemon.events("started") for daemon in scene.daemons), "the daemons started", 90)
        chance = random.Random(f"{seed} {name}")
        began = time.monotonic()
        with (
            Applications(scene, seed, load.messages, load.applications, patient=True, haste=load.haste) as applications,
            ThreadPoolExecutor(1) as pool,
        ):
            deed = pool.submit(fault, scene, chance)
            while not deed.done():
                applications.are_done()  # starts those again that killed themselves
                time.sleep(0.02)
            done = deed.result()
            scene.wait_until(lambda: applications.written() >= _FEWEST, "some messages are written", 90)
            applications.say_enough()
            applications.finish()
        wrote = time.monotonic() - began
        scene.wait_until_final(load.drain_seconds)
        took = time.monotonic() - began
        codes = scene.stop()
        ledger = applications.ledger()
        records = _records(scene, done) if load.topics_are_kept else None
        verdict = checker.check(ledger, scene.session, records)
        problems = [*done.problems, *problems_of(verdict)]
        if any(codes.values()):
            problems.append(f"exit codes after SIGTERM: {codes}")
        if scene.retries() and not load.may_use_retries:
            problems.append(f"{scene.retries()} retries were used up for what is no message's fault")
        if ledger.errors and load.applications_see_no_errors:
            problems.append(f"the applications saw {_errors(ledger.errors)}")
        return Report(
            name,
            f"{load.applications} applications wrote for {wrote:.0f} s, {load.daemons_of_a_kind} relays and"
            f" {load.daemons_of_a_kind} consumers; {done.done}",
            f"{verdict}; {verdict.in_doubt} messages in doubt; all final {took - wrote:.1f} s after the last was"
            f" written; used-up retries: {scene.retries()}; the applications saw {_errors(ledger.errors)};"
            f" the daemons: {scene.troubles()}",
            verdict,
            problems,
        )


def _records(scene: Scene, done: Deed) -> list[kafka.Record]:
    return [record for record in kafka.read_all(scene.bootstrap, scene.topics) if record.id not in done.own]


def _errors(errors: Sequence[str]) -> str:
    counts = Counter(errors)
    most = "; ".join(f"{number} x {error}" for error, number in counts.most_common(_COMMON_ERRORS))
    return f"{counts.total()} errors ({most})" if counts else "no errors"
