"""The soak itself: everybody at work, troubles all the time, and a look every few seconds."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import mysql.connector

from tests.faults.applications import Applications
from tests.faults.chaos import Chaos
from tests.faults.daemon import FaultyDaemon
from tests.faults.stage import LEASE_S, SESSION_TIMEOUT_S, Scene, Stage
from tests.kit import checker, kafka
from tests.kit.checker import Verdict
from tests.soak.purging import Purge
from tests.soak.samples import Sample, take
from tests.soak.trouble import Trouble

_APPLICATIONS = 2
_MOST_PER_S = 200  # more than the applications can write
_SAMPLES = 300
_VICTIMS_OF_A_KIND = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen, and what was done, in a sentence."""

    samples: Sequence[Sample]
    verdict: Verdict
    done: str


def soak(stage: Stage, scene: Scene, seed: int, seconds: float, tell: Callable[[Sample], None]) -> Outcome:
    """Keep everybody at work for so long, telling each sample; then let it drain, and check.

    One relay and one consumer live all the time, and are looked at; the others are killed and frozen.
    Raises FaultError where a daemon ends by itself.
    """
    steady = [scene.start("relay", "relay-steady"), scene.start("consumer", "consumer-steady")]
    victims = [
        scene.start(only, f"{only}-{number}") for only in ("relay", "consumer") for number in range(_VICTIMS_OF_A_KIND)
    ]
    samples: list[Sample] = []
    with Applications(scene, seed, int(seconds * _MOST_PER_S), _APPLICATIONS, patient=True) as applications:
        with ExitStack() as troubles:
            purge = troubles.enter_context(Purge(scene))
            chaos = troubles.enter_context(Chaos(victims, seed, max(LEASE_S, SESSION_TIMEOUT_S)))
            trouble = troubles.enter_context(Trouble(stage, scene, seed))
            for sample in _samples(scene, steady, applications, seconds):
                samples.append(sample)
                tell(sample)
        applications.say_enough()
        applications.finish()
        if trouble.failure is not None:
            raise trouble.failure
    scene.wait_until_final(120)
    codes = scene.stop()
    ledger = applications.ledger()
    verdict = checker.check(ledger, scene.session, kafka.read_all(scene.bootstrap, scene.topics))
    done = (
        f"{verdict.messages / seconds:.0f} messages/s; daemons {chaos.killed} times killed, {chaos.frozen} frozen;"
        f" {', '.join(f'{count} times {what}' for what, count in sorted(trouble.made.items())) or 'no other trouble'};"
        f" {purge.deleted:,} messages purged; applications {applications.killed} times killed, and saw"
        f" {len(ledger.errors)} errors; the steady daemons ended with {[codes[daemon.name] for daemon in steady]}"
    )
    return Outcome(samples, verdict, done)


def _samples(
    scene: Scene, steady: Sequence[FaultyDaemon], applications: Applications, seconds: float
) -> Iterator[Sample]:
    began = time.monotonic()
    pause = seconds / _SAMPLES
    for number in range(1, _SAMPLES + 1):
        due = began + number * pause

        def is_due(due: float = due) -> bool:
            applications.are_done()  # starts those again that killed themselves
            return time.monotonic() > due

        scene.wait_until(is_due, "the next look", pause + 60)
        with suppress(mysql.connector.Error):  # the session of this look was one of those that are killed
            yield take(scene, steady, began)
