"""Servers that may be stopped, killed, frozen and started again: they keep their port and their data."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from . import mysql, process
from .errors import ServerError
from .mysql_install import MySQLInstall

_PORT_DEADLINE_S = 30.0


class LastingMySQL:
    """A MySQL on one port and one data folder, whose root has no password; `extra` are further options of mysqld."""

    host = process.LOOPBACK

    def __init__(self, install: MySQLInstall, data_dir: Path, extra: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self.port = process.lasting_port()
        self._install, self._extra = install, list(extra)
        self._running: mysql.RunningMySQL | None = None

    @property
    def running(self) -> mysql.RunningMySQL:
        """The server process. Raises ServerError while there is none."""
        if self._running is None:
            raise ServerError("MySQL is not running")
        return self._running

    @property
    def is_alive(self) -> bool:
        """Whether the server process exists: it may have ended by itself."""
        return self._running is not None and process.identity(self._running.pid) == self._running.identity

    def start(self, more: Sequence[str] = ()) -> None:
        """Start it, with more options for this time, if it does not run: one that has ended by itself, too."""
        if self._running is not None and not self.is_alive:
            self.stop()
        if self._running is None:
            self._running = mysql.start(self._install, self.data_dir, port=self.port, extra=[*self._extra, *more])

    def stop(self) -> None:
        """Shut it down, if it runs."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def kill(self) -> None:
        """End it as a power cut does, and wait until the last of its threads has let go of the port."""
        self._send(signal.SIGKILL)
        self.stop()
        wait_for_port(self.port)

    def end(self) -> None:
        """As kill, and harmless where it does not run: for the end of all, when nobody wants its data."""
        if self.is_alive:
            self.kill()
        self.stop()

    def freeze(self) -> None:
        """Let it answer nothing, and close nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        os.kill(self.running.pid, number)


def wait_for_port(port: int) -> None:
    """Wait until a killed server's port can be listened on again. Raises ServerError after a deadline."""
    end = time.monotonic() + _PORT_DEADLINE_S
    while not process.port_is_free(port):
        if time.monotonic() > end:
            raise ServerError(f"port {port} on {process.LOOPBACK} is still taken by what was killed")
        time.sleep(0.02)
