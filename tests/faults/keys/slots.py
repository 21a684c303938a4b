"""Slots: relays that come and go, relays that freeze and wake, and backlogs of very few and very many keys."""

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from tests.faults.applications import Applications
from tests.faults.daemon import FaultyDaemon
from tests.faults.launcher import STEPS, Faults
from tests.faults.report import Report, problems_of
from tests.faults.stage import LEASE_S, STOP_DEADLINE_S, Scene, Stage
from tests.kit import checker
from tests.kit.daemon import Event
from tests.kit.ledger import Entry, Ledger
from tests.kit.session import Session

# Longer than elsewhere: a machine that starts many processes at once must not make a relay miss its lease.
_SHARING_LEASE_S = 4
_SLACK_S = 1.0
_BATCH = 500

_FILL = """
CREATE PROCEDURE fill_with_chat (IN p_topic VARCHAR(249), IN p_messages INT, IN p_keys INT)
BEGIN
  DECLARE v_number INT DEFAULT 0;
  DECLARE v_key VARCHAR(64);
  START TRANSACTION;
  WHILE v_number < p_messages DO
    SET v_key = CONCAT('key ', v_number % p_keys);
    CALL outbox_enqueue_chat_history_v1(p_topic, v_key, v_number, v_key, 'user', CONCAT('message ', v_number),
      NULL, @id);
    SET v_number = v_number + 1;
  END WHILE;
  COMMIT;
END
"""


@dataclass(frozen=True, slots=True)
class Change:
    """How many relays start, are stopped by SIGTERM, or are killed, at the same time."""

    starts: int = 0
    stops: int = 0
    kills: int = 0

    def __str__(self) -> str:
        """As in a report."""
        counts = {"started": self.starts, "stopped": self.stops, "killed": self.kills}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def sharing(stage: Stage, seed: int, gentle: Sequence[Change], rough: Sequence[Change], messages: int) -> Report:
    """Let relays come and go while applications write, and measure how long it takes until the slots are even.

    While changes are gentle (nobody is killed) no record may be sent twice: what is in flight stays with its relay.
    """
    with stage.scene() as scene:
        relays: list[FaultyDaemon] = []
        settled: list[str] = []
        problems: list[str] = []

        def make(changes: Sequence[Change], name: str) -> Ledger:
            nonlocal relays
            with Applications(scene, seed, messages // 2, processes=2, name=name) as applications:
                for change in changes:
                    relays, seconds = _change(scene, relays, change)
                    settled.append(f"{change}: {len(relays)} had even shares after {seconds:.1f} s")
                    if seconds > _SHARING_LEASE_S + _SLACK_S:
                        problems.append(f"{settled[-1]}, the lease is {_SHARING_LEASE_S} s")
                applications.finish()
            return applications.ledger()

        written = make(gentle, "gentle")
        scene.wait_until(lambda: "pending" not in scene.counts(), "all is published", 90)
        copies = scene.records() - sum(scene.counts().values())
        written += make(rough, "rough")
        scene.start("consumer", "consumer")
        scene.wait_until_final()
        verdict = checker.check(written, scene.session)
        problems += problems_of(verdict)
        if copies:
            problems.append(f"{copies} records were sent twice before any relay was killed")
        return Report(
            "relays come and go",
            f"{messages} messages written meanwhile, lease {_SHARING_LEASE_S} s; {'; '.join(settled)}",
            f"{verdict}; {copies} records sent twice before the first kill; {scene.troubles()}",
            verdict,
            problems,
        )


def frozen(stage: Stage, messages: int) -> Report:
    """Freeze one relay after another past its lease, each in another step of its round with the same messages in hand.

    The first wakes while the messages are still pending and in the hands of the last, and then is killed; the others
    wake when everything is consumed. Nothing that any of them has in hand may change a message.
    """
    with stage.scene() as scene:
        written = _fill(scene, messages, keys=10)
        # A mark as failed would use up a retry: each has some to make.
        relays = {step: _freeze_at_step(scene, step, refuse_at_most=messages // 10) for step in STEPS}
        first, *others = relays
        before = scene.counts()
        rounds = {first: _wake(scene, relays[first])}
        after = scene.counts()
        relays[first].kill()
        scene.start("relay", "healthy", relay_workers=1)
        scene.start("consumer", "consumer")
        scene.wait_until_final()
        rounds |= {step: _wake(scene, relays[step]) for step in others}
        verdict = checker.check(written, scene.session)
        problems = problems_of(verdict)
        if before != after or set(before) != {"pending"}:
            problems.append(f"the messages changed from {before} to {after} while no relay had them")
        for step, event in rounds.items():
            if event["claimed"] == 0 or event["marked"] != 0:
                problems.append(f"the relay that was frozen after {step} logged {event}")
        if scene.retries():
            problems.append(f"{scene.retries()} retries were used up")
        refused = len(relays[first].events("refused"))
        if not refused:
            problems.append("the first relay had no refused record to mark as failed")
        said = ", ".join(
            f"after {step}: claimed {event['claimed']}, answered {event['answered']}, marked {event['marked']}"
            for step, event in rounds.items()
        )
        return Report(
            "relays frozen past their lease",
            f"{messages} messages claimed by three relays, each stopped in another step of its round until its lease"
            f" of {LEASE_S} s had run out; {refused} records of the first to wake are refused",
            f"{said}; {scene.retries()} retries used up; {scene.records()} records; {verdict}",
            verdict,
            problems,
        )


def batches(stage: Stage, messages: int, keys: int) -> Report:
    """Drain a backlog of so many keys, and count how full the relay's and the consumer's batches are."""
    with stage.scene() as scene:
        written = _fill(scene, messages, keys)
        relay = scene.start("relay", "relay", relay_workers=1, batch_size=_BATCH)
        consumer = scene.start("consumer", "consumer", batch_size=_BATCH)
        began = time.monotonic()
        scene.wait_until_final(300)
        took = time.monotonic() - began
        claimed = [int(event["claimed"]) for event in relay.events("round")]
        consumed = [_outcomes(event) for event in consumer.events("consumed")]
        verdict = checker.check(written, scene.session)
        problems = problems_of(verdict)
        needed = math.ceil(messages / _BATCH)
        if len(claimed) > needed * 1.25 + 1:
            problems.append(f"{len(claimed)} claims where {needed} full ones would do: {claimed}")
        return Report(
            f"a backlog of {keys} {'key' if keys == 1 else 'keys'}",
            f"{messages} messages, at most {_BATCH} in a batch",
            f"{len(claimed)} claims ({needed} full ones would do), median size {statistics.median(claimed):.0f};"
            f" {len(consumed)} calls of the consumer, median size {statistics.median(consumed):.0f};"
            f" drained in {took:.1f} s; {verdict}",
            verdict,
            problems,
        )


def _change(scene: Scene, relays: list[FaultyDaemon], change: Change) -> tuple[list[FaultyDaemon], float]:
    """Make a change; returns the relays that remain, and after how many seconds their shares were even."""
    stopping, killed = relays[: change.stops], relays[change.stops : change.stops + change.kills]
    for relay in stopping:
        relay.terminate()
    for relay in stopping:
        relay.wait_or_kill(STOP_DEADLINE_S)
    for relay in killed:
        relay.kill()
    relays = relays[change.stops + change.kills :]
    numbers = range(len(scene.daemons), len(scene.daemons) + change.starts)
    relays += [_start_relay(scene, number) for number in numbers]
    return relays, _until_even(scene, relays)


def _start_relay(scene: Scene, number: int) -> FaultyDaemon:
    return scene.start("relay", f"relay-{number}", relay_workers=1, lease_seconds=_SHARING_LEASE_S)


def _until_even(scene: Scene, relays: Sequence[FaultyDaemon]) -> float:
    """Wait until all relays have joined, then until their shares are even; returns how long the second took."""
    scene.wait_until(lambda: all(relay.events("started") for relay in relays), "the relays have started", 90)
    names = {str(relay.events("started")[-1]["name"]) + "-0" for relay in relays}
    scene.wait_until(lambda: names <= _alive(scene.session), f"{len(names)} relays have joined", 90)
    began = time.monotonic()
    scene.wait_until(lambda: _are_even(scene.session, names), f"{len(names)} relays have even shares", 90)
    return time.monotonic() - began


def _alive(session: Session) -> set[str]:
    return set(session.column("SELECT relay FROM outbox_relays WHERE lease_until > UTC_TIMESTAMP(6)"))


def _are_even(session: Session, names: Set[str]) -> bool:
    owned = Counter(session.column("SELECT relay FROM outbox_slots"))
    return owned.keys() == names and max(owned.values()) - min(owned.values()) <= 1


def _freeze_at_step(scene: Scene, step: str, refuse_at_most: int) -> FaultyDaemon:
    faults = Faults(seed=step, stop_after=step, refuse_one_in=5, refuse_at_most=refuse_at_most)
    relay = scene.start("relay", step, faults=faults, relay_workers=1)
    scene.wait_until(lambda: relay.is_frozen, f"a relay stops after {step}", 90)
    return relay


def _wake(scene: Scene, relay: FaultyDaemon) -> Event:
    """Wake a frozen relay, and return what it says of the round that it was frozen in."""
    relay.wake()
    scene.wait_until(lambda: bool(relay.events("round")), f"{relay.name} ends its round", 90)
    return relay.events("round")[0]


def _fill(scene: Scene, messages: int, keys: int) -> Ledger:
    """Enqueue in one transaction; the outbox itself is the ledger, as nothing has happened to it yet."""
    scene.session.execute(_FILL)
    scene.session.call("fill_with_chat", scene.topics[0], messages, keys)
    rows = scene.session.rows("SELECT id, topic, message_key, payload FROM agent_outbox_messages ORDER BY id")
    entries = []
    for row in rows:
        payload = json.loads(row["payload"])
        entries.append(
            Entry(row["id"], row["topic"], row["message_key"], payload["user_id"], payload["role"], payload["message"])
        )
    return Ledger(entries)


def _outcomes(event: Event) -> int:
    """How many records one call of the consumer had."""
    return sum(value for value in event.values() if isinstance(value, int))
