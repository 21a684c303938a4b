"""Order under chaos: several applications, relays and consumers, and every one of them fails in its own way."""

import signal
import time
from dataclasses import dataclass

from tests.faults import handlers
from tests.faults.applications import Applications
from tests.faults.chaos import Chaos
from tests.faults.launcher import Faults
from tests.faults.report import Report, problems_of
from tests.faults.stage import LEASE_S, SESSION_TIMEOUT_S, Scene, Stage
from tests.kit import checker, kafka
from tests.kit.checker import Verdict

ONE_IN = 50
_DAEMONS_OF_A_KIND = 3


@dataclass(frozen=True, slots=True)
class Size:
    """How much chat how many applications write."""

    messages: int
    applications: int = 6


def run(stage: Stage, seed: int, size: Size, ordering: str = "key") -> tuple[Verdict, Report]:
    """Write, relay and consume chat while daemons are killed and frozen; then let it drain, and check.

    With ordering none, messages out of order are what must be found.
    """
    with stage.scene(topics=2) as scene:
        handlers.fail_at_random(scene.session, seed, ONE_IN, ordering)
        faults = Faults(seed=str(seed), refuse_one_in=ONE_IN)
        for number in range(_DAEMONS_OF_A_KIND):
            scene.start("relay", f"relay-{number}", faults=faults)
            scene.start("consumer", f"consumer-{number}")
        began = time.monotonic()
        lapse = max(LEASE_S, SESSION_TIMEOUT_S)
        with (
            Applications(scene, seed, size.messages, size.applications) as applications,
            Chaos(scene.daemons, seed, lapse) as chaos,
        ):
            applications.finish()
        wrote = time.monotonic() - began
        scene.wait_until_final()
        took = time.monotonic() - began
        codes = scene.stop()
        verdict = checker.check(applications.ledger(), scene.session, kafka.read_all(scene.bootstrap, scene.topics))
        done = (
            f"{size.applications} applications, {applications.killed} times killed in a transaction, wrote for"
            f" {wrote:.0f} s; {_DAEMONS_OF_A_KIND} relays and {_DAEMONS_OF_A_KIND} consumers, {chaos.killed} times"
            f" killed, {chaos.frozen} times frozen for more than {lapse} s; {_injected(scene)}"
        )
        found = (
            f"{verdict}; all final after {took:.0f} s; {scene.records()} records in Kafka;"
            f" used-up retries: {scene.retries()}; {scene.troubles()}"
        )
        problems = [f"not injected: {reason}" for reason in _other_failures(scene)]
        # One that was started a moment ago has not yet learned to end well.
        if not {0, -signal.SIGTERM}.issuperset(codes.values()):
            problems.append(f"exit codes after SIGTERM: {codes}")
        if ordering == "key":
            problems += problems_of(verdict)
        elif not verdict.out_of_order:
            problems.append("without order nothing was out of order: this run could not have found anything")
        counted = verdict if ordering == "key" else None
        return verdict, Report(f"order under chaos, ordering {ordering}", done, found, counted, problems)


def _injected(scene: Scene) -> str:
    refused = sum(len(daemon.events("injected")) for daemon in scene.daemons)
    failed = sum("id" in event for daemon in scene.daemons for event in daemon.events("failed"))
    return f"{refused} records refused, {failed} times a handler failed"


def _other_failures(scene: Scene) -> list[str]:
    return [
        str(error)
        for error in scene.session.column(
            "SELECT DISTINCT last_error FROM agent_outbox_messages"
            " WHERE last_error IS NOT NULL AND last_error NOT LIKE '%injected%'"
        )
    ]
