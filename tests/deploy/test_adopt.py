"""A database of the legacy Go service is taken over where it is, while the Go service goes on with it."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from outboxd.schema.migrations import MigrationError
from tests.deploy.go_service import TABLES, Dispatcher, GoService, OldConsumer
from tests.kit.command import Setting
from tests.kit.daemon import QUICK, StartDaemon, daemons
from tests.kit.installing import empty_database, migrate, mysql_url
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.server import SQL_FOLDER, Server, migration_files
from tests.kit.session import Row, Session, chat_payload
from tests.kit.waiting import background, eventually

NAME = "outboxd_legacy"
WAIT_FOR_DEFINITION = (
    "SELECT COUNT(*) FROM performance_schema.processlist WHERE state = 'Waiting for table metadata lock'"
)
COLLATIONS = {
    "the server's default": "",
    "utf8mb4 of 5.7": "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "utf8mb3": "CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
}


@pytest.fixture
def legacy(mysql_server: Server) -> Iterator[Session]:
    """A session on a database that the Go service has made, without rows."""
    with empty_database(mysql_server, NAME) as session:
        session.execute(TABLES)
        yield session


@pytest.fixture
def go(legacy: Session, mysql_server: Server) -> Iterator[GoService]:
    """The service, with a session of its own."""
    assert legacy.value("SELECT DATABASE()") == NAME
    with mysql_server.connect(NAME) as session:
        yield GoService(session)


def every_state(go: GoService) -> dict[str, int]:
    """Messages in every state that the service leaves behind, and some that it should not."""
    made = {name: go.create(f"key of {name}", chat_payload(name)) for name in STATES}
    go.mark_published(made["published"])
    go.mark_published(made["consumed"])
    go.persist(made["consumed"], chat_payload("consumed"))
    go.mark_failed(made["failed"], "broker is away")
    go.mark_published(made["failed after being published"])
    go.mark_failed(made["failed after being published"], "Fehler: ü 😀")
    go.mark_dead(made["dead"], "x" * 2000)
    go.mark_dead(made["dead without a reason"], "")
    for name, change in BY_HAND.items():
        go.session.execute(f"UPDATE agent_outbox_messages SET {change} WHERE id = %s", made[name])
    return made


BY_HAND = {
    "pending without a due time": "next_retry_at = NULL",
    "pending without times": "next_retry_at = NULL, created_at = NULL, updated_at = NULL",
    "failed without a time of creation": "created_at = NULL, retry_count = 3",
}
STATES = (
    "pending",
    "published",
    "consumed",
    "failed",
    "failed after being published",
    "dead",
    "dead without a reason",
    *BY_HAND,
)


def contents(session: Session, columns: dict[str, list[str]]) -> dict[str, list[Row]]:
    """All rows of the two tables, in the columns that they had at first."""
    return {
        table: session.rows(f"SELECT {', '.join(names)} FROM {table} ORDER BY id") for table, names in columns.items()
    }


def columns_of(session: Session) -> dict[str, list[str]]:
    """The columns of the two tables."""
    return {
        table: session.column(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position",
            table,
        )
        for table in ("agent_outbox_messages", "chat_histories")
    }


def definitions(session: Session) -> dict[str, str]:
    """The tables' columns and indexes, a line each, without what outboxd adds."""
    lines = {}
    for table in ("agent_outbox_messages", "chat_histories"):
        text = session.row(f"SHOW CREATE TABLE {table}")["Create Table"]
        added = (
            r"headers|`origin`|`content_type`|`body`|`dedup_key`|`kafka_|_slot|_lane|`noted_for`|`parked_|`waits_for`"
            r"|`wakes_at`|`is_waiting`|idx_outbox_"
        )
        own = [line for line in text.splitlines()[1:] if not re.search(added, line)]
        lines[table] = re.sub(r" AUTO_INCREMENT=\d+", "", "\n".join(own))
    return lines


def tablespaces(session: Session) -> dict[str, int]:
    """Where the tables' rows are; a table that is copied gets a new place."""
    rows = session.rows(
        "SELECT name AS name, space AS space FROM information_schema.innodb_tables WHERE name IN (%s, %s)",
        f"{NAME}/agent_outbox_messages",
        f"{NAME}/chat_histories",
    )
    return {row["name"]: row["space"] for row in rows}


# The migration


def test_adoption_keeps_every_row_and_column_and_copies_no_table(
    legacy: Session, go: GoService, mysql_server: Server
) -> None:
    every_state(go)
    columns = columns_of(legacy)
    before = contents(legacy, columns), definitions(legacy), tablespaces(legacy)
    assert migrate(mysql_server, NAME) == [path.name for path in migration_files()]
    assert (contents(legacy, columns), definitions(legacy), tablespaces(legacy)) == before
    assert len(before[2]) == 2


def test_steps_that_change_the_table_name_their_algorithm() -> None:
    codes = [re.sub(r"^--.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE) for file in migration_files()]
    steps = [step for code in codes for step in re.findall(r"^ALTER TABLE .*?;", code, re.DOTALL | re.MULTILINE)]
    ends = [re.search(r"ALGORITHM = .*;$", step) for step in steps]
    assert [end and end[0] for end in ends] == ["ALGORITHM = INSTANT;"] * 2 + ["ALGORITHM = INPLACE, LOCK = NONE;"]


def test_service_goes_on_writing_while_the_table_is_adopted(
    legacy: Session, go: GoService, mysql_server: Server
) -> None:
    made: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            made.append(go.create(f"key {len(made) % 5}", chat_payload(f"text {len(made)}")))
            go.mark_published(made[-1])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: len(made) > 20)
        migrate(mysql_server, NAME)
        count = len(made)
        eventually(lambda: len(made) > count + 20)
    finally:
        stop.set()
        writer.join()
    assert legacy.statuses() == dict.fromkeys(made, "published")


def test_table_that_cannot_be_changed_online_is_refused_and_adopted_after_a_rebuild(
    legacy: Session, go: GoService, mysql_server: Server
) -> None:
    legacy.execute("ALTER TABLE agent_outbox_messages ROW_FORMAT = COMPRESSED")
    message = go.create("k", chat_payload())
    with pytest.raises(MigrationError, match=r"V0103__own_columns\.sql: .*ALGORITHM=INSTANT is not supported"):
        migrate(mysql_server, NAME)
    (path,) = SQL_FOLDER.glob("*/V0103__*.sql")
    way_out = re.search(r"ALTER TABLE agent_outbox_messages FORCE[^.]*", path.read_text(encoding="utf-8"))
    assert way_out is not None
    legacy.execute(way_out[0])
    assert migrate(mysql_server, NAME)[0] == path.name
    assert legacy.claim_ids() == [message]


def test_adoption_gives_up_soon_behind_an_open_reader_and_goes_on_where_it_stopped(
    legacy: Session, go: GoService, mysql_server: Server
) -> None:
    """The service's statements would wait behind the ALTER, which waits for the reader's transaction."""
    with mysql_server.connect(NAME) as reader:
        reader.execute("START TRANSACTION; SELECT COUNT(*) FROM agent_outbox_messages")
        with background(lambda: migrate(mysql_server, NAME)) as adoption:
            eventually(lambda: legacy.value(WAIT_FOR_DEFINITION) == 1)
            began = time.monotonic()
            go.create("k", chat_payload())
            waited = time.monotonic() - began
            with pytest.raises(MigrationError, match=r"V0103__own_columns\.sql: .* open transaction"):
                adoption.result(timeout=60)
        assert waited < 15
        go.create("k", chat_payload())
        reader.execute("ROLLBACK")
    assert migrate(mysql_server, NAME)[0] == "V0103__own_columns.sql"


# What was waiting is delivered


@contextmanager
def kafka_and_daemon(server: Server, folder: Path) -> Iterator[tuple[MockCluster, StartDaemon]]:
    """A mock cluster, and daemons for it on the adopted database."""
    with MockCluster() as cluster:
        cluster.create_topic("chat")
        settings: dict[str, Setting] = {
            "mysql_url": mysql_url(server, NAME),
            "kafka_bootstrap": cluster.bootstrap,
            "kafka_options": QUICK_GROUP,
            "topics": "chat",
            "stale_seconds": 10,
            **QUICK,
        }
        with daemons(folder, settings) as start:
            yield cluster, start


def test_what_waited_in_the_adopted_outbox_is_delivered(
    legacy: Session, go: GoService, mysql_server: Server, tmp_path: Path
) -> None:
    made = every_state(go)
    # The old dispatcher sent it long ago, and nobody has consumed it.
    legacy.execute(
        "UPDATE agent_outbox_messages SET published_at = published_at - INTERVAL 1 HOUR WHERE id = %s",
        made["published"],
    )
    migrate(mysql_server, NAME)
    final = {"dead", "dead without a reason"}
    wanted = {message: "dead" if name in final else "consumed" for name, message in made.items()}
    with kafka_and_daemon(mysql_server, tmp_path) as (_, start):
        daemon = start()
        daemon.eventually(lambda: legacy.statuses() == wanted, "all is consumed but what is dead")
        assert daemon.stop() == 0
    assert sorted(legacy.chats()) == sorted(made.keys() - final)
    assert legacy.value("SELECT SUM(messages) FROM outbox_status WHERE status = 'consumed'") == len(made) - 2


def test_handler_that_commits_by_itself_is_reported_though_times_are_kept_in_milliseconds(
    legacy: Session, mysql_server: Server
) -> None:
    migrate(mysql_server, NAME)
    legacy.execute("CREATE PROCEDURE commits (p_id BIGINT UNSIGNED, p_payload LONGTEXT) COMMIT")
    legacy.register("commits", "commits")
    for _ in range(10):
        message = legacy.enqueue_published(biz_type="commits", payload="{}")
        assert legacy.consume(message) == {message: "consumed"}
        assert "commits by itself" in legacy.message(message)["last_error"]


@pytest.mark.parametrize("hours", [8, -5], ids=["east", "west"])
def test_messages_of_a_service_in_local_time_are_sent_at_once(
    legacy: Session, mysql_server: Server, hours: int
) -> None:
    local = GoService(legacy, timedelta(hours=hours))
    before = local.create("k", chat_payload())
    migrate(mysql_server, NAME)
    after = local.create("k", chat_payload())
    assert legacy.claim_ids() == [before, after]


# Old and new side by side


def test_every_statement_of_the_service_works_beside_the_procedures(
    legacy: Session, go: GoService, mysql_server: Server
) -> None:
    migrate(mysql_server, NAME)
    of_go, of_ours = go.create("a", chat_payload("of go")), legacy.enqueue("b", payload=chat_payload("of ours"))
    assert [row["id"] for row in go.list_due()] == [of_go, of_ours]
    claimed = legacy.claim()
    assert [row["id"] for row in claimed] == [of_go, of_ours]

    # Both dispatchers send both messages; the second mark of each finds nothing to do.
    go.mark_published(of_go)
    assert legacy.mark("published", claimed) == 1
    go.mark_published(of_ours)
    assert legacy.statuses() == dict.fromkeys((of_go, of_ours), "published")
    assert go.list_due() == legacy.claim() == []

    # Each is consumed by both consumers, and takes effect in the first.
    go.persist(of_go, chat_payload("of go"))
    assert legacy.consume(of_ours, of_go) == {of_ours: "consumed", of_go: "duplicate"}
    go.persist(of_ours, chat_payload("of ours"))
    go.mark_published(of_go)
    go.mark_failed(of_ours, "too late")
    assert legacy.statuses() == dict.fromkeys((of_go, of_ours), "consumed")
    assert legacy.chats() == ["of go", "of ours"]


def test_failures_that_the_service_counts_are_waited_for(legacy: Session, go: GoService, mysql_server: Server) -> None:
    migrate(mysql_server, NAME)
    failed, behind, other = (go.create(key, chat_payload(key)) for key in ("k", "k", "other"))
    go.mark_failed(failed, "broker is away")
    assert legacy.claim_ids() == [other]  # not the one that waits, nor what is behind it
    legacy.make_due(failed)
    assert legacy.claim_ids() == [failed, behind, other]
    legacy.call("outbox_mark_failed_v1", failed, "once more")
    row = legacy.message(failed)
    assert (row["retry_count"], row["last_error"]) == (2, "once more")
    assert {row["id"] for row in go.list_due()} == {behind, other}
    go.mark_dead(failed, "given up")
    assert legacy.claim_ids() == [behind, other]
    assert legacy.column("SELECT last_error FROM outbox_dead_letters") == ["given up"]
    assert legacy.out("outbox_requeue_v1", failed) == 1
    assert failed in {row["id"] for row in go.list_due()}


def test_service_counts_to_the_end_what_the_procedures_have_begun(
    legacy: Session, go: GoService, mysql_server: Server
) -> None:
    migrate(mysql_server, NAME)
    message = legacy.enqueue("k", max_retry=2)
    legacy.call("outbox_mark_failed_v1", message, "first")
    go.mark_failed(message, "second")
    row = legacy.message(message)
    assert (row["status"], row["retry_count"], row["next_retry_at"], row["last_error"]) == ("dead", 2, None, "second")


@pytest.mark.parametrize("charset", COLLATIONS.values(), ids=COLLATIONS.keys())
def test_tables_of_any_collation_are_adopted(mysql_server: Server, charset: str) -> None:
    with empty_database(mysql_server, NAME) as session:
        session.execute(f"ALTER DATABASE {NAME} {charset}" if charset else "DO 0")
        session.execute(TABLES)
        go = GoService(session)
        messages = [go.create(key, chat_payload(key)) for key in ("Key", "key", "KEY ", "Grüße")]
        migrate(mysql_server, NAME)
        session.register("mail", "no_such_procedure")
        mail = session.enqueue("key", biz_type="mail", payload="{}")
        claimed = session.claim()
        assert [row["id"] for row in claimed] == [*messages, mail]
        assert session.mark("published", claimed) == 5
        outcomes = session.consume(*messages, mail)
        assert outcomes == dict.fromkeys(messages, "consumed") | {mail: "failed"}
        assert session.call("outbox_list_due_v1", 10) == []
        assert session.value("SELECT SUM(messages) FROM outbox_status") == 5
        session.call("outbox_mark_dead_v1", mail, "no")
        assert session.out("outbox_requeue_dead_v1", "chat", "mail", None, "n%", None, None, 10) == 1


def test_old_and_new_work_off_one_backlog_and_every_message_takes_effect_once(
    legacy: Session, go: GoService, mysql_server: Server, tmp_path: Path
) -> None:
    written: list[str] = []
    written_enough = threading.Event()

    def write(create: Callable[[str, str], int]) -> None:
        number = len(written)
        written.append(f"text {number} of {threading.current_thread().name}")
        create(f"key {number % 9}", chat_payload(written[-1]))

    def go_on_writing(create: Callable[[str, str], int]) -> None:
        while not written_enough.is_set():
            write(create)

    for _ in range(200):
        write(go.create)  # the backlog
    migrate(mysql_server, NAME)
    stop = threading.Event()
    with ExitStack() as stack:
        cluster, start = stack.enter_context(kafka_and_daemon(mysql_server, tmp_path))
        sessions = [stack.enter_context(mysql_server.connect(NAME)) for _ in range(4)]
        dispatcher = Dispatcher(GoService(sessions[0]), cluster.bootstrap, stop)
        old_consumer = OldConsumer(GoService(sessions[1]), cluster.bootstrap, stop)
        old_writer = threading.Thread(target=go_on_writing, args=(GoService(sessions[2]).create,))
        new_writer = threading.Thread(
            target=go_on_writing, args=(lambda key, payload: sessions[3].enqueue(key, payload=payload),)
        )
        daemon = start()
        daemon.says("started")
        writers, old = [old_writer, new_writer], [dispatcher, old_consumer]
        for thread in writers + old:
            thread.start()
        try:
            daemon.eventually(
                lambda: len(written) >= 400 and dispatcher.sent > 0 and old_consumer.left > 0,
                "both the old dispatcher and the daemon have sent",
                seconds=60,
            )
            written_enough.set()
            for thread in writers:
                thread.join()
            daemon.eventually(lambda: set(legacy.statuses().values()) == {"consumed"}, "all are consumed", seconds=60)
            # Whatever was sent a second time arrives a second time, and does nothing.
            eventually(lambda: old_consumer.taken == dispatcher.sent)
        finally:
            written_enough.set()
            stop.set()
            for thread in writers + old:
                thread.join()
        assert daemon.stop() == 0
    assert sorted(legacy.chats()) == sorted(written)
