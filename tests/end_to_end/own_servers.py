"""Servers of one test session that are stopped, killed and started again on their ports."""

import os
import random
import signal
from pathlib import Path

from outboxd import migrations
from outboxd.database import Database as Driver
from tests.driver.support import settings
from tests.servers import kafka, mysql, process
from tests.servers.kafka_install import KafkaInstall
from tests.servers.mysql_install import MySQLInstall
from tests.sql.support import Database, eventually

_NAME = "outboxd"
_PASSWORD = "secret"
_SMALL = ("--innodb-buffer-pool-size=128M", "--innodb-fast-shutdown=2")
# As a mock cluster does: short sessions, so that a member that was killed is missed within a second.
_QUICK = {"group.min.session.timeout.ms": "500"}


def _lasting_port() -> int:
    """A free port that no outgoing connection gets while the server is away: one below Linux's range for those."""
    return next(port for port in random.sample(range(20_000, 32_000), 12_000) if process.port_is_free(port))


class OwnKafka:
    """A real broker; it keeps its port and its data."""

    def __init__(self, install: KafkaInstall, folder: Path) -> None:
        self._install, self._folder = install, folder
        self._port = _lasting_port()
        self._running: kafka.RunningKafka | None = None
        self.bootstrap = f"{process.LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._running is None:
            self._running = kafka.start(self._install, self._folder, port=self._port, properties=_QUICK)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._running is not None:
            self._running.stop()
            self._running = None


class OwnMySQL:
    """A real MySQL; it keeps its port and its data."""

    def __init__(self, install: MySQLInstall, folder: Path) -> None:
        self._install, self._folder = install, folder
        self._port = _lasting_port()
        self._running: mysql.RunningMySQL | None = None
        self.url = f"mysql://{_NAME}:{_PASSWORD}@{process.LOOPBACK}:{self._port}/{_NAME}"

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._running is None:
            self._running = mysql.start(self._install, self._folder / "data", port=self._port, extra=_SMALL)

    def prepare(self) -> None:
        """Make the database and the account, and install the outbox."""
        assert self._running is not None
        self._running.create_database(_NAME, _NAME, _PASSWORD)
        with Driver(settings(self.url)) as driver:
            assert list(migrations.apply(driver))

    def stop(self) -> None:
        """Shut it down, if it runs."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def kill(self) -> None:
        """End it as a power cut does, and wait until the last of its threads has let go of the port."""
        self._send(signal.SIGKILL)
        self.stop()
        eventually(lambda: process.port_is_free(self._port))

    def freeze(self) -> None:
        """Let it answer nothing, and close nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def connect(self) -> Database:
        """A session."""
        return Database(host=process.LOOPBACK, port=self._port, user=_NAME, password=_PASSWORD, database=_NAME)

    def _send(self, number: signal.Signals) -> None:
        assert self._running is not None
        os.kill(self._running.pid, number)
