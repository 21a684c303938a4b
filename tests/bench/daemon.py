"""The real daemon as processes of its own: `outboxd run`."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
from confluent_kafka import KafkaException

from tests.bench.stage import DATABASE, PARTITIONS, BenchError, Stage
from tests.kit import kafka
from tests.kit.daemon import Daemon
from tests.kit.session import Session

_STOP_DEADLINE_S = 60
_SHARED_DEADLINE_S = 180.0

_Shares = tuple[tuple[str, int], ...]


@dataclass
class Daemons:
    """Running daemons, and the most memory that one of them was seen with."""

    stage: Stage
    topic: str
    database: str
    processes: Sequence[Daemon]
    started_at: float
    peak_rss: int = 0

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [daemon.pid for daemon in self.processes]

    def check(self) -> None:
        """Note how much memory they have. Raises BenchError, with the end of the log, where one has ended."""
        for daemon in self.processes:
            if not daemon.is_alive:
                code = daemon.process.returncode
                raise BenchError(f"a daemon ended with exit code {code}; the end of its log:\n{daemon.log_end}")
            self.peak_rss = max(self.peak_rss, psutil.Process(daemon.pid).memory_info().rss)

    def wait_until_shared(self) -> None:
        """Wait until slots and partitions are shared out among all the daemons, and stay so for a while.

        Raises BenchError where that does not come about.
        """
        admin = kafka.admin(self.stage.kafka.bootstrap)
        deadline = time.monotonic() + _SHARED_DEADLINE_S
        last: tuple[_Shares, _Shares] = ((), ())
        since = time.monotonic()
        with self.stage.connect(self.database) as session:
            while not (all(last) and time.monotonic() > since + self.stage.sizes.shared_seconds):
                self.check()
                shares = self._slots(session), self._partitions(admin)
                if shares != last:
                    last, since = shares, time.monotonic()
                if time.monotonic() > deadline:
                    raise BenchError(f"slots and partitions were not shared out in {_SHARED_DEADLINE_S:.0f} s: {last}")
                time.sleep(0.1)

    def _slots(self, session: Session) -> _Shares:
        """How many slots each relay has; empty while some have none, or a daemon has none of them."""
        rows = session.rows("SELECT relay, COUNT(*) AS slots FROM outbox_slots GROUP BY relay ORDER BY relay")
        shares = tuple((row["relay"], row["slots"]) for row in rows)
        return shares if shares and shares[0][0] is not None and len(shares) >= len(self.processes) else ()

    def _partitions(self, admin: Any) -> _Shares:
        """How many partitions each consumer has; empty while some have none, or a daemon has none of them."""
        try:
            group = admin.describe_consumer_groups([self.topic])[self.topic].result()
        except KafkaException:  # the coordinator of the first group is not there yet
            return ()
        shares = tuple(sorted((m.member_id, len(m.assignment.topic_partitions)) for m in group.members))
        complete = sum(count for _, count in shares) == PARTITIONS and len(shares) >= len(self.processes)
        return shares if complete else ()


@contextmanager
def run(
    stage: Stage, topic: str, processes: int = 1, database: str = DATABASE, arguments: Sequence[str] = ()
) -> Iterator[Daemons]:
    """Start daemons that relay everything and consume the topic; they are stopped by SIGTERM at the end."""
    with ExitStack() as cleanup:
        started: list[Daemon] = []
        daemons = Daemons(stage, topic, database, started, time.monotonic())
        for number in range(processes):
            daemon = Daemon(
                stage.folder,  # where no outboxd.toml is
                stage.daemon_settings(topic, database),
                arguments,
                command=(sys.executable, "-m", "outboxd"),
                name=f"{topic}-daemon-{number}",
                variables={"PYTHONPATH": str(stage.code)},
            )
            daemon.start()
            started.append(daemon)
            cleanup.callback(partial(daemon.wait_or_kill, _STOP_DEADLINE_S))
        for daemon in started:
            cleanup.callback(daemon.terminate)
        yield daemons
