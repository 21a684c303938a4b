"""A bad network between the daemons and MySQL, and between the daemons and every Kafka node; applications have a good
one, so that there is always work."""

import random
import time
from collections.abc import Callable, Mapping, Sequence

from tests.faults import under_load
from tests.faults.network.detours import BOTH, KAFKA, MYSQL, Where, detours
from tests.faults.network.proxy import BOTH_WAYS, TO_CLIENT, TO_SERVER, Proxy, Weather
from tests.faults.report import Report, Run
from tests.faults.stage import Scene, Stage
from tests.faults.under_load import Deed, Load
from tests.kit.command import Setting

_BETWEEN_CUTS_S = (0.2, 2.0)
_BETWEEN_ABANDONMENTS_S = (1.0, 12.0)
_RECOVERY_DEADLINE_S = 300.0
_DRAIN_S = 300.0
_WORK = {"relay": "round", "consumer": "consumed"}

LATENCY = Weather(delay_s=(0.05, 0.2))
LOSS = Weather(stall_one_in=30, stall_s=3)
NARROW = Weather(bytes_per_second=20_000)


def weather(stage: Stage, seed: int, what: str, where: Where, bad: Weather, seconds: float, within: float) -> Report:
    """Let the weather be bad for so long."""

    def fault(scene: Scene, proxies: Sequence[Proxy], _: random.Random) -> Deed:
        before = _consumed(scene)
        _set(proxies, bad)
        time.sleep(seconds)
        consumed = _consumed(scene) - before
        _set(proxies, Weather())
        deed = Deed(f"{bad} for {seconds:.0f} s, {consumed} messages were consumed meanwhile")
        if not consumed:
            deed.problems.append("nothing was consumed in bad weather")
        return deed

    return _run(stage, seed, f"{what} to {where}", where, fault, within)


def cuts(stage: Stage, seed: int, where: Where, seconds: float, within: float) -> Report:
    """Reset all connections to a server, again and again at random times."""

    def fault(_: Scene, proxies: Sequence[Proxy], chance: random.Random) -> Deed:
        cut = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(*_BETWEEN_CUTS_S))
            cut += chance.choice(proxies).cut()
        deed = Deed(f"{cut} connections reset within {seconds:.0f} s")
        if not cut:
            deed.problems.append("no connection was reset")
        return deed

    return _run(stage, seed, f"connections to {where} are cut", where, fault, within)


def refused(stage: Stage, seed: int, where: Where, seconds: float, within: float) -> Report:
    """Reset all connections, and refuse new ones for so long."""

    def fault(_: Scene, proxies: Sequence[Proxy], __: random.Random) -> Deed:
        _set(proxies, Weather(is_open=False))
        cut = sum(proxy.cut() for proxy in proxies)
        time.sleep(seconds)
        _set(proxies, Weather())
        return Deed(f"{cut} connections reset, and new ones refused for {seconds:.0f} s")

    return _run(stage, seed, f"connections to {where} are refused", where, fault, within)


def silence(stage: Stage, seed: int, where: Where, ways: frozenset[str], seconds: float, within: float) -> Report:
    """Let nothing through for so long, the ends of connections included; new ones are accepted, and as silent.

    Afterwards new connections work; those of before stay half-open for ever.
    """

    def fault(_: Scene, proxies: Sequence[Proxy], __: random.Random) -> Deed:
        _set(proxies, Weather(silent=ways))
        time.sleep(seconds)
        abandoned = sum(proxy.abandon() for proxy in proxies)
        _set(proxies, Weather())
        deed = Deed(f"nothing came through for {seconds:.0f} s; then {abandoned} connections stayed half-open")
        if not abandoned:
            deed.problems.append("there was no connection to leave half-open")
        return deed

    direction = "" if ways == BOTH_WAYS else f", {', '.join(sorted(ways))} only"
    return _run(stage, seed, f"silence between daemons and {where}{direction}", where, fault, within)


def half_open(stage: Stage, seed: int, where: Where, seconds: float, within: float) -> Report:
    """Leave all connections half-open, at both ends and for ever, again and again; new ones work at once."""

    def fault(_: Scene, proxies: Sequence[Proxy], chance: random.Random) -> Deed:
        times = abandoned = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(*_BETWEEN_ABANDONMENTS_S))
            abandoned += sum(proxy.abandon() for proxy in proxies)
            times += 1
        deed = Deed(f"{times} times within {seconds:.0f} s all connections were left half-open, {abandoned} in all")
        if not abandoned:
            deed.problems.append("there was no connection to leave half-open")
        return deed

    return _run(stage, seed, f"half-open connections to {where}", where, fault, within)


_Fault = Callable[[Scene, Sequence[Proxy], random.Random], Deed]


def _run(stage: Stage, seed: int, name: str, where: Where, fault: _Fault, within: float) -> Report:
    """Run a fault of the network, and measure how long after it the work that was there is done."""
    with detours(stage, where, seed) as (proxies, settings):

        def measured(scene: Scene, chance: random.Random) -> Deed:
            deed = fault(scene, proxies, chance)
            seconds = _recovery(scene)
            deed.done += f"; {seconds:.1f} s after that all daemons were at work, and all of before was consumed"
            if seconds > within:
                deed.problems.append(f"recovery took {seconds:.1f} s, which is more than {within:.0f} s")
            if not all(proxy.connections for proxy in proxies):
                deed.problems.append("the daemons did not go through the proxies")
            return deed

        return under_load.run(stage, seed, name, measured, _load(settings))


def _load(settings: Mapping[str, Setting]) -> Load:
    return Load(settings=settings, applications_see_no_errors=True, drain_seconds=_DRAIN_S)


def _set(proxies: Sequence[Proxy], weather: Weather) -> None:
    for proxy in proxies:
        proxy.set(weather)


def _consumed(scene: Scene) -> int:
    return scene.counts().get("consumed", 0)


def _recovery(scene: Scene) -> float:
    """How many seconds from now it takes until all that is enqueued now is consumed, and every daemon is at work."""
    began = time.monotonic()
    logged = [(daemon, daemon.log_size) for daemon in scene.daemons]
    last = scene.session.value("SELECT COALESCE(MAX(id), 0) FROM agent_outbox_messages")
    unfinished = "SELECT EXISTS (SELECT 1 FROM agent_outbox_messages WHERE status <> 'consumed' AND id <= %s)"
    scene.wait_until(
        lambda: not scene.session.value(unfinished, last),
        "all that was enqueued before the network was well is consumed",
        _RECOVERY_DEADLINE_S,
    )
    scene.wait_until(
        lambda: all(daemon.has_logged(_WORK[daemon.only], size) for daemon, size in logged),
        "every daemon is at work again",
        _RECOVERY_DEADLINE_S,
    )
    return time.monotonic() - began


FAULTS: dict[str, Run] = {
    "latency": lambda stage, seed: weather(stage, seed, "latency", BOTH, LATENCY, 20, 30),
    "loss": lambda stage, seed: weather(stage, seed, "loss", BOTH, LOSS, 20, 60),
    "narrow": lambda stage, seed: weather(stage, seed, "little bandwidth", BOTH, NARROW, 20, 60),
    "cuts-mysql": lambda stage, seed: cuts(stage, seed, MYSQL, 20, 30),
    "cuts-kafka": lambda stage, seed: cuts(stage, seed, KAFKA, 20, 60),
    "cuts-both": lambda stage, seed: cuts(stage, seed, BOTH, 20, 60),
    "refused-mysql": lambda stage, seed: refused(stage, seed, MYSQL, 20, 30),
    "refused-kafka": lambda stage, seed: refused(stage, seed, KAFKA, 20, 60),
    "refused-both": lambda stage, seed: refused(stage, seed, BOTH, 20, 60),
    "silence-mysql": lambda stage, seed: silence(stage, seed, MYSQL, BOTH_WAYS, 25, 60),
    "silence-kafka": lambda stage, seed: silence(stage, seed, KAFKA, BOTH_WAYS, 25, 90),
    "silence-both": lambda stage, seed: silence(stage, seed, BOTH, BOTH_WAYS, 25, 90),
    "half-open-mysql": lambda stage, seed: half_open(stage, seed, MYSQL, 40, 60),
    "half-open-kafka": lambda stage, seed: half_open(stage, seed, KAFKA, 25, 90),
    "no-answers-mysql": lambda stage, seed: silence(stage, seed, MYSQL, frozenset({TO_CLIENT}), 15, 60),
    "no-answers-kafka": lambda stage, seed: silence(stage, seed, KAFKA, frozenset({TO_CLIENT}), 15, 90),
    "no-requests-mysql": lambda stage, seed: silence(stage, seed, MYSQL, frozenset({TO_SERVER}), 15, 60),
    "no-requests-kafka": lambda stage, seed: silence(stage, seed, KAFKA, frozenset({TO_SERVER}), 15, 90),
}
