"""The command of a release, the present one or the made-up next one, on one database; and the files of both."""

import re
import subprocess
from pathlib import Path

from outboxd.schema import files
from tests.deploy import next_outboxd
from tests.deploy.next_outboxd import own_migrations
from tests.kit.command import OUTBOXD, Command, Setting, run, the_one_line
from tests.kit.daemon import QUICK, Daemon
from tests.kit.installing import mysql_url
from tests.kit.kafka import QUICK_GROUP
from tests.kit.server import SQL_FOLDER, Server
from tests.kit.waiting import eventually

NAME = "outboxd_upgrade"
ACCOUNT = "outboxd_upgrader"
PRESENT = files.in_folder(SQL_FOLDER)
ALL = [*PRESENT, *own_migrations()]
PRE = [migration.file for migration in own_migrations() if not migration.is_post]
POST = [migration.file for migration in own_migrations() if migration.is_post]


class Release:
    """The command of a release, on a database: migrations by its owner, daemons by the account."""

    def __init__(self, server: Server, bootstrap: str, folder: Path, *, is_next: bool, database: str = NAME) -> None:
        self.server = server
        self._owner: dict[str, Setting] = {"mysql_url": mysql_url(server, database)}
        self._daemon: dict[str, Setting] = {
            "mysql_url": mysql_url(server, database, ACCOUNT),
            "kafka_bootstrap": bootstrap,
            "kafka_options": QUICK_GROUP,
            "topics": "chat",
            "metrics_address": "",
            **QUICK,
        }
        self._folder = folder
        self._command: Command = next_outboxd.COMMAND if is_next else (OUTBOXD,)
        self.started: list[Daemon] = []

    def migrate(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`outboxd migrate`."""
        return self._run(self._owner, "migrate", *options)

    def applies(self, *options: str) -> list[str]:
        """The files that `outboxd migrate` applies, run again where it could not have the lock it needs."""
        applied: list[str] = []

        def is_done() -> bool:
            done = self.migrate(*options)
            applied.extend(re.findall("applied (V.*)", done.stdout))
            assert done.returncode == 0 or "Lock wait timeout" in done.stderr, done.stderr
            return done.returncode == 0

        eventually(is_done, seconds=60)
        return applied

    def states(self) -> dict[str, str]:
        """What `outboxd migrate --status` says of each file."""
        cells = (re.split(r"  +", line.strip()) for line in self.migrate("--status").stdout.splitlines())
        return {file: state for _, file, *_, state in cells}

    def refuses_to_start(self) -> str:
        """What `outboxd run` says instead."""
        return the_one_line(self._run(self._daemon, "run"))

    def starts(self) -> Daemon:
        """`outboxd run`, once it works."""
        daemon = Daemon(self._folder, self._daemon, command=self._command)
        daemon.start()
        self.started.append(daemon)
        daemon.says("started")
        return daemon

    def _run(self, settings: dict[str, Setting], *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(self._folder, settings, arguments, command=self._command)
