"""Health: whether the daemon lives, and whether it is ready to work. Both answer with the reasons why not."""

import threading
import time
from collections.abc import Iterable

from outboxd import metrics

_beats: dict[str, float] = {}
_partitions: dict[str, int] = {}


def beat(idle_seconds: float = 0) -> None:
    """This worker gets on, and may be idle for so long before it says so again."""
    _beats[threading.current_thread().name] = time.monotonic() + idle_seconds


def holds(partitions: int) -> None:
    """This worker gets on, and its group has given it so many partitions."""
    beat()
    name = threading.current_thread().name
    _partitions[name] = partitions
    metrics.partitions_assigned.labels(name).set(partitions)


def partitions() -> int:
    """How many partitions all workers have."""
    return sum(_partitions.values())


class Health:
    """What is known of the workers, and of what they need."""

    def __init__(self, stop: threading.Event, stall_seconds: float) -> None:
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._workers: list[threading.Thread] = []
        self.failures: dict[str, Exception] = {}
        """Workers that have failed for good, first one first."""
        self._lacks: dict[str, str | None] = {"schema": "the schema is not checked yet: MySQL has not answered"}
        self._fresh_until = float("inf")

    def watch(self, workers: Iterable[threading.Thread]) -> None:
        """The schema is known, and these workers are about to be started."""
        self._workers = list(workers)
        for worker in self._workers:
            _beats[worker.name] = time.monotonic()
        self._lacks = {"sample": "nothing is sampled yet"}

    def sampled(self, *, good_for_seconds: float, **lacks: str | None) -> None:
        """What the monitor has found missing, by what it has looked at; None: nothing."""
        self._lacks = lacks
        self._fresh_until = time.monotonic() + good_for_seconds

    def why_not_alive(self) -> list[str]:
        """A reason for each worker that has failed, ended, or made no progress for stall_seconds; empty: alive."""
        reasons = [f"{name} failed: {error}" for name, error in self.failures.items()]
        for worker in self._workers:
            silent = time.monotonic() - _beats[worker.name]
            if worker.ident is not None and not worker.is_alive():
                if not self._stop.is_set():
                    reasons.append(f"{worker.name} has ended")
            elif silent > self._stall_seconds:
                reasons.append(f"{worker.name} has made no progress for {silent:.0f} s")
        return reasons

    def why_not_ready(self) -> list[str]:
        """The same, and what the work lacks: schema, MySQL, Kafka, slots or partitions; empty: ready."""
        reasons = self.why_not_alive() + [lack for lack in self._lacks.values() if lack]
        if self._stop.is_set():
            reasons.append("the daemon is stopping")
        if time.monotonic() > self._fresh_until:
            reasons.append("the monitor has not come round")
        return reasons
