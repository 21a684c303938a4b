"""Servers that are gone with their data after use: for a block, or for as long as one command runs."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import kafka, kafka_install, mysql, mysql_install, process
from .errors import ServerError
from .paths import cache_dir
from .progress import step

_ACCOUNT = "outboxd"
_INBOX = "inbox"  # another service's database
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SENT_BY_KERNEL = 0x80  # si_code SI_KERNEL: what a terminal's Ctrl-C carries


@dataclass(frozen=True, slots=True)
class Servers:
    """Running servers, and a folder for what else is written; it goes with them."""

    mysql: mysql.RunningMySQL
    kafka: kafka.RunningKafka | None
    folder: Path


@contextmanager
def servers(
    mysql_programs: mysql_install.MySQLInstall, kafka_programs: kafka_install.KafkaInstall | None
) -> Iterator[Servers]:
    """MySQL, durable as it is by default, and Kafka if its programs are given; removed with their data at the end.

    Raises ServerError where a server does not start.
    """
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="throwaway-", dir=cache_dir()))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = _free_ports(3)
        with ThreadPoolExecutor(1) as pool:
            starting = None
            if kafka_programs is not None:
                starting = pool.submit(
                    kafka.start,
                    kafka_programs,
                    folder / "kafka",
                    port=ports[0],
                    controller_port=ports[1],
                    is_measured=True,
                )
                cleanup.callback(_stop, starting)
            database = mysql.start(mysql_programs, folder / "mysql", port=ports[2])
            cleanup.callback(database.stop)
        yield Servers(database, starting.result() if starting is not None else None, folder)


def run(command: Sequence[str], *, with_kafka: bool) -> int:
    """Run `command` with the servers' addresses in its environment; returns its exit code.

    A command ended by signal N gives 128 + N, as in a shell. Servers and data are removed in any
    case. Raises ServerError if a server cannot be had or the command cannot be run.
    """
    mysql_programs = mysql_install.find()
    kafka_programs = kafka_install.find() if with_kafka else None
    with ExitStack() as cleanup:
        with step("starting MySQL and Kafka" if with_kafka else "starting MySQL"):
            running = cleanup.enter_context(servers(mysql_programs, kafka_programs))
        password = secrets.token_hex(16)
        running.mysql.create_database(_ACCOUNT, _ACCOUNT, password)
        running.mysql.create_database(_INBOX, _ACCOUNT, password)
        urls = {name: running.mysql.url(_ACCOUNT, password, name) for name in (_ACCOUNT, _INBOX)}
        environment = {**os.environ, "OUTBOXD_MYSQL_URL": urls[_ACCOUNT], "INBOX_MYSQL_URL": urls[_INBOX]}
        if running.kafka is not None:
            environment["OUTBOXD_KAFKA_BOOTSTRAP"] = running.kafka.bootstrap
        return _supervise(command, environment)


def _stop(starting: Future[kafka.RunningKafka]) -> None:
    if starting.exception() is None:
        starting.result().stop()


def _free_ports(count: int) -> list[int]:
    """Different ports: servers that start side by side would find the same one free."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(process.free_port())
    return list(ports)


def _supervise(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command`, pass signals on to it, and return its exit code.

    Signals are taken one by one instead of by handlers, so none is lost while the command starts,
    and none interrupts the clean-up afterwards: they stay blocked from here on. A Ctrl-C is not
    passed on, because the terminal has sent it to the command as well.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    watched = {*_PASSED_ON, signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        pid = os.posix_spawnp(
            command[0], list(command), environment, setsigmask=mask, setsigdef=(*_PASSED_ON, signal.SIGPIPE)
        )
    except OSError as error:
        raise ServerError(f"{command[0]} cannot be run: {error.strerror}") from None
    while True:
        received = signal.sigwaitinfo(watched)
        if received.si_signo != signal.SIGCHLD:
            if received.si_code != _SENT_BY_KERNEL:
                os.kill(pid, received.si_signo)
            continue
        ended, wait_status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(wait_status)
            return code if code >= 0 else 128 - code
