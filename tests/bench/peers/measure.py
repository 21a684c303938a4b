"""What is measured of each peer."""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import cpu
from tests.bench.measurement import quantile
from tests.bench.peers.arrived import Arrived
from tests.bench.peers.peer import Load, Peer
from tests.bench.peers.relay import Relay, running
from tests.bench.peers.topic import Topic, follow
from tests.bench.stage import BenchError, Stage

_PER_S = 200
_WRITERS, _PAUSE_S, _CONCURRENT_PER_S = 8, 0.03, 400
_EFFECT_STALLED_S = 60.0
_LEFT_DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many messages each part has."""

    backlog: int
    warm_up: int
    live: int
    concurrent: int
    enqueued: int

    @classmethod
    def of(cls, messages: int) -> "Sizes":
        """Those of a backlog of so many messages."""
        return cls(messages, min(messages, 200), min(messages, 3000), min(messages, 3400), min(messages, 2000))

    @property
    def chat(self) -> int:
        """How many messages all parts need."""
        return max(self.backlog, self.warm_up + self.live + self.concurrent, self.enqueued)


@dataclass(frozen=True, slots=True)
class Backlog:
    """A backlog to the topic, or to its effect: messages per second, CPU ms a thousand messages, bytes of memory.

    per_s is the rate from the first record on; cold_per_s has the start of the processes in it.
    """

    per_s: float
    cold_per_s: float
    cpu_ms: dict[str, float]
    rss: int
    arrived: Arrived | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """Milliseconds from commit to a reader of the topic at a steady rate, the cores used then, and what arrived.

    concurrent is what arrived of transactions that stay open for a moment, and so commit in another order than they
    began.
    """

    p50: float
    p99: float
    per_s: float
    cores: dict[str, float]
    arrived: Arrived
    concurrent: Arrived


@dataclass(slots=True)
class _Watch:
    """CPU time from the first record on."""

    groups: cpu.Groups
    relays: list[Relay]
    started: cpu.Moment | None = None
    at_start: int = 0

    def look(self, records: int) -> None:
        """Told of how many records there are."""
        for relay in self.relays:
            relay.check()
        if self.started is None and records:
            self.started, self.at_start = cpu.now(self.groups), records

    def ms_per_thousand(self, messages: int) -> dict[str, float]:
        """Of each group, for the messages since."""
        ended = cpu.now(self.groups)
        started = self.started or ended
        share = 1e6 / max(messages - self.at_start, 1)
        return {
            name: round((ended.used[name] - used) * share, 1)
            for name, used in started.used.items()
            if name != "machine"
        }


@dataclass
class Bench:
    """Measures peers on a stage."""

    stage: Stage
    sizes: Sizes
    folders: ExitStack = field(default_factory=ExitStack)

    def backlog(self, peer: Peer) -> Backlog:
        """Messages that wait when the relay starts."""
        peer.install(self.stage)
        topic, folder, messages = Topic(self.stage), self._folder(), self.sizes.backlog
        peer.prepare(self.stage, folder)
        peer.fill(self.stage, topic.name, messages)
        self.stage.settle()
        began = time.time()
        with self._run(peer, topic.name, folder) as relay:
            watch = _Watch(self._groups([relay]), [relay])
            topic.wait(messages, watch.look)
            self._wait_until_nothing_is_left(peer, relay)
            cpu_ms = watch.ms_per_thousand(messages)
            arrived = topic.arrived(1, messages)
        times = [record.timestamp_ms / 1000 for _, record in topic.records()]
        return Backlog(
            per_s=(len(times) - 1) / max(max(times) - min(times), 0.001),
            cold_per_s=len(times) / (max(times) - began),
            cpu_ms=cpu_ms,
            rss=relay.peak_rss,
            arrived=arrived,
        )

    def effect(self, peer: Peer) -> Backlog:
        """The same up to the rows in chat_histories."""
        peer.install(self.stage)
        topic, folder, messages = Topic(self.stage), self._folder(), self.sizes.backlog
        peer.fill(self.stage, topic.name, messages)
        self.stage.settle()
        began = time.monotonic()
        with ExitStack() as processes, self.stage.connect(peer.database) as session:
            relays = [processes.enter_context(self._run(peer, topic.name, folder))]
            if consumer := peer.effect_command():
                environment = peer.environment(self.stage, topic.name)
                relays.append(processes.enter_context(running(consumer, folder, environment, "consumer")))
            watch = _Watch(self._groups(relays), relays)
            first = moved_at = 0.0
            rows = 0
            while rows < messages:
                time.sleep(0.02)
                now = int(session.value("SELECT COUNT(*) FROM chat_histories"))
                watch.look(now)
                if now != rows:
                    moved_at = time.monotonic()
                    first, rows = first or moved_at, now
                elif rows and time.monotonic() - moved_at > _EFFECT_STALLED_S:
                    raise BenchError(f"{peer.title}: no effect for {_EFFECT_STALLED_S:.0f} s after {rows}")
            ended = time.monotonic()
            self._wait_until_nothing_is_left(peer, relays[0])
            return Backlog(
                per_s=(messages - watch.at_start) / max(ended - first, 0.02),
                cold_per_s=messages / (ended - began),
                cpu_ms=watch.ms_per_thousand(messages),
                rss=sum(relay.peak_rss for relay in relays),
            )

    def live(self, peer: Peer) -> Live:
        """One writer at a steady rate, and then several whose transactions overlap."""
        peer.install(self.stage)
        topic, folder = Topic(self.stage), self._folder()
        warm_up = self.sizes.warm_up
        first, last = warm_up + 1, warm_up + self.sizes.live
        with (
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
            self._run(peer, topic.name, folder) as relay,
        ):
            following = pool.submit(follow, self.stage.kafka.bootstrap, topic.name, first, last)
            peer.load(self.stage, relay, topic.name, Load(1, warm_up, _PER_S))
            topic.wait(warm_up, lambda _: relay.check())
            groups = self._groups([relay])
            before = cpu.now(groups)
            committed = peer.load(self.stage, relay, topic.name, Load(first, self.sizes.live, _PER_S))
            cores = before.cores_until(cpu.now(groups))
            seen = following.result()
            several = Load(last + 1, self.sizes.concurrent, _CONCURRENT_PER_S, _WRITERS, _PAUSE_S)
            peer.load(self.stage, relay, topic.name, several)
            topic.wait(last + self.sizes.concurrent, lambda _: relay.check())
            self._wait_until_nothing_is_left(peer, relay)
            alone, concurrent = topic.arrived(first, last), topic.arrived(last + 1, last + self.sizes.concurrent)
        if not seen:
            raise BenchError(f"{peer.title}: nothing arrived")
        took = [(seen[number] - at) * 1000 for number, at in committed.items() if number in seen]
        return Live(
            p50=round(quantile(took, 0.5), 2),
            p99=round(quantile(took, 0.99), 2),
            per_s=round((len(committed) - 1) / max(max(committed.values()) - min(committed.values()), 0.001), 1),
            cores={name: round(used, 3) for name, used in cores.items()},
            arrived=alone,
            concurrent=concurrent,
        )

    def enqueue(self, peer: Peer) -> dict[str, float]:
        """Microseconds a message in the application; nobody relays meanwhile."""
        peer.install(self.stage)
        self.stage.settle()
        peer.enqueue_us(self.stage, min(self.sizes.enqueued, 100))  # fills the server's caches
        return {name: round(us, 1) for name, us in peer.enqueue_us(self.stage, self.sizes.enqueued).items()}

    def _run(self, peer: Peer, topic: str, folder: Path) -> AbstractContextManager[Relay]:
        command = peer.command(self.stage, topic, folder)
        return running(command, folder, peer.environment(self.stage, topic), answers=peer.answers)

    def _groups(self, relays: list[Relay]) -> cpu.Groups:
        mysqld, broker = self.stage.mysql.pid, self.stage.kafka.pid
        return {"mysqld": [mysqld], "broker": [broker], "relay": [relay.pid for relay in relays]}

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="peer-", dir=self.stage.folder))

    def _wait_until_nothing_is_left(self, peer: Peer, relay: Relay) -> None:
        """What a relay does for messages in the topic is a part of its CPU time; what it retries later is not lost."""
        deadline = time.monotonic() + _LEFT_DEADLINE_S
        with self.stage.connect(peer.database) as session:
            while session.value(peer.left):
                relay.check()
                if time.monotonic() > deadline:
                    raise BenchError(f"{peer.title}: {session.value(peer.left)} messages are left over")
                time.sleep(0.05)
