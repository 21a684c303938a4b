"""`outboxd doctor` finds incidents that were made on purpose, each alone, and says what to do about it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.kit.command import Invoke
from tests.kit.doctor import findings, to_be_done
from tests.kit.installing import mysql_url
from tests.kit.mock_cluster import MockCluster
from tests.kit.operators import age, fill
from tests.kit.server import Connect, Server
from tests.kit.session import Session

_HANDLER = "CREATE PROCEDURE kit_handler (IN p_id BIGINT UNSIGNED, IN p_payload LONGTEXT CHARACTER SET utf8mb4) "


class Incident(NamedTuple):
    """What is planted, where doctor has to find it, and parts of what it has to say."""

    plant: Callable[[Session, Connect], None]
    subject: str
    verdict: str
    state: str
    to_do: str
    undo: str = "DO 0"
    besides: tuple[str, ...] = ()


def dropped_handler(db: Session, _: Connect) -> None:
    db.register("orders", "kit_gone")


def slow_handler(db: Session, _: Connect) -> None:
    # Of a name of its own, and more than once: the server goes on to count the calls of one that was dropped, and may
    # count them for the next one.
    db.execute(_HANDLER.replace("kit_handler", "kit_slow_handler") + "DO SLEEP(0.5)")
    db.register("orders", "kit_slow_handler")
    for message in [db.enqueue_published(biz_type="orders") for _ in range(3)]:
        assert db.consume(message) == {message: "consumed"}


def failing_key(db: Session, _: Connect) -> None:
    message = db.enqueue("sick")
    db.enqueue("sick")
    for _again in range(4):
        db.call("outbox_mark_failed_v1", message, "no such user 'secret@example.org'")


def open_transaction(db: Session, connect: Connect) -> None:
    other = connect()
    other.execute("START TRANSACTION")
    message = other.enqueue("held")
    make_old(other, message)
    assert db.messages() == []


def nobody_relays(db: Session, _: Connect) -> None:
    make_old(db, db.enqueue())


def relays_that_get_nowhere(db: Session, _: Connect) -> None:
    db.claim("relay-a", lease=600)
    make_old(db, db.enqueue())


def make_old(session: Session, message: int) -> None:
    """Let a message that is due have been enqueued two minutes ago."""
    session.execute(
        "UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL 120 SECOND, next_retry_at = created_at"
        " WHERE id = %s",
        message,
    )


def paused_topic(db: Session, _: Connect) -> None:
    db.call("outbox_pause_v1", "o'chat", None)


def paused_type(db: Session, _: Connect) -> None:
    db.call("outbox_pause_v1", None, "orders")


def topic_in_trouble(db: Session, _: Connect) -> None:
    db.call("outbox_mark_topics_unavailable_v1", '[{"topic": "away", "reason": "no leader"}]')


def stuck_consumer(db: Session, _: Connect) -> None:
    age(db, db.enqueue_published(), 300)


def subscribed_without_a_handler(db: Session, _: Connect) -> None:
    subscribed_in_vain(db, _)
    db.execute("UPDATE outbox_subscriptions SET received_at = UTC_TIMESTAMP(6)")
    db.call("outbox_register_biz_type_v1", "ship_order", "", None, None, None, None)


def subscribed_in_vain(db: Session, _: Connect) -> None:
    db.execute(_HANDLER + "DO 0")
    db.register("ship_order", "kit_handler")
    db.call("outbox_subscribe_v1", "/outboxd/shop/%", "order_placed", "ship_order")
    db.execute("UPDATE outbox_subscriptions SET subscribed_at = subscribed_at - INTERVAL 11 MINUTE")


def never_purged(db: Session, _: Connect) -> None:
    fill(db, 3, "consumed", age_seconds=10 * 86_400)


def sql(statement: str) -> Callable[[Session, Connect], None]:
    """Plant a statement."""
    return lambda db, _: db.execute(statement)


INCIDENTS = {
    "dropped handler": Incident(
        dropped_handler,
        *("handlers", "FIX", "procedure kit_gone, which handles business type orders, is not there"),
        "outboxd biz-type set orders --handler",
    ),
    "slow handler": Incident(
        slow_handler,
        *("handlers", "warn", "kit_slow_handler, which handles business type orders, has taken 0."),
        " of it a second; EXPLAIN its statements",
    ),
    "failing key": Incident(
        failing_key,
        *(
            "failing",
            "warn",
            "key sick, business type chat_history_persist) has failed 4 times, 1 wait behind it: no such",
        ),
        "mend what its error says, or give it up: outboxd give-up ",
    ),
    "open transaction": Incident(
        open_transaction,
        *("open transactions", "FIX", "s with 1 messages, the first is "),
        "KILL trx_mysql_thread_id",
    ),
    "nobody relays": Incident(
        nobody_relays, "relays", "FIX", "nobody relays: message ", "start a daemon on this database (outboxd run)"
    ),
    "relays that get nowhere": Incident(
        relays_that_get_nowhere, "relays", "FIX", "1 are alive, but message ", "look into the log of the daemons"
    ),
    "paused topic": Incident(
        paused_topic,
        *("pauses", "warn", "topic o'chat is paused since ", r"outboxd resume --topic 'o\'chat'"),
    ),
    "paused type": Incident(
        paused_type, "pauses", "warn", "business type orders is paused since ", "outboxd resume --biz-type 'orders'"
    ),
    "topic in trouble": Incident(
        topic_in_trouble,
        "topic away",
        "FIX",
        "Kafka takes no records: no leader (1 times in a row)",
        "see to the topic",
    ),
    "stuck consumer": Incident(
        stuck_consumer,
        *("consumers", "FIX", "1 messages of topic chat are in Kafka and not consumed, since up to 30"),
        "outboxd run, setting topics",
    ),
    "subscribed without a handler": Incident(
        subscribed_without_a_handler,
        *("inbox", "FIX", "business type ship_order, as which records of /outboxd/shop/% take effect, has no handler"),
        "outboxd biz-type set ship_order --handler",
    ),
    "subscribed in vain": Incident(
        subscribed_in_vain,
        *("inbox", "warn", "no record of /outboxd/shop/%, type order_placed, has come since "),
        "compare with ce_source and ce_type",
    ),
    "never purged": Incident(
        never_purged,
        *("growth", "warn", "the last purge: never; it has consumed messages of 10 days ago"),
        "ALTER EVENT outbox_retention ENABLE",
    ),
    "read only": Incident(
        sql("SET GLOBAL super_read_only = ON"),
        *("read only", "FIX", "super_read_only, read_only is ON: nothing is enqueued"),
        "connect to the primary; if this is the primary: SET GLOBAL super_read_only = OFF",
        undo="SET GLOBAL super_read_only = OFF, read_only = OFF",
    ),
    "dropped index": Incident(
        sql("ALTER TABLE agent_outbox_messages DROP KEY outbox_open_lane"),
        *("tables", "FIX", "index outbox_open_lane of agent_outbox_messages is missing or another one"),
        "ADD KEY outbox_open_lane (open_lane, is_waiting), ALGORITHM = INPLACE, LOCK = NONE",
        undo="ALTER TABLE agent_outbox_messages ADD KEY outbox_open_lane (open_lane, is_waiting)",
    ),
    "another index of the name": Incident(
        sql("ALTER TABLE agent_outbox_messages DROP KEY outbox_open_lane, ADD KEY outbox_open_lane (open_lane)"),
        *("tables", "FIX", "index outbox_open_lane of agent_outbox_messages is missing or another one"),
        "DROP KEY outbox_open_lane, ADD KEY outbox_open_lane",
        undo="ALTER TABLE agent_outbox_messages DROP KEY outbox_open_lane,"
        " ADD KEY outbox_open_lane (open_lane, is_waiting)",
    ),
    "dropped queue": Incident(
        sql("ALTER TABLE agent_outbox_messages DROP KEY outbox_pending_slot"),
        *("tables", "FIX", "index outbox_pending_slot of agent_outbox_messages is missing or another one"),
        "ADD KEY outbox_pending_slot (pending_slot, waits_for, wakes_at)",
        undo="ALTER TABLE agent_outbox_messages ADD KEY outbox_pending_slot (pending_slot, waits_for, wakes_at)",
        besides=("not examined",),
    ),
    "missing slots": Incident(
        sql("DELETE FROM outbox_slots WHERE slot IN (3, 63)"),
        *("tables", "FIX", "outbox_slots lacks 2 of its 64 rows: nobody relays these slots"),
        "INSERT INTO outbox_slots (slot) VALUES (3), (63)",
        undo="INSERT INTO outbox_slots (slot) VALUES (3), (63)",
    ),
}


@pytest.fixture(autouse=True)
def durable(db: Session) -> Iterator[None]:
    """The tests' server is not durable, which doctor tells: not here."""
    db.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1; SET GLOBAL sync_binlog = 1")
    yield
    db.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2; SET GLOBAL sync_binlog = 0")


@contextmanager
def planted(incident: Incident, db: Session, connect: Connect) -> Iterator[None]:
    """The incident, for the block."""
    incident.plant(db, connect)
    try:
        yield
    finally:
        db.execute(incident.undo)
        db.execute("DROP PROCEDURE IF EXISTS kit_handler; DROP PROCEDURE IF EXISTS kit_slow_handler")


@pytest.mark.parametrize("name", INCIDENTS)
def test_incident_is_found_and_nothing_else(
    invoke: Invoke, cluster: MockCluster, db: Session, connect: Connect, name: str
) -> None:
    incident = INCIDENTS[name]
    assert to_be_done(invoke("doctor", kafka_bootstrap=cluster.bootstrap)) == {}
    with planted(incident, db, connect):
        found = to_be_done(invoke("doctor", kafka_bootstrap=cluster.bootstrap))
        as_told_by_sql = {(row["kind"], row["level"]) for row in db.call("outbox_doctor_v1") if row["to_do"]}
    assert set(found) == {incident.subject, *incident.besides}
    one = found[incident.subject]
    assert one.verdict == incident.verdict
    assert incident.state in one.state
    assert incident.to_do in one.to_do
    assert "secret" not in one.state
    level = {"FIX": "error", "warn": "warning"}[one.verdict]
    assert (incident.subject, level) in as_told_by_sql


def test_replaced_procedure_is_found_by_its_owner(
    invoke: Invoke, cluster: MockCluster, db: Session, mysql_server: Server, installed_database: str
) -> None:
    statement = str(db.row("SHOW CREATE PROCEDURE outbox_lock_waits_v1")["Create Procedure"])
    db.execute("DROP PROCEDURE outbox_lock_waits_v1; CREATE PROCEDURE outbox_lock_waits_v1 () DO 0")
    try:
        url = mysql_url(mysql_server, installed_database)
        found = to_be_done(invoke("doctor", kafka_bootstrap=cluster.bootstrap, mysql_url=url))
    finally:
        db.execute("DROP PROCEDURE outbox_lock_waits_v1")
        db.execute(statement)
    assert set(found) == {"migrations"}
    assert found["migrations"].state == "procedure outbox_lock_waits_v1 is not that of V0904__lock_waits_v1.sql"
    assert found["migrations"].to_do.startswith("DROP PROCEDURE outbox_lock_waits_v1, and run `outboxd migrate`")


def test_examination_changes_nothing_and_may_be_called_in_any_session(db: Session, connect: Connect) -> None:
    db.enqueue_in("consumed")
    before = db.messages()
    odd = connect()
    odd.execute("SET SESSION autocommit = 0, sql_safe_updates = 1, sql_select_limit = 1, group_concat_max_len = 4")
    assert [row for row in odd.call("outbox_doctor_v1") if row["level"] != "ok"] == []
    assert not odd.in_transaction()
    assert db.messages() == before


def test_growth_tells_the_last_purge(db: Session) -> None:
    fill(db, 3, "consumed", age_seconds=10 * 86_400)
    db.call("outbox_purge_v1", "2000-01-01", None)
    assert growth(db) == "warning"
    fill(db, 1, "consumed", age_seconds=20 * 86_400)
    db.call("outbox_purge_v1", db.value("SELECT UTC_TIMESTAMP(6) - INTERVAL 15 DAY"), None)
    assert growth(db) == "ok"


def growth(db: Session) -> str:
    """The level of what doctor says of the table's growth."""
    (level,) = [row["level"] for row in db.call("outbox_doctor_v1") if row["kind"] == "growth"]
    return str(level)


def test_subjects_that_are_well_are_listed_too(invoke: Invoke, cluster: MockCluster) -> None:
    found = findings(invoke("doctor", kafka_bootstrap=cluster.bootstrap))
    assert set(found) >= {
        *("definer", "read only", "tables", "handlers", "failing", "open transactions", "relays"),
        *("pauses", "consumers", "growth"),
    }
