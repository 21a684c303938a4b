"""What is looked at every few seconds: the daemons that are never killed, their sessions, the table, and the lag."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import psutil

from tests.faults.daemon import FaultyDaemon
from tests.faults.stage import ACCOUNT, Scene

_OWNERS = """
SELECT a.attr_value
  FROM performance_schema.session_connect_attrs AS a
  JOIN performance_schema.processlist AS p ON p.id = a.processlist_id
 WHERE a.attr_name = '_pid'
   AND p.user = %s"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment; what is of processes is the mean of those that live all the time.

    Orphans are sessions in MySQL whose process is gone.
    """

    at_s: float
    memory_mib: float
    open_files: float
    threads: float
    sessions: float
    orphans: int
    table_mib: float
    lag_s: float


def take(scene: Scene, steady: Sequence[FaultyDaemon], began: float) -> Sample:
    """Look now. Raises mysql.connector.Error where MySQL cannot be asked just now."""
    processes = [psutil.Process(daemon.pid) for daemon in steady]
    (lag,) = scene.session.call("outbox_lag_v1", None)
    owners = [int(pid) for pid in scene.session.column(_OWNERS, ACCOUNT)]
    return Sample(
        at_s=time.monotonic() - began,
        memory_mib=fmean(process.memory_info().rss for process in processes) / 2**20,
        open_files=fmean(process.num_fds() for process in processes),
        threads=fmean(process.num_threads() for process in processes),
        sessions=fmean(owners.count(daemon.pid) for daemon in steady),
        orphans=sum(not psutil.pid_exists(owner) for owner in owners),
        table_mib=scene.session.value(
            "SELECT file_size FROM information_schema.innodb_tablespaces WHERE name = %s",
            f"{scene.database}/agent_outbox_messages",
        )
        / 2**20,
        lag_s=float(max(lag["pending_seconds"] or 0, lag["published_seconds"] or 0)),
    )
