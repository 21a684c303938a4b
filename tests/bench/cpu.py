"""CPU time of processes and of the machine, between two moments."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

Groups = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Moment:
    """CPU seconds used until now: by named groups of processes, and by the whole machine."""

    at: float
    used: dict[str, float]

    def cores_until(self, later: "Moment") -> dict[str, float]:
        """How many cores each group kept busy between the two moments."""
        seconds = max(later.at - self.at, 1e-9)
        return {name: (later.used[name] - used) / seconds for name, used in self.used.items()}


def now(groups: Groups) -> Moment:
    """Look at the clock and at the CPU time of the groups; `machine` is everything that runs here."""
    used = {name: sum(_process_seconds(pid) for pid in pids) for name, pids in groups.items()}
    times = psutil.cpu_times()
    return Moment(time.monotonic(), {**used, "machine": sum(times) - _not_busy(times)})


def by_others(before: Moment, after: Moment) -> float:
    """How many cores were busy with what is no part of the benchmark; the moments are of ours()."""
    spent = before.cores_until(after)
    return max(0.0, spent["machine"] - spent["ours"])


def ours(servers: Sequence[int]) -> Moment:
    """The CPU time of the servers, of this process and of its children that have ended, all as one group."""
    moment = now({"ours": servers})
    mine = psutil.Process().cpu_times()
    moment.used["ours"] += mine.user + mine.system + mine.children_user + mine.children_system
    return moment


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _process_seconds(pid: int) -> float:
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


def _not_busy(times: object) -> float:
    """Idle time; a guest's time is counted in user time already."""
    return sum(float(getattr(times, name, 0.0)) for name in ("idle", "iowait", "guest", "guest_nice"))
