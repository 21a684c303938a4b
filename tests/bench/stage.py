"""What every measurement needs: private servers, a database with outboxd's schema, and a backlog of real chat."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.bench.chat import Chat
from tests.bench.sizes import Sizes
from tests.servers import kafka, kafka_install, mysql, mysql_install, process
from tests.servers.paths import CHECKOUT, cache_dir
from tests.sql.support import CHAT, Database, Server

DATABASE = "outboxd_bench"
PARTITIONS = 8
_ACCOUNT = "outboxd"
_STAGING = "outboxd_bench_chat"
_ROWS_PER_INSERT = 1000
_CONSUMED_PER_INSERT = 10_000
_SETTLE_DEADLINE_S = 30.0
_SETTLED_PAGES = 20


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Running servers, and a folder for what else is written."""

    mysql: mysql.RunningMySQL
    kafka: kafka.RunningKafka
    folder: Path


@dataclass(frozen=True)
class Stage:
    """Running servers and the chat; measurements run on it one after the other."""

    mysql: mysql.RunningMySQL
    kafka: kafka.RunningKafka
    folder: Path
    chat: Sequence[Chat]
    sizes: Sizes
    settings: dict[str, str]
    password: str
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def server(self) -> Server:
        """The MySQL server, for its root."""
        return Server(host=self.mysql.host, port=self.mysql.port, user="root")

    def connect(self, database: str = DATABASE) -> Database:
        """A session (autocommit)."""
        return self.server.connect(database)

    def install(self, database: str) -> None:
        """Make a database with outboxd's schema, empty."""
        self.server.create_database(database)
        self.server.migrate(database)

    def new_topic(self) -> str:
        """A topic that no measurement before has used; it exists when this returns."""
        topic = f"chat-{next(self._numbers)}"
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
            made.result()
        return topic

    def clear(self, database: str = DATABASE) -> None:
        """Remove all messages, whatever earlier measurements left in the indexes, and performance_schema's counts."""
        with self.connect(database) as session:
            session.execute(
                "TRUNCATE TABLE agent_outbox_messages; TRUNCATE TABLE chat_histories; DELETE FROM outbox_relays;"
                "UPDATE outbox_slots SET relay = NULL;"
                "TRUNCATE TABLE performance_schema.table_io_waits_summary_by_table"
            )

    def fill(self, messages: int, topic: str = "chat", *, database: str = DATABASE, first_id: int = 1) -> None:
        """Add a backlog of the first chat messages, pending and due, with consecutive ids, a millisecond apart.

        It is one transaction, so that daemons that wait for it get it all at once.
        """
        with self.connect(database) as session:
            session.execute("START TRANSACTION")
            for start in range(1, messages + 1, _ROWS_PER_INSERT):
                session.execute(
                    "INSERT INTO agent_outbox_messages (id, biz_type, topic, message_key, payload, status, retry_count,"
                    " max_retry, next_retry_at, created_at, updated_at)"
                    f" SELECT n + %s - 1, '{CHAT}', %s, message_key, payload, 'pending', 0, 20, due, due, due"
                    f" FROM (SELECT *, UTC_TIMESTAMP(6) - INTERVAL (%s - n) * 1000 MICROSECOND AS due"
                    f" FROM {_STAGING}.chat WHERE n BETWEEN %s AND %s) AS chat ORDER BY n",
                    *(first_id, topic, messages, start, min(start + _ROWS_PER_INSERT - 1, messages)),
                )
            session.execute("COMMIT")

    def fill_consumed(self, database: str, messages: int) -> None:
        """Add consumed messages with ids from 1, copies of the chat, as a purge would find them."""
        with self.connect(database) as session:
            for start in range(1, messages + 1, _CONSUMED_PER_INSERT):
                session.execute(
                    "INSERT INTO agent_outbox_messages (id, biz_type, topic, message_key, payload, status, retry_count,"
                    " max_retry, next_retry_at, published_at, consumed_at, created_at, updated_at)"
                    " WITH RECURSIVE numbers (n) AS (SELECT %s UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
                    f" SELECT /*+ SET_VAR(cte_max_recursion_depth = {_CONSUMED_PER_INSERT}) */ numbers.n, '{CHAT}',"
                    "        'chat', chat.message_key, chat.payload, 'consumed', 0, 20, NULL,"
                    "        created + INTERVAL 20000 MICROSECOND, created + INTERVAL 60000 MICROSECOND, created,"
                    "        created + INTERVAL 60000 MICROSECOND"
                    "   FROM (SELECT n, UTC_TIMESTAMP(6) - INTERVAL 1 DAY + INTERVAL n * 1000 MICROSECOND AS created"
                    "           FROM numbers) AS numbers"
                    f"  JOIN {_STAGING}.chat ON chat.n = 1 + MOD(numbers.n, %s) ORDER BY numbers.n",
                    *(start, min(start + _CONSUMED_PER_INSERT - 1, messages), len(self.chat)),
                )

    def drop(self, database: str) -> None:
        """Remove a database that install() made."""
        with self.connect() as session:
            session.execute(f"DROP DATABASE {database}")

    def settle(self) -> None:
        """Wait until MySQL has nothing left over to write, or for half a minute."""
        with self.connect() as session:
            deadline = time.monotonic() + _SETTLE_DEADLINE_S
            while time.monotonic() < deadline:
                dirty = session.row("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")["Value"]
                if int(dirty) <= _SETTLED_PAGES:
                    return
                time.sleep(0.2)

    def daemon_environment(self, topic: str) -> dict[str, str]:
        """The environment of a daemon of this stage: nothing of the caller's own settings enters it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OUTBOXD_")}
        return {
            **inherited,
            "PYTHONPATH": str(self.folder / "code" / "driver"),
            "OUTBOXD_MYSQL_URL": self.mysql.url(_ACCOUNT, self.password, DATABASE),
            "OUTBOXD_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "OUTBOXD_TOPICS": topic,
            "OUTBOXD_GROUP": topic,
            **{f"OUTBOXD_{name.upper()}": value for name, value in self.settings.items()},
        }


@contextmanager
def throwaway_servers() -> Iterator[Servers]:
    """MySQL, durable as it is by default, and Kafka; both are gone, with their data, at the end.

    Raises ServerError where a server cannot be had.
    """
    mysql_programs, kafka_programs = mysql_install.find(), kafka_install.find()
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="bench-", dir=cache_dir()))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = _free_ports(3)
        with ThreadPoolExecutor() as pool:
            starting = pool.submit(
                kafka.start, kafka_programs, folder / "kafka", port=ports[0], controller_port=ports[1]
            )
            cleanup.callback(_stop, starting)
            database = mysql.start(mysql_programs, folder / "mysql", port=ports[2])
            cleanup.callback(database.stop)
        yield Servers(database, starting.result(), folder)


def _stop(starting: Future[kafka.RunningKafka]) -> None:
    if starting.exception() is None:
        starting.result().stop()


def _free_ports(count: int) -> list[int]:
    """Different ports: servers that start side by side would find the same one free."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(process.free_port())
    return list(ports)


def prepare(servers: Servers, sizes: Sizes, chat: Sequence[Chat], settings: dict[str, str]) -> Stage:
    """Install the schema, make the daemon's account, and load the chat."""
    stage = Stage(servers.mysql, servers.kafka, servers.folder, chat, sizes, settings, secrets.token_hex(16))
    # An edit of the checkout during the minutes of a run must not reach the daemons that are started later.
    for part in ("sql", "driver"):
        shutil.copytree(CHECKOUT / part, servers.folder / "code" / part, ignore=shutil.ignore_patterns("__pycache__"))
    stage.install(DATABASE)
    servers.mysql.create_database(DATABASE, _ACCOUNT, stage.password)
    _load_chat(stage)
    return stage


def _load_chat(stage: Stage) -> None:
    """Keep the chat in a table, from which backlogs are copied fast."""
    stage.server.create_database(_STAGING)
    with stage.connect(_STAGING) as session:
        session.execute("CREATE TABLE chat (n INT PRIMARY KEY, message_key VARCHAR(255), payload LONGTEXT)")
        for start in range(0, len(stage.chat), _ROWS_PER_INSERT):
            part = stage.chat[start : start + _ROWS_PER_INSERT]
            values = [(n, chat.conversation_id, chat.payload) for n, chat in enumerate(part, start + 1)]
            places = ", ".join(["(%s, %s, %s)"] * len(values))
            session.execute(f"INSERT INTO chat VALUES {places}", *(value for row in values for value in row))
