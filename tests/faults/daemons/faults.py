"""What befalls daemons: killed and frozen at any step, several of one name, consumers that come and go."""

import random
import time
from collections import Counter
from collections.abc import Collection, Mapping

from tests.faults import under_load
from tests.faults.chaos import Chaos
from tests.faults.daemon import FaultyDaemon
from tests.faults.daemons.steps import BEFORE_MARK, CONSUMER_STEPS, KILLED, RELAY_STEPS, STOPPED
from tests.faults.daemons.supervisor import Supervisor, restart, times_at_steps
from tests.faults.launcher import Faults
from tests.faults.report import Report, Run
from tests.faults.stage import LEASE_S, SESSION_TIMEOUT_S, Scene, Stage
from tests.faults.under_load import Deed, Load

_LAPSE_S = max(LEASE_S, SESSION_TIMEOUT_S) + 1
_LONGEST_S = 120.0
_BETWEEN_LOOKS_S = 0.5
_MOST_CONSUMERS = 6
_LONGEST_GAP_S = 20.0


def killed_at_steps(stage: Stage, seed: int, seconds: float, one_in: int) -> Report:
    """Let daemons kill themselves at one in so many steps, for so long, and until it has happened at each step."""
    return _at_steps(
        stage, seed, "daemons are killed between steps", seconds, KILLED, Faults(str(seed), kill_one_in=one_in)
    )


def frozen_at_steps(stage: Stage, seed: int, seconds: float, one_in: int) -> Report:
    """The same with SIGSTOP, beyond the lease and the session's timeout."""
    return _at_steps(
        stage, seed, "daemons are frozen between steps", seconds, STOPPED, Faults(str(seed), stop_one_in=one_in)
    )


def frozen_at_random(stage: Stage, seed: int, seconds: float) -> Report:
    """Freeze daemons at random times, beyond the lease and the session's timeout."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        with Chaos(scene.daemons, chance.randrange(1_000_000), _LAPSE_S, kills=False) as chaos:
            time.sleep(seconds)
        deed = Deed(f"frozen {chaos.frozen} times for more than {_LAPSE_S} s; {_without_effect(scene)}")
        if not chaos.frozen:
            deed.problems.append("no daemon was frozen")
        return deed

    return under_load.run(
        stage, seed, "daemons are frozen at random", fault, Load(daemons_of_a_kind=3, applications_see_no_errors=True)
    )


def of_one_name(stage: Stage, seed: int, seconds: float) -> Report:
    """Two daemons with the same setting `name`: their relays have different names all the same."""
    return _twins(stage, seed, "daemons of one name", seconds, Faults(name="twin"), relays=2)


def of_one_relay_name(stage: Stage, seed: int, seconds: float) -> Report:
    """Two processes that are the same relay to MySQL, which two daemons never are: the fence cannot tell them apart.

    What the one sends the other sends as well, and it is the consumer's procedure alone that makes one effect of it.
    """
    return _twins(stage, seed, "two processes as one relay", seconds, Faults(relay="twin"), relays=1)


def rebalance_storm(stage: Stage, seed: int, seconds: float) -> Report:
    """Every second a consumer comes or goes, by SIGTERM or SIGKILL; two stay all the time."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        began = scene.session.value("SELECT UTC_TIMESTAMP(6)")
        guests: list[FaultyDaemon] = []
        times: Counter[str] = Counter()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            times[_come_or_go(scene, guests, chance)] += 1
            time.sleep(1)
        ended = scene.session.value("SELECT UTC_TIMESTAMP(6)")
        restart(scene, guests)
        gap = float(scene.session.value(_LONGEST_GAP, began, ended, began, ended))
        counts = ", ".join(f"{count} times {what}" for what, count in sorted(times.items()))
        deed = Deed(
            f"every second for {seconds:.0f} s a consumer came or went ({counts}); never longer than {gap:.1f} s"
            f" without a consumed message; {_without_effect(scene)}"
        )
        if gap > _LONGEST_GAP_S:
            deed.problems.append(f"nothing was consumed for {gap:.1f} s")
        return deed

    return under_load.run(stage, seed, "rebalance storm", fault, Load(applications_see_no_errors=True))


_LONGEST_GAP = """
SELECT COALESCE(MAX(TIMESTAMPDIFF(MICROSECOND, earlier, later)), 0) / 1e6
  FROM (
    SELECT at AS later, LAG(at, 1, %s) OVER (ORDER BY at) AS earlier
      FROM (
        SELECT consumed_at AS at FROM agent_outbox_messages
        UNION ALL
        SELECT CAST(%s AS DATETIME(6))
      ) AS times
     WHERE at BETWEEN %s AND %s
  ) AS gaps
"""


def _at_steps(stage: Stage, seed: int, name: str, seconds: float, what: str, faults: Faults) -> Report:
    def fault(scene: Scene, _: random.Random) -> Deed:
        steps = {*RELAY_STEPS, *CONSUMER_STEPS}
        began = time.monotonic()
        with Supervisor(scene, _LAPSE_S):
            while _goes_on(time.monotonic() - began, seconds, steps - times_at_steps(scene.daemons, what).keys()):
                time.sleep(_BETWEEN_LOOKS_S)
        times = times_at_steps(scene.daemons, what)
        late, marked = _late_rounds(scene)
        of_frozen = f", {late} of them by relays that had been frozen" if what == STOPPED else ""
        deed = Deed(f"{_at_each(times)}; {_without_effect(scene)}{of_frozen}")
        deed.problems += [f"nothing happened after step {step}" for step in sorted(steps - times.keys())]
        if marked:
            deed.problems.append(f"{marked} messages were marked by a relay that had lost its lease")
        if what == STOPPED and not late:
            deed.problems.append("no frozen relay tried to mark a message")
        return deed

    return under_load.run(stage, seed, name, fault, Load(faults=faults, applications_see_no_errors=True))


def _goes_on(lasted: float, seconds: float, missing: Collection[str]) -> bool:
    return lasted < seconds or (bool(missing) and lasted < _LONGEST_S)


def _at_each(times: Mapping[str, int]) -> str:
    steps = (*RELAY_STEPS, *CONSUMER_STEPS)
    return f"{sum(times.values())} times: " + ", ".join(f"{times.get(step, 0)} after {step}" for step in steps)


def _without_effect(scene: Scene) -> str:
    rounds = [event for daemon in scene.daemons for event in daemon.events("round")]
    stale = sum(event["answered"] - event["marked"] for event in rounds)
    calls = [event for daemon in scene.daemons for event in daemon.events("consumed")]
    duplicates = sum(event.get("duplicate", 0) for event in calls)
    return (
        f"{duplicates} records were duplicates without effect; as the consumer was faster, or the slot was lost,"
        f" {stale} marks changed nothing"
    )


def _late_rounds(scene: Scene) -> tuple[int, int]:
    """Of the rounds in which a relay stopped itself before it marked: the marks without effect, and those with one."""
    late = marked = 0
    for daemon in scene.daemons:
        stopped: set[str] = set()
        for event in daemon.events():
            if event["event"] == "started":  # a new life
                stopped.clear()
            elif event["event"] == STOPPED and event["after"] in BEFORE_MARK:
                stopped.add(event["worker"])
            elif event["event"] == "round" and event["worker"] in stopped:
                stopped.remove(event["worker"])
                late += event["answered"] - event["marked"]
                marked += event["marked"]
    return late, marked


def _twins(stage: Stage, seed: int, name: str, seconds: float, faults: Faults, relays: int) -> Report:
    def fault(scene: Scene, _: random.Random) -> Deed:
        time.sleep(seconds)
        names = scene.session.column("SELECT relay FROM outbox_relays WHERE lease_until > UTC_TIMESTAMP(6)")
        deed = Deed(f"for {seconds:.0f} s MySQL saw {len(names)} relays; {_without_effect(scene)}")
        if len(names) != relays:
            deed.problems.append(f"there should have been {relays} relays, and were {names}")
        return deed

    load = Load(faults=faults, settings={"relay_workers": 1}, applications_see_no_errors=True)
    return under_load.run(stage, seed, name, fault, load)


def _come_or_go(scene: Scene, guests: list[FaultyDaemon], chance: random.Random) -> str:
    present = [guest for guest in guests if guest.is_alive]
    absent = [guest for guest in guests if not guest.is_alive]
    if not present or (len(present) < _MOST_CONSUMERS and chance.random() < 0.5):
        if absent:
            chance.choice(absent).start()
        else:
            guests.append(scene.start("consumer", f"guest-{len(guests)}"))
        return "started"
    victim = chance.choice(present)
    if chance.random() < 0.5:
        victim.kill()
        return "killed"
    victim.terminate()
    return "stopped"


FAULTS: dict[str, Run] = {
    "killed-at-steps": lambda stage, seed: killed_at_steps(stage, seed, 30, 60),
    "frozen-at-steps": lambda stage, seed: frozen_at_steps(stage, seed, 40, 60),
    "frozen-at-random": lambda stage, seed: frozen_at_random(stage, seed, 30),
    "one-name": lambda stage, seed: of_one_name(stage, seed, 10),
    "one-relay-name": lambda stage, seed: of_one_relay_name(stage, seed, 20),
    "rebalance-storm": lambda stage, seed: rebalance_storm(stage, seed, 30),
}
