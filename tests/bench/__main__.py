"""The command line: ``python -m tests.bench [--only KEY,...] [--messages N] [--table N] [--quick]``.

Exit codes: 0 every target reached, 1 one was missed, 2 wrong usage or a measurement could not be made.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.bench.run import MEASUREMENTS, Options, run
from tests.bench.sizes import QUICK, Sizes
from tests.bench.stage import BenchError
from tests.kit import chat
from tests.servers import process
from tests.servers.errors import ServerError
from tests.servers.paths import CHECKOUT

_KEYS = [key for measurement in MEASUREMENTS for key in measurement.keys]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; returns the exit code."""
    options = _parser().parse_args(arguments)
    process.leave_on_signals()
    sizes = QUICK if options.quick else Sizes()
    try:
        reached = run(
            Options(
                keys=options.only,
                sizes=replace(sizes, messages=options.messages or sizes.messages, table=options.table or sizes.table),
                judged=not options.quick,
                settings=dict(options.set),
                chat_file=options.chat,
                folder=options.out,
            ),
            Console(),
        )
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0 if reached else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure outboxd on this machine.")
    parser.add_argument("--only", type=_keys, default=_KEYS, metavar="KEY[,KEY]", help=f"of {', '.join(_KEYS)}")
    parser.add_argument("--messages", type=_count, metavar="N", help="the backlog (default: 50000)")
    parser.add_argument("--table", type=_count, metavar="N", help="the large table of size_growth (default: 1000000)")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is judged")
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a setting of the daemon"
    )
    parser.add_argument("--chat", type=Path, default=chat.default_file(), metavar="FILE", help="JSON lines of chat")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "build", metavar="FOLDER", help="default: build")
    return parser


def _keys(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if unknown := set(keys) - set(_KEYS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: no such key; there are {', '.join(_KEYS)}")
    return keys


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 100:
        raise argparse.ArgumentTypeError(f"{text} is no number of at least 100")
    return int(text)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
