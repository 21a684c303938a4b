"""One run over all peers, in turns; one that cannot be had, or fails, is said in a line, and the others go on."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import mysql.connector
from confluent_kafka import KafkaException
from rich.console import Console

from tests.bench import cpu, environment, sizes
from tests.bench.peers import report
from tests.bench.peers.debezium import Debezium, DebeziumTuned
from tests.bench.peers.gruelbox import Gruelbox
from tests.bench.peers.legacy import Legacy
from tests.bench.peers.measure import Backlog, Bench, Sizes
from tests.bench.peers.outboxd import Outboxd, OutboxdWithEffect
from tests.bench.peers.peer import Missing, Peer
from tests.bench.peers.topic import warm_up
from tests.bench.peers.watermill import Watermill, WatermillPubSub
from tests.bench.stage import BenchError, prepare, throwaway_servers
from tests.kit import chat
from tests.kit.waiting import NotInTime
from tests.servers.throwaway import Servers

PEERS: tuple[Peer, ...] = (
    Outboxd(),
    OutboxdWithEffect(),
    DebeziumTuned(),
    Debezium(),
    Watermill(),
    WatermillPubSub(),
    Gruelbox(),
    Legacy(),
)

_Made = TypeVar("_Made")
_FAILURES = (Missing, BenchError, NotInTime, TimeoutError, KafkaException, mysql.connector.Error)


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and where to put the report."""

    peers: Sequence[Peer]
    messages: int
    repeats: int
    chat_file: Path
    folder: Path


def run(
    options: Options, console: Console, servers: Callable[[], AbstractContextManager[Servers]] = throwaway_servers
) -> bool:
    """Measure and report; returns whether all could be measured."""
    failures: list[str] = []
    peers = [peer for peer in options.peers if _attempt(peer, "building", _build, failures)]
    wanted = Sizes.of(options.messages)
    # A message's number is its user's, so that it can be told in any topic.
    lines = [replace(line, user_id=number) for number, line in enumerate(chat.read(options.chat_file, wanted.chat), 1)]
    _say("starting MySQL and Kafka")
    with servers() as running:
        stage = prepare(running, sizes.Sizes(), lines, {})
        _say("warming up the broker")
        warm_up(stage, options.messages)
        about = environment.describe(stage, options.chat_file, [peer.key for peer in peers])
        pids = (stage.mysql.pid, stage.kafka.pid)
        before = cpu.ours(pids)
        rows = _measure(Bench(stage, wanted), peers, options.repeats, failures)
        about["machine"]["cores_busy_with_others"] = round(cpu.by_others(before, cpu.ours(pids)), 2)
    about |= {"date": report.today(), "messages": options.messages, "repeats": options.repeats}
    report.write(options.folder, rows, about, console)
    for failure in failures:
        console.print(failure, style="bold red", highlight=False, soft_wrap=True)
    return not failures


def _measure(bench: Bench, peers: Sequence[Peer], repeats: int, failures: list[str]) -> list[report.Row]:
    backlogs: dict[str, list[Backlog]] = {peer.key: [] for peer in peers}
    for turn in range(repeats):
        for peer in peers:
            made = _attempt(peer, f"backlog ({turn + 1} of {repeats})", bench.backlog, failures)
            backlogs[peer.key] += [made] if made else []
    return [
        report.Row(
            peer,
            backlogs[peer.key],
            _attempt(peer, "latency, and overlapping transactions", bench.live, failures),
            _attempt(peer, "enqueuing", bench.enqueue, failures) or {},
            _attempt(peer, "effect", bench.effect, failures) if peer.has_effect else None,
        )
        for peer in peers
    ]


def _build(peer: Peer) -> bool:
    peer.build()
    return True


def _attempt(peer: Peer, what: str, make: Callable[[Peer], _Made], failures: list[str]) -> _Made | None:
    """Do it; what cannot be done is a line of the report."""
    _say(f"{peer.title}: {what}")
    try:
        return make(peer)
    except _FAILURES as error:
        failures.append(f"{peer.title} was not measured ({what}): {error}")
        return None


def _say(text: str) -> None:
    print(f"bench: {text} ...", file=sys.stderr, flush=True)
