"""Server processes: started as daemons, recognised for certain, and ended."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .errors import ServerError

LOOPBACK = "127.0.0.1"
_POLL_S = 0.05
_LOG_LINES = 15


def spawn(command: Sequence[str], log: Path) -> int:
    """Start `command` in a session of its own, its output appended to `log`; returns its pid.

    The process outlives this one and no Ctrl-C of the terminal reaches it.
    Raises ServerError if the program cannot be run.
    """
    with log.open("ab") as output, open(os.devnull, "rb") as nothing:
        actions = [
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        try:
            return os.posix_spawn(
                command[0],
                list(command),
                os.environ,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
            )
        except OSError as error:
            raise ServerError(f"{command[0]} cannot be run: {error.strerror}") from None


def leave_on_signals() -> None:
    """Let SIGTERM and SIGHUP be an exception in the main thread, so that servers which it started are ended."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def identity(pid: int) -> str | None:
    """What tells this process from any later one with the same pid; None if it does not run.

    On Linux that is the boot and the tick of its start; elsewhere what ps says of its start.
    A zombie counts as not running.
    """
    _reap(pid)
    if not Path("/proc/self/stat").exists():
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before ")" may hold spaces
    state, start_ticks = fields[0], fields[19]
    if state in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{start_ticks}"


def stop(pid: int, known_as: str, deadline_s: float) -> None:
    """End the process `pid` if it still is the one `known_as`: SIGTERM, then SIGKILL after the deadline."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if identity(pid) != known_as:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + deadline_s
        while identity(pid) == known_as and time.monotonic() < end:
            time.sleep(_POLL_S)


def pause(pid: int, what: str, end: float, log: Path) -> None:
    """Wait a moment for a starting server.

    Raises ServerError with the end of `log` if the process is gone or the time `end` has passed.
    """
    if identity(pid) is None:
        raise ServerError(f"{what} ended while starting; the end of {log}:\n{tail(log)}")
    if time.monotonic() > end:
        raise ServerError(f"{what} is not ready in time; the end of {log}:\n{tail(log)}")
    time.sleep(_POLL_S)


def tail(log: Path) -> str:
    """The last lines of a log file, or a note that there is none."""
    try:
        with log.open(errors="replace") as lines:
            return "".join(deque(lines, _LOG_LINES)).rstrip()
    except OSError:
        return "(no log)"


def free_port() -> int:
    """A port of the loopback interface that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def lasting_port() -> int:
    """A free port that no outgoing connection gets while its server is away: one below Linux's range for those."""
    return next(port for port in random.sample(range(20_000, 32_000), 12_000) if port_is_free(port))


def port_is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(port: int) -> None:
    """Raise ServerError if `port` cannot be listened on."""
    if not port_is_free(port):
        raise ServerError(f"port {port} on {LOOPBACK} is taken")


def _reap(pid: int) -> None:
    """Collect `pid` if it is an ended child of ours, which would stay a zombie otherwise."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
