"""What every fault needs: private servers, and for each a database, topics and processes of its own."""

import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.faults.daemon import FaultyDaemon
from tests.faults.handlers import PLAIN
from tests.faults.launcher import Faults
from tests.kit import kafka
from tests.kit.command import Setting
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import NotInTime, eventually
from tests.servers import kafka_install, mysql_install
from tests.servers.errors import ServerError
from tests.servers.kafka_cluster import KafkaCluster
from tests.servers.lasting import LastingMySQL
from tests.servers.paths import cache_dir

LEASE_S = 2
STOP_DEADLINE_S = 20
SESSION_TIMEOUT_S = 1.5
ACCOUNT = "outboxd_faults"
_TROUBLE_LENGTH = 100
_SETTINGS: dict[str, str] = {
    "lease_seconds": str(LEASE_S),
    "wait_ms": "200",
    "stop_seconds": "5",
    "metrics_address": "",
}
# Milliseconds; a broker allows less than 6 seconds only where it is told to.
GROUP = {"session.timeout.ms": int(SESSION_TIMEOUT_S * 1000), "heartbeat.interval.ms": 300, "fetch.wait.max.ms": 50}
_BROKER = {"group.min.session.timeout.ms": "1000"}


class FaultError(Exception):
    """A fault could not be shown, or what should follow it did not come; the message says what was waited for."""


@dataclass
class Scene:
    """A database with the schema, topics, and the daemons that were started on them."""

    database: str
    server: Server
    password: str
    bootstrap: str
    topics: Sequence[str]
    folder: Path
    daemons: list[FaultyDaemon] = field(default_factory=list)
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """A session for the one thread that works on the scene; another one once the server has dropped it."""
        if self._session is None or not self._session.is_connected:
            self._session = self.server.connect(self.database)
        return self._session

    @property
    def url(self) -> str:
        """Where daemons find the database."""
        return f"mysql://{ACCOUNT}:{self.password}@{self.server.host}:{self.server.port}/{self.database}"

    def start(self, only: str, name: str, *, faults: Faults | None = None, **settings: Setting) -> FaultyDaemon:
        """Start `outboxd run --only relay` or consumer, logging debug lines; it is gone when the scene ends."""
        options = {"mysql_url": self.url, **self.settings(name), **settings}
        daemon = FaultyDaemon(name, only, options, faults or Faults(), self.folder)
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def settings(self, name: str) -> dict[str, Setting]:
        """Those of a daemon, other than its database."""
        return {
            "kafka_bootstrap": self.bootstrap,
            "kafka_options": GROUP,
            "topics": list(self.topics),
            "group": self.database,
            "name": name,
            **_SETTINGS,
        }

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until the condition holds. Raises FaultError after the deadline, or when a daemon ends by itself."""
        try:
            eventually(condition, seconds, what, check=self._nobody_ended, pause=0.02)
        except NotInTime as late:
            raise FaultError(f"{late}; {self.counts()}; logs are in {self.folder}") from None

    def _nobody_ended(self) -> None:
        for daemon in self.daemons:
            if daemon.ended_by_itself:
                raise FaultError(f"{daemon.name} ended by itself; its log ends:\n{daemon.log_end}")

    def wait_until_final(self, seconds: float = 120) -> None:
        """Wait until every message is consumed or dead."""
        self.wait_until(lambda: not self._unfinished(), "every message is final", seconds)

    def counts(self) -> dict[str, int]:
        """Messages by status."""
        rows = self.session.rows("SELECT status, COUNT(*) AS messages FROM agent_outbox_messages GROUP BY status")
        return {row["status"]: row["messages"] for row in rows}

    def records(self) -> int:
        """How many records the topics hold."""
        return kafka.count_records(self.bootstrap, self.topics)

    def retries(self) -> int:
        """How many retries all messages have used up."""
        return int(self.session.value("SELECT COALESCE(SUM(retry_count), 0) FROM agent_outbox_messages"))

    def troubles(self) -> str:
        """What the daemons have logged as warnings or errors, other than what was injected, and how often."""
        counts: Counter[str] = Counter()
        for daemon in self.daemons:
            for event in daemon.events():
                text = str(event.get("reason") or event.get("error") or "")
                if event["level"] in {"warning", "error"} and "injected" not in text:
                    counts[": ".join(filter(None, [event["event"], text[:_TROUBLE_LENGTH]]))] += 1
        return "; ".join(f"{count} x {what}" for what, count in counts.most_common()) or "no other warnings"

    def stop(self) -> dict[str, int]:
        """Stop all daemons by SIGTERM; returns the exit codes by name."""
        for daemon in self.daemons:
            daemon.terminate()
        return {daemon.name: daemon.wait_or_kill(STOP_DEADLINE_S) for daemon in self.daemons}

    def _unfinished(self) -> bool:
        return bool(
            self.session.value(
                "SELECT EXISTS (SELECT 1 FROM agent_outbox_messages WHERE status IN ('pending', 'published'))"
            )
        )


@dataclass(frozen=True)
class Stage:
    """Running servers, on which scenes are set one after the other."""

    mysql: LastingMySQL
    kafka: KafkaCluster
    folder: Path
    address: tuple[str, int] | None = None
    """Host and port where clients reach MySQL; None: its own."""
    server: type[Server] = Server
    """How the checks reach it there."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def restore(self) -> None:
        """Start what a fault has left stopped. Raises ServerError where that cannot be done."""
        self.mysql.start()
        self.kafka.start()

    @contextmanager
    def scene(self, *, topics: int = 1, partitions: int = 4, shared: Sequence[str] = ()) -> Iterator[Scene]:
        """A new database, topics and group; all processes that were started in it are gone at the end.

        shared: topics of another scene, to be used instead.
        """
        name = f"outboxd_faults_{next(self._numbers)}"
        host, port = self.address or (self.mysql.host, self.mysql.port)
        server = self.server(host, port, user="root")
        password = secrets.token_hex(8)
        with _not_durable(server):
            server.create_database(name)
            server.migrate(name)
        names = shared or [f"{name}.chat-{number}" for number in range(1, topics + 1)]
        if not shared:
            kafka.create_topics(self.kafka.bootstrap, names, partitions, self.kafka.replicas)
        folder = self.folder / name
        folder.mkdir()
        scene = Scene(name, server, password, self.kafka.bootstrap, names, folder)
        scene.session.execute(
            f"CREATE USER IF NOT EXISTS {ACCOUNT};"
            f"ALTER USER {ACCOUNT} IDENTIFIED BY '{password}';"
            f"GRANT EXECUTE ON {name}.* TO {ACCOUNT}"
        )
        scene.session.register(PLAIN, "outbox_internal_write_chat_history_v1")
        try:
            yield scene
        finally:
            for daemon in scene.daemons:
                daemon.kill()


@contextmanager
def _not_durable(server: Server) -> Iterator[None]:
    """Let the server sync nothing for as long as it is only prepared, which takes a third of the time then."""
    settings = "SET GLOBAL sync_binlog = {}, GLOBAL innodb_flush_log_at_trx_commit = {}"
    with server.connect("mysql") as session:
        session.execute(settings.format(0, 2))
        yield
        session.execute(settings.format(1, 1))


@contextmanager
def open_stage(folder: Path, say: Callable[[str], None], brokers: int = 1) -> Iterator[Stage]:
    """Start MySQL, durable as it is by default, and Kafka; both are gone at the end, the folder with the logs stays.

    Raises ServerError where a server cannot be had.
    """
    mysql_programs, kafka_programs = mysql_install.find(), kafka_install.find()
    say(f"starting MySQL and {brokers} Kafka {'nodes' if brokers > 1 else 'node'}")
    with ExitStack() as cleanup:
        # The servers' data is large, and of no use afterwards.
        data = Path(tempfile.mkdtemp(prefix="faults-", dir=cache_dir()))
        cleanup.callback(shutil.rmtree, data, ignore_errors=True)
        database = LastingMySQL(mysql_programs, data / "mysql", ["--innodb-print-all-deadlocks=ON"])
        cluster = KafkaCluster(kafka_programs, data / "kafka", brokers, _BROKER)
        cleanup.callback(_end, database, cluster)
        cleanup.callback(_keep_log, data / "mysql" / "error.log", folder / "mysql.log")
        with ThreadPoolExecutor() as pool:
            for starting in [pool.submit(database.start), pool.submit(cluster.start)]:
                starting.result()
        yield Stage(database, cluster, folder)


def _keep_log(log: Path, kept: Path) -> None:
    with suppress(OSError):  # not one where the server has not begun to start
        shutil.copy(log, kept)


def _end(database: LastingMySQL, cluster: KafkaCluster) -> None:
    """By force: nobody will want the data."""
    with suppress(ServerError):
        database.kill()
    cluster.kill()
