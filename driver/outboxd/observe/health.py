"""Health: whether the daemon is alive, and whether it is ready to work. Both answer with the reasons why not."""

import threading
import time
from dataclasses import dataclass

from outboxd.observe import metrics
from outboxd.observe.scope import working_for

_HELD_UP_SECONDS = 30


class Pulse:
    """The signs of life of one worker: its thread writes them, Health reads them."""

    def __init__(self, worker: str, database: str = "", *, named: bool = False) -> None:
        """`database` is the one for which it works; `named` puts that before the worker's name."""
        self.worker = worker
        self.database = database
        self.name = f"{database}: {worker}" if named else worker
        self.is_member: bool | None = None
        """Whether the consumer group has taken the worker as a member; None: it is no consumer."""
        self.failure: Exception | None = None
        self.has_ended = False
        self._due_at = float("inf")  # until it begins
        self._held_up: tuple[float, str] | None = None

    def beat(self, idle_seconds: float = 0) -> None:
        """The worker makes progress, and may be idle for idle_seconds before its next beat."""
        self._due_at = time.monotonic() + idle_seconds

    def rests(self) -> None:
        """The worker has nothing to do until it is woken."""
        self._due_at = float("inf")
        self.moves()

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


@dataclass(frozen=True, slots=True)
class _Told:
    """What is lacking, if anything, and until when that is known."""

    lack: str | None
    fresh_until: float


class Health:
    """What is known of the daemon's workers, its databases, and Kafka."""

    def __init__(self, stop: threading.Event, stall_seconds: float) -> None:
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._pulses: dict[Pulse, None] = {}
        self._told: dict[str, _Told] = {}
        self._failures: list[str] = []
        self._lock = threading.Lock()

    def watch(self, pulse: Pulse) -> None:
        """A worker is about to start."""
        with self._lock:
            self._pulses[pulse] = None

    def forget(self, *pulses: Pulse) -> None:
        """These workers have ended, as they should."""
        with self._lock:
            for pulse in pulses:
                self._pulses.pop(pulse, None)

    def tell(self, what: str, lack: str | None, *, good_for_seconds: float = float("inf")) -> None:
        """What a server or a database lacks to be worked with, or None, and for how long that is known."""
        with self._lock:
            self._told[what] = _Told(lack, time.monotonic() + good_for_seconds)

    def tell_no_more(self, what: str) -> None:
        """It is none of this daemon's any more."""
        with self._lock:
            self._told.pop(what, None)

    def fails(self, reason: str) -> None:
        """The daemon is about to end for this reason."""
        if reason not in self._failures:
            self._failures.append(reason)

    @property
    def pulses(self) -> list[Pulse]:
        """Those of all workers."""
        with self._lock:
            return list(self._pulses)

    def show_held_up(self) -> None:
        """Set the metric of each worker."""
        for pulse in self.pulses:
            with working_for(pulse.database):
                metrics.held_up_seconds.labels(pulse.worker).set(pulse.held_up[0])

    def why_not_alive(self) -> list[str]:
        """A reason for each worker that has failed, ended, or made no progress for stall_seconds; empty: alive."""
        reasons = list(self._failures)
        for pulse in self.pulses:
            if pulse.failure is not None:
                reasons.append(f"{pulse.name} failed: {pulse.failure}")
            elif pulse.has_ended:
                if not self._stop.is_set():
                    reasons.append(f"{pulse.name} has ended")
            elif pulse.silent_seconds > self._stall_seconds:
                reasons.append(f"{pulse.name} has made no progress for {pulse.silent_seconds:.0f} s")
        return reasons

    def why_not_ready(self) -> list[str]:
        """The reasons of why_not_alive, and what is lacking: schema, MySQL, Kafka, slots, partitions; empty: ready."""
        with self._lock:
            told = dict(self._told)
        reasons = self.why_not_alive() + [known.lack for known in told.values() if known.lack]
        for pulse in self.pulses:
            seconds, reason = pulse.held_up
            if pulse.is_member is False:
                reasons.append(f"{pulse.name} is in no consumer group{reason and f': {reason}'}")
            elif seconds > _HELD_UP_SECONDS:
                reasons.append(f"{pulse.name} has moved nothing for {seconds:.0f} s: {reason}")
        if self._stop.is_set():
            reasons.append("the daemon is stopping")
        if any(time.monotonic() > known.fresh_until for known in told.values()):
            reasons.append("the sampler has not come round")
        return reasons
