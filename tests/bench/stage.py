"""What every measurement needs: private servers, a database with outboxd's schema, and a backlog of real chat."""

import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.bench.sizes import Sizes
from tests.kit.chat import Chat
from tests.kit.command import Setting
from tests.kit.kafka import create_topics
from tests.kit.server import Server
from tests.kit.session import CHAT, Session
from tests.servers import kafka, kafka_install, mysql, mysql_install, throwaway
from tests.servers.paths import CHECKOUT
from tests.servers.throwaway import Servers

DATABASE = "outboxd_bench"
PARTITIONS = 8
_ACCOUNT = "outboxd"
STAGING = "outboxd_bench_chat"
_ROWS_PER_INSERT = 1000
_CONSUMED_PER_INSERT = 10_000
_SETTLED_PAGES = 20


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


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

    def connect(self, database: str = DATABASE) -> Session:
        """A session (autocommit)."""
        return self.server.connect(database)

    def install(self, database: str) -> None:
        """Make a database with outboxd's schema, empty."""
        self.server.create_database(database)
        self.server.migrate(database)
        self.mysql.create_database(database, _ACCOUNT, self.password)

    def new_topic(self) -> str:
        """A topic that no measurement before has used; it exists when this returns."""
        topic = f"chat-{next(self._numbers)}"
        create_topics(self.kafka.bootstrap, [topic], PARTITIONS)
        return topic

    def clear(self, database: str = DATABASE) -> None:
        """Remove all messages, whatever earlier measurements left in the indexes, and performance_schema's counts."""
        with self.connect(database) as session:
            session.execute(
                "TRUNCATE TABLE agent_outbox_messages; TRUNCATE TABLE chat_histories; DELETE FROM outbox_relays;"
                "UPDATE outbox_slots SET relay = NULL; DELETE FROM outbox_subscriptions;"
                "TRUNCATE TABLE outbox_dedup_keys; TRUNCATE TABLE outbox_retry_topics;"
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
                    f" FROM {STAGING}.chat WHERE n BETWEEN %s AND %s) AS chat ORDER BY n",
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
                    f"  JOIN {STAGING}.chat ON chat.n = 1 + MOD(numbers.n, %s) ORDER BY numbers.n",
                    *(start, min(start + _CONSUMED_PER_INSERT - 1, messages), len(self.chat)),
                )

    def drop(self, database: str) -> None:
        """Remove a database that install() made."""
        with self.connect() as session:
            session.execute(f"DROP DATABASE {database}")

    def settle(self) -> None:
        """Wait until MySQL has nothing left over to write, or for as long as the sizes say."""
        with self.connect() as session:
            deadline = time.monotonic() + self.sizes.settle_seconds
            while time.monotonic() < deadline:
                dirty = session.row("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")["Value"]
                if int(dirty) <= _SETTLED_PAGES:
                    return
                time.sleep(0.2)

    @property
    def code(self) -> Path:
        """The copy of the driver that its daemons run."""
        return self.folder / "code" / "driver"

    def daemon_settings(self, topic: str, database: str = DATABASE) -> dict[str, Setting]:
        """The settings of a daemon of this stage, the caller's own the last."""
        return {
            "mysql_url": self.mysql.url(_ACCOUNT, self.password, database),
            "kafka_bootstrap": self.kafka.bootstrap,
            "topics": topic,
            "group": topic,
            **self.settings,
        }


@contextmanager
def throwaway_servers() -> Iterator[Servers]:
    """MySQL and Kafka. Raises ServerError where a server cannot be had."""
    with throwaway.servers(mysql_install.find(), kafka_install.find()) as running:
        yield running


def prepare(servers: Servers, sizes: Sizes, chat: Sequence[Chat], settings: dict[str, str]) -> Stage:
    """Install the schema, make the daemon's account, and load the chat."""
    assert servers.kafka is not None
    stage = Stage(servers.mysql, servers.kafka, servers.folder, chat, sizes, settings, secrets.token_hex(16))
    # An edit of the checkout during the minutes of a run must not reach the daemons that are started later.
    for part in ("sql", "driver"):
        shutil.copytree(CHECKOUT / part, servers.folder / "code" / part, ignore=shutil.ignore_patterns("__pycache__"))
    stage.install(DATABASE)
    _load_chat(stage)
    return stage


def _load_chat(stage: Stage) -> None:
    """Keep the chat in a table, from which backlogs are copied fast."""
    stage.server.create_database(STAGING)
    with stage.connect(STAGING) as session:
        session.execute("CREATE TABLE chat (n INT PRIMARY KEY, message_key VARCHAR(255), payload LONGTEXT)")
        for start in range(0, len(stage.chat), _ROWS_PER_INSERT):
            part = stage.chat[start : start + _ROWS_PER_INSERT]
            values = [(n, chat.conversation_id, chat.payload) for n, chat in enumerate(part, start + 1)]
            places = ", ".join(["(%s, %s, %s)"] * len(values))
            session.execute(f"INSERT INTO chat VALUES {places}", *(value for row in values for value in row))
