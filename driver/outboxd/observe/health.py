"""Health: whether the daemon is alive, and whether it is ready to work. Both answer with the reasons why not."""

import threading
import time
from collections.abc import Sequence

from outboxd.observe import metrics

_HELD_UP_SECONDS = 30


class Pulse:
    """The signs of life of one worker: its thread writes them, Health reads them."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.is_member: bool | None = None
        """Whether the consumer group has taken the worker as a member; None: it is no consumer."""
        self.failure: Exception | None = None
        self.has_ended = False
        self._due_at = time.monotonic()
        self._held_up: tuple[float, str] | None = None

    def beat(self, idle_seconds: float = 0) -> None:
        """The worker makes progress, and may be idle for idle_seconds before its next beat."""
        self._due_at = time.monotonic() + idle_seconds

    def holds(self, partitions: int, *, is_member: bool) -> None:
        """The worker makes progress, and has so many partitions; a member may have none, where there are too few."""
        self.beat()
        self.is_member = is_member
        metrics.partitions_assigned.labels(self.worker).set(partitions)

    def moves(self) -> None:
        """The worker has moved messages, or has none to move."""
        self._held_up = None

    def is_held_up(self, reason: str) -> None:
        """The worker has messages, and could not move them: it tries again."""
        since = self._held_up[0] if self._held_up else time.monotonic()
        self._held_up = since, reason

    @property
    def held_up(self) -> tuple[float, str]:
        """For how many seconds nothing has moved, and why; 0 where all moves."""
        held_up = self._held_up
        return (time.monotonic() - held_up[0], held_up[1]) if held_up else (0.0, "")

    @property
    def silent_seconds(self) -> float:
        """How long the next beat is overdue."""
        return time.monotonic() - self._due_at


class Health:
    """What is known of the daemon's workers, and of MySQL and Kafka."""

    def __init__(self, stop: threading.Event, stall_seconds: float) -> None:
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._pulses: Sequence[Pulse] = ()
        self._lacks: dict[str, str | None] = {"schema": "the schema is not checked yet: MySQL has not answered"}
        self._fresh_until = float("inf")

    def watch(self, pulses: Sequence[Pulse]) -> None:
        """The schema is checked, and the workers of these pulses are about to start."""
        self._pulses = pulses
        self._lacks = {"sample": "nothing is sampled yet"}

    def sampled(self, *, good_for_seconds: float, **lacks: str | None) -> None:
        """Take over the sampler's result: for each server, what is missing, or None."""
        self._lacks = lacks
        self._fresh_until = time.monotonic() + good_for_seconds

    @property
    def pulses(self) -> Sequence[Pulse]:
        """Those of all workers."""
        return self._pulses

    def why_not_alive(self) -> list[str]:
        """A reason for each worker that has failed, ended, or made no progress for stall_seconds; empty: alive."""
        reasons = []
        for pulse in self._pulses:
            if pulse.failure is not None:
                reasons.append(f"{pulse.worker} failed: {pulse.failure}")
            elif pulse.has_ended:
                if not self._stop.is_set():
                    reasons.append(f"{pulse.worker} has ended")
            elif pulse.silent_seconds > self._stall_seconds:
                reasons.append(f"{pulse.worker} has made no progress for {pulse.silent_seconds:.0f} s")
        return reasons

    def why_not_ready(self) -> list[str]:
        """The reasons of why_not_alive, and what is lacking: schema, MySQL, Kafka, slots, partitions; empty: ready."""
        reasons = self.why_not_alive() + [lack for lack in self._lacks.values() if lack]
        for pulse in self._pulses:
            seconds, reason = pulse.held_up
            if pulse.is_member is False:
                reasons.append(f"{pulse.worker} is in no consumer group{reason and f': {reason}'}")
            elif seconds > _HELD_UP_SECONDS:
                reasons.append(f"{pulse.worker} has moved nothing for {seconds:.0f} s: {reason}")
        if self._stop.is_set():
            reasons.append("the daemon is stopping")
        if time.monotonic() > self._fresh_until:
            reasons.append("the sampler has not come round")
        return reasons
