"""Purge: what goes, what stays, what it costs, and that nobody notices."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.operators import age, ago, audit, fill, halfway
from tests.kit.server import Connect
from tests.kit.session import Session, chat_payload, reads, refused
from tests.kit.waiting import eventually

DAY = 86_400


def purge(db: Session, seconds: int = 0, limit: int | None = None, routine: str = "outbox_purge_v1") -> int:
    """Purge what is older than that; return how many the result set says."""
    (row,) = db.call(routine, ago(db, seconds), limit)
    assert next(iter(row)) == "deleted"
    return int(row["deleted"])


def purge_dead(db: Session, seconds: int = 0, limit: int | None = None) -> int:
    return purge(db, seconds, limit, "outbox_purge_dead_v1")


@pytest.mark.parametrize(("act", "goes"), [(purge, "consumed"), (purge_dead, "dead")])
def test_only_old_messages_of_the_one_status_go(db: Session, act: Any, goes: str) -> None:
    old = {state: db.enqueue_in(state, state) for state in ("pending", "published", "consumed", "dead")}
    for message in old.values():
        age(db, message, 60)
    for state in old:
        db.enqueue_in(state, f"new {state}")
    before = db.statuses()
    assert act(db, 30) == 1
    assert db.statuses() == {message: state for message, state in before.items() if message != old[goes]}
    assert act(db, 30) == 0
    assert [entry["messages"] for entry in audit(db)] == [1]


def test_age_counts_from_the_consumption_not_from_the_enqueue(db: Session) -> None:
    late, early = db.enqueue("late"), db.enqueue("early")
    age(db, late, 60)
    age(db, early, 60)
    db.consume(late, early)
    db.execute("UPDATE agent_outbox_messages SET consumed_at = consumed_at - INTERVAL 40 SECOND WHERE id = %s", early)
    assert purge(db, 30) == 1
    assert list(db.statuses()) == [late]


def test_adopted_row_that_does_not_say_when_it_was_consumed_counts_from_its_update(db: Session) -> None:
    (old, new) = fill(db, 2, "consumed", age_seconds=60)
    db.execute("UPDATE agent_outbox_messages SET consumed_at = NULL")
    db.execute("UPDATE agent_outbox_messages SET updated_at = UTC_TIMESTAMP(6) WHERE id = %s", new)
    assert purge(db, 30) == 1
    assert list(db.statuses()) == [new] != [old]


@pytest.mark.parametrize(("act", "status"), [(purge, "consumed"), (purge_dead, "dead")])
def test_limit_takes_the_lowest_ids_and_is_1000_unless_told(db: Session, act: Any, status: str) -> None:
    messages = fill(db, 3300, status, age_seconds=60)
    assert act(db, 30, 100) == 100
    assert list(db.statuses()) == messages[100:]
    for default in (None, 0):
        assert act(db, 30, default) == 1000
    assert act(db, 30, 1_000_000) == 1200
    assert db.statuses() == {}
    assert [entry["messages"] for entry in audit(db)] == [100, 1000, 1000, 1200]


def test_old_messages_behind_many_that_stay_are_found(db: Session) -> None:
    fill(db, 1500, "dead", age_seconds=60)
    fill(db, 1500, "published", age_seconds=60)
    fill(db, 5, "consumed", age_seconds=60)
    assert purge(db, 30) == 5
    assert purge_dead(db, 30, 2000) == 1500


def test_purged_message_that_kafka_delivers_again_does_nothing(db: Session) -> None:
    message = db.enqueue_in("consumed")
    record = db.record(message)
    chats = db.chats()
    assert purge(db) == 1
    assert db.consume(record) == {message: "unknown"}
    assert db.chats() == chats


def test_purge_of_dead_letters_keeps_who_they_were(db: Session) -> None:
    message = db.enqueue_in("dead", "a key", payload='{"text": "a secret"}')
    assert purge_dead(db) == 1
    (entry,) = audit(db)
    assert (entry["action"], entry["messages"]) == ("discard_dead", 1)
    (named,) = entry["discarded"]
    assert (named["id"], named["message_key"], named["last_error"]) == (message, "a key", "as arranged")
    assert "secret" not in json.dumps(entry)


@pytest.mark.parametrize("routine", ["outbox_purge_v1", "outbox_purge_dead_v1"])
def test_bad_arguments_are_refused(db: Session, routine: str) -> None:
    fill(db, 2, "consumed", age_seconds=60)
    fill(db, 2, "dead", age_seconds=60)
    before = db.statuses()
    with refused(30001, "p_before must not be NULL"):
        db.call(routine, None, 10)
    for limit in (-1, 1_000_001):
        with refused(30005, f"p_limit must be from 0 to 1000000: {limit}"):
            db.call(routine, ago(db, 0), limit)
    assert db.statuses() == before


# Foreign keys


@pytest.fixture
def shipments(db: Session) -> Iterator[str]:
    """An application's table with a foreign key on the messages that it has handled."""
    db.execute(
        "CREATE TABLE app_shipments (message BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
        " FOREIGN KEY (message) REFERENCES agent_outbox_messages (id))"
    )
    yield "app_shipments"
    db.execute("DROP TABLE app_shipments")


def test_message_that_a_foreign_key_points_to_is_skipped_and_counted(db: Session, shipments: str) -> None:
    messages = fill(db, 2500, "consumed", age_seconds=60)
    held = [*messages[:3], messages[1500], messages[-1]]
    db.execute(f"INSERT INTO {shipments} SELECT id FROM agent_outbox_messages WHERE id IN %s" % f"{(*held,)}")
    (row,) = db.call("outbox_purge_v1", ago(db, 30), 1_000_000)
    assert row == {"deleted": 2495, "referenced": 5}
    assert list(db.statuses()) == held
    (entry,) = audit(db)
    assert (entry["messages"], entry["referenced"]) == (2495, 5)
    # Nothing is deleted: no entry, each minute, of the event.
    assert db.call("outbox_purge_v1", ago(db, 30), None) == [{"deleted": 0, "referenced": 5}]
    assert len(audit(db)) == 1
    db.execute(f"DELETE FROM {shipments}")
    assert db.call("outbox_purge_v1", ago(db, 30), None) == [{"deleted": 5, "referenced": 0}]
    assert "referenced" not in audit(db)[1]


def test_limit_counts_what_is_deleted_and_not_what_is_skipped(db: Session, shipments: str) -> None:
    messages = fill(db, 300, "consumed", age_seconds=60)
    db.execute(f"INSERT INTO {shipments} SELECT id FROM agent_outbox_messages WHERE id <= %s", messages[99])
    assert db.call("outbox_purge_v1", ago(db, 30), 150) == [{"deleted": 150, "referenced": 100}]
    assert list(db.statuses()) == [*messages[:100], *messages[250:]]


# What it costs


def test_purge_with_nothing_old_enough_reads_little_of_a_large_table(db: Session) -> None:
    fill(db, 5000, "consumed", age_seconds=60)
    few = reads(db, lambda: purge(db, 3600))
    fill(db, 5000, "consumed", age_seconds=60)
    assert reads(db, lambda: purge(db, 3600)) == few < 4000


def test_purge_reads_no_more_than_it_deletes_and_a_little(db: Session) -> None:
    fill(db, 5000, "consumed", age_seconds=60)
    # Four of them count the bytes.
    assert reads(db, lambda: purge(db, 30, 1000)) < 15 * 1000


# Beside others


def test_half_done_purge_holds_up_neither_claims_nor_marks_nor_consumers(db: Session, connect: Connect) -> None:
    message, follower = db.enqueue("a"), db.enqueue("a")
    fill(db, 500, "consumed", age_seconds=60)
    with halfway(db, connect, lambda session: purge(session, 30)) as purging:
        claimed = db.claim()
        assert [row["id"] for row in claimed] == [message, follower]
        assert db.mark("published", claimed) == 2
        assert db.consume(message, follower) == {message: "consumed", follower: "consumed"}
        later = db.enqueue("a")
        assert db.claim_ids() == [later]
        assert not purging.done()
    assert purging.result() == 500


@pytest.mark.parametrize(("act", "status"), [(purge, "consumed"), (purge_dead, "dead")])
def test_message_that_somebody_has_locked_is_left_out_not_waited_for(
    db: Session, connect: Connect, act: Any, status: str
) -> None:
    messages = fill(db, 3, status, age_seconds=60)
    holder = connect()
    holder.execute("START TRANSACTION; SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", messages[1])
    assert act(db, 30) == 2
    assert list(holder.statuses()) == [messages[1]]
    holder.execute("COMMIT")
    assert act(db, 30) == 1


def test_two_purges_at_once_delete_each_message_once(db: Session, connect: Connect) -> None:
    fill(db, 2500, "consumed", age_seconds=60)
    sessions = [connect(), connect()]
    with ThreadPoolExecutor(2) as pool:
        deleted = list(pool.map(lambda session: purge(session, 30, 2500), sessions))
    left = len(db.statuses())
    assert sum(deleted) + left == 2500
    assert left <= purge(db, 30, 2500) == left
    assert sum(entry["messages"] for entry in audit(db)) == 2500


def test_purge_of_all_that_is_consumed_under_full_load_disturbs_nobody(db: Session, connect: Connect) -> None:
    """Two writers, a relay and two consumers that see every record twice, while everything consumed goes at once."""
    keys, each = 5, 80
    written: list[list[int]] = [[], []]
    records: list[int] = []
    outcomes: dict[int, list[str]] = {}
    purged: list[int] = []

    def write(session: Session, mine: list[int]) -> None:
        for number in range(each):
            mine.append(session.enqueue(f"k-{number % keys}", payload=chat_payload(f"{len(mine)}")))

    def relay(session: Session) -> None:
        while len(records) < 2 * each:
            claimed = session.claim("relay-a", 50)
            records.extend(row["id"] for row in claimed)
            session.mark("published", claimed)

    def consume(session: Session) -> None:
        done: set[int] = set()
        while len(done) < 2 * each:
            batch = sorted(set(records) - done)[:20]
            for message, outcome in session.consume(*batch).items() if batch else ():
                if outcome != "not reached":  # another session had locked it
                    outcomes.setdefault(message, []).append(outcome)
                    done.add(message)

    def purge_all(session: Session) -> None:
        while sum(purged) < 2 * each:
            purged.append(purge(session))

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(write, connect(), mine) for mine in written]
        work += [pool.submit(relay, connect()), pool.submit(purge_all, connect())]
        work += [pool.submit(consume, connect()) for _ in range(2)]
        for done in work:
            done.result(timeout=60)
    eventually(lambda: db.statuses() == {})
    assert sorted(outcomes) == sorted(written[0] + written[1])
    assert all(seen.count("consumed") == 1 for seen in outcomes.values())
    assert len(db.chats()) == 2 * each


# Retention


def test_retention_is_shipped_disabled_and_deletes_after_seven_days(db: Session) -> None:
    event = db.row(
        "SELECT status, event_definition, interval_value, interval_field, event_type FROM information_schema.events"
        " WHERE event_schema = DATABASE() AND event_name = 'outbox_retention'"
    )
    event = {name.lower(): value for name, value in event.items()}
    assert event["status"] == "DISABLED"
    assert (event["interval_value"], event["interval_field"]) == ("1", "MINUTE")
    fill(db, 3, "consumed", age_seconds=8 * DAY)
    young = fill(db, 3, "consumed", age_seconds=6 * DAY)
    for number, old in enumerate((8 * DAY, 6 * DAY)):
        message = db.enqueue_with("b", "t", "k", "{}", dedup_key=f"key {number}")
        db.execute(
            "UPDATE outbox_dedup_keys SET created_at = UTC_TIMESTAMP(6) - INTERVAL %s SECOND WHERE message_id = %s",
            old,
            message,
        )
    db.execute("CREATE PROCEDURE as_the_event () " + event["event_definition"])
    db.call("as_the_event")
    db.execute("DROP PROCEDURE as_the_event")
    assert [id_ for id_, status in db.statuses().items() if status == "consumed"] == young
    assert db.column("SELECT dedup_key FROM outbox_dedup_keys") == ["key 1"]


def test_one_statement_enables_retention(db: Session) -> None:
    sql = "SELECT status FROM information_schema.events WHERE event_schema = DATABASE()"
    db.execute("ALTER EVENT outbox_retention ENABLE")
    try:
        assert db.column(sql) == ["ENABLED"]
    finally:
        db.execute("ALTER EVENT outbox_retention DISABLE")
    assert db.column(sql) == ["DISABLED"]


def test_retention_has_one_row_a_day_in_the_audit_and_people_keep_theirs(db: Session) -> None:
    for _ in range(3):
        fill(db, 2, "consumed", age_seconds=8 * DAY)
        message = db.enqueue_with("b", "t", "k", "{}", dedup_key="once")
        db.execute("UPDATE outbox_dedup_keys SET created_at = created_at - INTERVAL 8 DAY")
        db.call("outbox_retain_v1", 7 * DAY, 100)
        db.execute("DELETE FROM agent_outbox_messages WHERE id = %s", message)
    fill(db, 1, "consumed", age_seconds=8 * DAY)
    db.call("outbox_purge_v1", ago(db, 7 * DAY), 100)
    by_hand, retention = sorted(audit(db), key=lambda entry: str(entry["action"]))
    assert (by_hand["action"], by_hand["messages"]) == ("purge", 1)
    assert retention == {"action": "retention", "keep_seconds": 7 * DAY, "messages": 6, "keys": 3}
    db.execute("UPDATE outbox_audit SET at = at - INTERVAL 1 DAY")
    fill(db, 1, "consumed", age_seconds=8 * DAY)
    db.call("outbox_retain_v1", 7 * DAY, 100)
    assert [entry["messages"] for entry in audit(db) if entry["action"] == "retention"] == [6, 1]
    db.call("outbox_retain_v1", 7 * DAY, 100)
    assert len(audit(db)) == 3, "it has deleted nothing"
    with refused(30005, "p_keep_seconds must be 60 or more: 5"):
        db.call("outbox_retain_v1", 5, 100)
