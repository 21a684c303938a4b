"""The real daemon as processes of its own: `outboxd run`."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from confluent_kafka.admin import AdminClient

from tests.bench.stage import PARTITIONS, BenchError, Stage
from tests.servers.process import tail
from tests.sql.support import Database

_STOP_DEADLINE_S = 60
_SHARED_DEADLINE_S = 60.0

_Shares = tuple[tuple[str, int], ...]


@dataclass
class Daemons:
    """Running daemons, and the most memory that one of them was seen with."""

    stage: Stage
    topic: str
    processes: list[subprocess.Popen[bytes]]
    started_at: float
    peak_rss: int = 0

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self.processes]

    def check(self) -> None:
        """Note how much memory they have. Raises BenchError, with the end of the log, where one has ended."""
        for number, process in enumerate(self.processes):
            if process.poll() is not None:
                log = tail(self.stage.folder / f"daemon-{number}.log")
                raise BenchError(f"a daemon ended with exit code {process.returncode}; the end of its log:\n{log}")
            self.peak_rss = max(self.peak_rss, psutil.Process(process.pid).memory_info().rss)

    def wait_until_shared(self) -> None:
        """Wait until slots and partitions are shared out among all the daemons, and stay so for a while.

        Raises BenchError where that does not come about.
        """
        admin = AdminClient({"bootstrap.servers": self.stage.kafka.bootstrap, "log_level": 0})
        deadline = time.monotonic() + _SHARED_DEADLINE_S
        last: tuple[_Shares, _Shares] = ((), ())
        since = time.monotonic()
        with self.stage.connect() as session:
            while not (all(last) and time.monotonic() > since + self.stage.sizes.shared_seconds):
                self.check()
                shares = self._slots(session), self._partitions(admin)
                if shares != last:
                    last, since = shares, time.monotonic()
                if time.monotonic() > deadline:
                    raise BenchError(f"slots and partitions were not shared out in {_SHARED_DEADLINE_S:.0f} s: {last}")
                time.sleep(0.1)

    def _slots(self, session: Database) -> _Shares:
        """How many slots each relay has; empty while some have none, or a daemon has none of them."""
        rows = session.rows("SELECT relay, COUNT(*) AS slots FROM outbox_slots GROUP BY relay ORDER BY relay")
        shares = tuple((row["relay"], row["slots"]) for row in rows)
        return shares if shares and shares[0][0] is not None and len(shares) >= len(self.processes) else ()

    def _partitions(self, admin: Any) -> _Shares:
        """How many partitions each consumer has; empty while some have none, or a daemon has none of them."""
        group = admin.describe_consumer_groups([self.topic])[self.topic].result()
        shares = tuple(sorted((m.member_id, len(m.assignment.topic_partitions)) for m in group.members))
        complete = sum(count for _, count in shares) == PARTITIONS and len(shares) >= len(self.processes)
        return shares if complete else ()


@contextmanager
def run(stage: Stage, topic: str, processes: int = 1) -> Iterator[Daemons]:
    """Start daemons that relay everything and consume the topic; they are stopped by SIGTERM at the end."""
    with ExitStack() as cleanup:
        daemons = Daemons(stage, topic, [], time.monotonic())
        for number in range(processes):
            log = cleanup.enter_context((stage.folder / f"daemon-{number}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "outboxd", "run"],
                env=stage.daemon_environment(topic),
                cwd=stage.folder,  # where no outboxd.toml is
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            daemons.processes.append(process)
            cleanup.callback(_reap, process)
        for process in daemons.processes:
            cleanup.callback(process.terminate)
        yield daemons


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
