"""The command line: ``python tests/servers up | down | status | mysql | fetch | with-mysql``."""

import argparse
import signal
from collections.abc import Sequence

from . import development, kafka_install, mysql_install, process, throwaway
from .errors import ServerError
from .progress import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A failure is one line on stderr."""
    options = _parser().parse_args(arguments)
    process.leave_on_signals()  # by an exception, so that half-started servers are ended
    try:
        return _run(options)
    except ServerError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "up":
            development.up(
                with_kafka=not options.no_kafka, mysql_port=options.mysql_port, kafka_port=options.kafka_port
            )
        case "down":
            development.down()
        case "status":
            print("\n".join(development.status()))
        case "mysql":
            development.open_client()
        case "fetch":
            mysql_install.find()
            if not options.no_kafka:
                kafka_install.find()
        case "with-mysql":
            return throwaway.run(options.program, with_kafka=options.kafka)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/servers", description="MySQL and Kafka without root.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start MySQL and Kafka, addresses in .cache/servers.env")
    up.add_argument("--no-kafka", action="store_true", help="start MySQL only")
    up.add_argument("--mysql-port", type=_port, metavar="N", help="default: any free port")
    up.add_argument("--kafka-port", type=_port, metavar="N", help="default: any free port")
    commands.add_parser("down", help="stop what `up` started; the data stays in .cache/servers")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("mysql", help="open the mysql client on the database of `up`")
    fetch = commands.add_parser("fetch", help="only download")
    fetch.add_argument("--no-kafka", action="store_true", help="fetch MySQL only")
    usage = "%(prog)s [-h] [--kafka] -- PROGRAM [ARGUMENT ...]"
    within = commands.add_parser("with-mysql", help="run a program with a throwaway MySQL", usage=usage)
    within.add_argument("--kafka", action="store_true", help="with a throwaway Kafka, too")
    within.add_argument("program", nargs="+", metavar="PROGRAM", help="the program and its arguments")
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port number")
    return int(text)
