"""Runs one command with servers of its own, which are gone when it ends."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.servers import kafka, kafka_install, mysql, mysql_install
from tests.servers.errors import ServerError
from tests.servers.paths import cache_dir
from tests.servers.progress import step

_ACCOUNT = "outboxd"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SENT_BY_KERNEL = 0x80  # si_code SI_KERNEL: what a terminal's Ctrl-C carries


def run(command: Sequence[str], *, with_kafka: bool) -> int:
    """Run `command` with the servers' addresses in its environment; returns its exit code.

    A command ended by signal N gives 128 + N, as in a shell. Servers and data are removed in any
    case. Raises ServerError if a server cannot be had or the command cannot be run.
    """
    mysql_programs = mysql_install.find()
    kafka_programs = kafka_install.find() if with_kafka else None
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="throwaway-", dir=cache_dir()))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = dict(os.environ)
        with step("starting MySQL"):
            database = mysql.start(mysql_programs, folder / "mysql")
            cleanup.callback(database.stop)
        password = secrets.token_hex(16)
        database.create_database(_ACCOUNT, _ACCOUNT, password)
        environment["OUTBOXD_MYSQL_URL"] = database.url(_ACCOUNT, password, _ACCOUNT)
        if kafka_programs is not None:
            with step("starting Kafka"):
                broker = kafka.start(kafka_programs, folder / "kafka")
                cleanup.callback(broker.stop)
            environment["OUTBOXD_KAFKA_BOOTSTRAP"] = broker.bootstrap
        return _supervise(command, environment)


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
