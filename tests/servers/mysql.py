"""Starts a private MySQL on a data folder, and prepares databases in it."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from . import process
from .errors import ServerError
from .mysql_install import MySQLInstall
from .paths import cache_dir

START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 60.0
_LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True)
class RunningMySQL:
    """A MySQL that accepts connections, from this machine only: its root has no password."""

    pid: int
    host: str
    port: int
    socket: Path
    data_dir: Path
    client: Path
    identity: str

    def url(self, user: str, password: str, database: str) -> str:
        """The address of `database` as outboxd's configuration wants it."""
        account = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"mysql://{account}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str, user: str, password: str) -> None:
        """Create the database (utf8mb4) and an account with all rights on it; what exists is kept.

        The password becomes the account's even if it had another. Raises ServerError if MySQL refuses.
        """
        for word in (name, user):
            if not re.fullmatch(r"\w+", word, re.ASCII):
                raise ServerError(f"{word!r} is no plain name: only letters, digits and _ are allowed")
        secret = password.replace("\\", "\\\\").replace("'", "\\'")
        statements = [f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4"]
        for host in (self.host, "localhost"):
            account = f"'{user}'@'{host}'"
            statements.append(f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{secret}'")
            statements.append(f"ALTER USER {account} IDENTIFIED BY '{secret}'")
            statements.append(f"GRANT ALL ON `{name}`.* TO {account}")
        self._execute(";\n".join(statements))

    def stop(self) -> None:
        """Shut it down, by force after STOP_DEADLINE_S; harmless if it has ended already."""
        process.stop(self.pid, self.identity, STOP_DEADLINE_S)
        remove_socket(self.socket)

    def _execute(self, sql: str) -> None:
        command = [str(self.client), f"--socket={self.socket}", "--user=root", "--batch"]
        environment = {name: value for name, value in os.environ.items() if name != "MYSQL_PWD"}  # root has none
        done = subprocess.run(command, input=sql, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"MySQL refused: {done.stderr.strip()}")


def start(install: MySQLInstall, data_dir: Path, *, extra: Sequence[str] = (), port: int | None = None) -> RunningMySQL:
    """Start MySQL on `data_dir`, which is initialized if empty or missing, and wait until it is ready.

    It is as durable as MySQL is by default: every commit is synced, and so is the binary log.
    `extra` are further mysqld options, which win over the ones given here.
    Raises ServerError, with the end of the error log, if it does not start within START_DEADLINE_S.
    """
    if port is None:
        port = process.free_port()
    process.require_free(port)
    data_dir = data_dir.absolute()
    _initialize(install, data_dir)
    log = data_dir / "error.log"
    socket_path = _short_socket_path()
    command = [
        str(install.mysqld),
        f"--datadir={data_dir}",
        f"--port={port}",
        f"--socket={socket_path}",
        f"--pid-file={data_dir / 'mysqld.pid'}",
        f"--log-error={log}",
        "--server-id=1",
        "--log-bin=binlog",
        "--innodb-buffer-pool-size=1G",
        "--innodb-redo-log-capacity=1G",
        *extra,
    ]
    try:
        pid = process.spawn(command, log)
        known_as = process.identity(pid) or ""
        try:
            _wait_until_ready(pid, socket_path, log)
        except BaseException:
            process.stop(pid, known_as, STOP_DEADLINE_S)
            raise
    except BaseException:
        remove_socket(socket_path)
        raise
    return RunningMySQL(pid, process.LOOPBACK, port, socket_path, data_dir, install.mysql, known_as)


def remove_socket(path: Path) -> None:
    """Remove the socket's private folder, which a killed server leaves behind."""
    shutil.rmtree(path.parent, ignore_errors=True)


def _initialize(install: MySQLInstall, data_dir: Path) -> None:
    """Make a new data folder; it gets its name last, so that a half-made one is never used."""
    if data_dir.is_dir() and any(data_dir.iterdir()):
        return
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    fresh = data_dir.with_name(f"{data_dir.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    # Without auto.cnf, which has the server's UUID: each makes one of its own.
    shutil.copytree(_empty(install), fresh, ignore=shutil.ignore_patterns("auto.cnf"))
    if data_dir.is_dir():
        data_dir.rmdir()
    fresh.rename(data_dir)


def _empty(install: MySQLInstall) -> Path:
    """A data folder without data, made once for these programs: a copy takes a tenth of the time."""
    programs = zlib.crc32(str(install.mysqld).encode())
    empty = cache_dir() / f"mysql-empty-{'.'.join(map(str, install.version))}-{programs:08x}"
    if not empty.is_dir():
        made = Path(tempfile.mkdtemp(prefix="mysql-empty-new-", dir=cache_dir()))
        try:
            command = [str(install.mysqld), "--initialize-insecure", f"--datadir={made}"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServerError(f"mysqld could not make {made}; its last words:\n{done.stderr[-2000:].strip()}")
            with suppress(OSError):  # another process was quicker
                made.rename(empty)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return empty


def _short_socket_path() -> Path:
    """A path in a new private folder, short enough for a unix socket."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        if len(os.fsencode(parent)) + len("/outboxd-12345678/mysql.sock") <= _LONGEST_SOCKET_PATH:
            return Path(tempfile.mkdtemp(prefix="outboxd-", dir=parent)) / "mysql.sock"
    raise ServerError("no folder for temporary files has a path short enough for a unix socket")


def _wait_until_ready(pid: int, socket_path: Path, log: Path) -> None:
    end = time.monotonic() + START_DEADLINE_S
    while not _greets(socket_path):
        process.pause(pid, "MySQL", end, log)


def _greets(socket_path: Path) -> bool:
    """Whether MySQL sends its greeting (protocol version 10), which it does once it takes connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(socket_path))
            return probe.recv(5)[4:5] == b"\x0a"
        except OSError:
            return False
