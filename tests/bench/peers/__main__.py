"""The command line: ``python -m tests.bench.peers [--only PEER,...] [--messages N] [--repeats N]``.

Exit codes: 0 all were measured, 1 one could not be had or failed, 2 wrong usage, or no servers.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.bench.peers.peer import Peer
from tests.bench.peers.run import PEERS, Options, run
from tests.bench.stage import BenchError
from tests.kit import chat
from tests.servers import process
from tests.servers.errors import ServerError
from tests.servers.paths import CHECKOUT

_MESSAGES = 47_226
_KEYS = ", ".join(peer.key for peer in PEERS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; returns the exit code."""
    given = _parser().parse_args(arguments)
    process.leave_on_signals()
    try:
        reached = run(Options(given.only, given.messages, given.repeats, given.chat, given.out), Console())
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0 if reached else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description="Measure outboxd and its peers.")
    parser.add_argument("--only", type=_peers, default=PEERS, metavar="PEER[,PEER]", help=f"of {_KEYS}")
    parser.add_argument("--messages", type=_count, default=_MESSAGES, metavar="N", help=f"default: {_MESSAGES}")
    parser.add_argument("--repeats", type=_count, default=3, metavar="N", help="of each backlog (default: 3)")
    parser.add_argument("--chat", type=Path, default=chat.default_file(), metavar="FILE", help="JSON lines of chat")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "build", metavar="FOLDER", help="default: build")
    return parser


def _peers(text: str) -> list[Peer]:
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if unknown := set(keys) - {peer.key for peer in PEERS}:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: no such peer; there are {_KEYS}")
    return [peer for peer in PEERS if peer.key in keys]


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
