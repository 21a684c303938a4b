"""The views of sql/9_monitor: what they say, and what they read for it."""

import json
import random
import re
from collections import Counter
from typing import Any

import pytest

from tests.kit.names import key_of, slot_of
from tests.kit.session import CHAT, Session, reads

STATUSES = ("pending", "published", "consumed", "dead")


def status(db: Session, condition: str = "TRUE") -> dict[tuple[str, str, str], dict[str, Any]]:
    """outbox_status by topic, business type and status."""
    rows = db.rows(f"SELECT * FROM outbox_status WHERE {condition}")
    by_name = {(row["topic"], row["biz_type"], row["status"]): row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def plan(db: Session, query: str) -> str:
    """How the server would run a query, spelled as the newest versions do: older ones put no spaces around ="""
    return re.sub(r"(?<=\w)=(?=[\w'(])", " = ", "\n".join(db.column(f"EXPLAIN FORMAT=TREE {query}")))


# outbox_status


def test_outbox_without_messages_has_an_empty_status(db: Session) -> None:
    assert status(db) == {}
    assert db.rows("SELECT * FROM outbox_dead_letters") == []


def test_status_counts_by_topic_business_type_and_status(db: Session) -> None:
    random.seed(4)
    db.register("mail", "outbox_internal_write_chat_history_v1")
    wanted: Counter[tuple[str, str, str]] = Counter()
    for number in range(60):
        topic, where = random.choice(("chat", "Chat", "orders")), random.choice(STATUSES)
        biz_type = CHAT if where == "consumed" else random.choice((CHAT, "mail"))
        db.enqueue_in(where, f"key {number}", topic=topic, biz_type=biz_type)
        wanted[topic, biz_type, where] += 1
    assert {name: row["messages"] for name, row in status(db).items()} == wanted


def test_status_tells_the_age_of_the_oldest_and_when_the_next_is_due(db: Session) -> None:
    first, second = db.enqueue("a"), db.enqueue("b")
    db.execute(
        "UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL 100 SECOND,"
        " next_retry_at = IF(id = %s, UTC_TIMESTAMP(6) + INTERVAL 50 SECOND, UTC_TIMESTAMP(6) + INTERVAL 20 SECOND)"
        " WHERE id IN (%s, %s)",
        first,
        first,
        second,
    )
    db.enqueue_published("c")
    rows = status(db)
    assert 100 <= rows["chat", CHAT, "pending"]["oldest_seconds"] < 110
    assert 10 < rows["chat", CHAT, "pending"]["next_due_seconds"] <= 20
    assert 0 <= rows["chat", CHAT, "published"]["oldest_seconds"] < 10
    assert rows["chat", CHAT, "published"]["next_due_seconds"] is None
    db.enqueue("d")
    assert -10 < status(db)["chat", CHAT, "pending"]["next_due_seconds"] <= 0


def test_row_of_the_legacy_go_service_that_kept_its_due_time_is_counted_with_its_like(db: Session) -> None:
    db.enqueue_published("a")
    odd = db.enqueue_published("b")
    db.execute("UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6) WHERE id = %s", odd)
    rows = status(db)
    assert rows["chat", CHAT, "published"]["messages"] == 2
    assert rows["chat", CHAT, "published"]["next_due_seconds"] is None


def test_status_reads_the_index_and_of_the_messages_only_the_oldest(db: Session) -> None:
    # On a table without messages nothing but the view itself keeps the server from reading all of it.
    reads = plan(db, "SELECT * FROM outbox_status")
    for where in STATUSES:
        assert (
            f"Covering index lookup on agent_outbox_messages using idx_outbox_status_next (status = '{where}')" in reads
        )
    assert reads.count("on agent_outbox_messages using") == len(STATUSES)
    assert "Single-row index lookup on oldest using PRIMARY (id = counted.first_id)" in reads
    # What is final is counted as the index lies, and not by a temporary table: most messages are final.
    assert reads.count("Group aggregate") == len(STATUSES) - 1


def test_condition_on_the_status_is_applied_before_counting(db: Session) -> None:
    for where in STATUSES:
        for number in range(20):
            db.enqueue_in(where, f"{where} {number}")
    assert [row["messages"] for row in status(db, "status = 'dead'").values()] == [20]
    assert (
        reads(db, lambda: status(db, "status = 'dead'")) < 60
    )  # 20 entries of the index and some rows of temporary tables, of 80 messages


def test_status_procedure_says_the_same_by_status_alone(db: Session) -> None:
    for where, count in (("pending", 3), ("consumed", 2), ("dead", 1)):
        for number in range(count):
            db.enqueue_in(where, f"{where} {number}", topic=f"topic-{number}")
    by_status: Counter[str] = Counter()
    for (_, _, where), row in status(db).items():
        by_status[where] += row["messages"]
    assert {row["status"]: row["messages"] for row in db.call("outbox_status_v1")} == by_status


# outbox_dead_letters


def test_dead_letters_are_listed_with_their_reasons_and_without_what_the_users_wrote(db: Session) -> None:
    for where in STATUSES[:3]:
        db.enqueue_in(where, where)
    dead = db.enqueue("k", max_retry=1)
    db.call("outbox_mark_failed_v1", dead, "chat_histories is read only")
    (row,) = db.rows("SELECT * FROM outbox_dead_letters")
    message = db.message(dead)
    assert row == {
        "id": dead,
        "topic": "chat",
        "biz_type": CHAT,
        "message_key": "k",
        "retry_count": 1,
        "max_retry": 1,
        "last_error": "chat_histories is read only",
        "origin": None,
        "created_at": message["created_at"],
        "died_at": message["updated_at"],
    }


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ('it is "card 4929-1"', "it is …"),
        ("Duplicate entry 'it's 4929' for key 'cards.number'", "Duplicate entry …"),
        ("Unknown column `a` in 'card 4929' of the list", "Unknown column … of the list"),
        ("Data too long: 'card 49", "Data too long: …"),
        ("line one 'card\n4929' line two", "line one … line two"),
        ("no luck", "no luck"),
        ("'a' and 'card 4929" + "x" * 2000, "…"),
        (None, None),
    ],
)
def test_dead_letters_show_monitoring_no_value_that_an_error_quotes(
    db: Session, error: str | None, shown: str | None
) -> None:
    dead = db.enqueue()
    db.call("outbox_mark_dead_v1", dead, error)
    assert db.value("SELECT last_error FROM outbox_dead_letters") == shown
    assert db.call("outbox_list_dead_v1", *[None] * 6, 10)[0]["last_error"] == (error and error[:2000])


def test_dead_letters_are_read_by_status_however_they_are_sorted(db: Session) -> None:
    db.enqueue_in("dead")
    for query in ("ORDER BY id LIMIT 10", "ORDER BY id DESC LIMIT 10", "WHERE topic = 'chat'", "WHERE id > 5"):
        assert "using idx_outbox_status_next (status = 'dead'" in plan(db, f"SELECT * FROM outbox_dead_letters {query}")


# outbox_relays_status


def relays(db: Session) -> dict[str | None, dict[str, Any]]:
    """outbox_relays_status by relay, the backlog per slot as Python has it."""
    rows = db.rows("SELECT * FROM outbox_relays_status")
    for row in rows:
        slots = row["backlog_per_slot"]
        row["backlog_per_slot"] = slots and {int(slot): count for slot, count in json.loads(slots).items()}
    return {row["relay"]: row for row in rows}


def test_slots_that_nobody_owns_are_shown_with_their_backlog(db: Session) -> None:
    db.enqueue(key_of(7))
    (nobody,) = relays(db).values()
    assert (nobody["relay"], nobody["slots_owned"], nobody["lease_until"], nobody["lease_seconds"]) == (
        None,
        64,
        None,
        None,
    )
    assert nobody["backlog"] == 1
    assert nobody["backlog_per_slot"] == dict.fromkeys(range(64), 0) | {7: 1}


def test_relays_are_shown_with_their_slots_leases_and_backlog(db: Session) -> None:
    leases = {"relay-a": 30, "relay-b": 40}
    for relay in ("relay-a", "relay-b", "relay-a", "relay-b", "relay-a"):
        db.claim(relay, lease=leases[relay])
    keys = [f"key {number}" for number in range(50)]
    for key in keys:
        db.enqueue(key)
    db.enqueue_in("consumed", "key 1")
    db.enqueue_published("key 2")
    shown = relays(db)
    assert shown.keys() == {"relay-a", "relay-b"}
    pending = Counter(map(slot_of, keys))
    for relay in ("relay-a", "relay-b"):
        row, owned = shown[relay], db.owned(relay)
        assert row["slots_owned"] == len(owned) == 32
        assert row["backlog_per_slot"] == {slot: pending[slot] for slot in owned}
        assert row["backlog"] == sum(pending[slot] for slot in owned)
        lease_until = db.value("SELECT lease_until FROM outbox_relays WHERE relay = %s", relay)
        assert row["lease_until"] == lease_until
    assert 20 < shown["relay-a"]["lease_seconds"] <= 30 < shown["relay-b"]["lease_seconds"] <= 40


def test_relay_without_slots_and_one_that_is_late_are_shown(db: Session) -> None:
    db.claim("relay-a")
    db.claim("relay-b")  # joins, but relay-a has not yet given anything back
    db.expire_lease("relay-a")
    shown = relays(db)
    assert (shown["relay-b"]["slots_owned"], shown["relay-b"]["backlog"]) == (0, 0)
    assert shown["relay-b"]["backlog_per_slot"] is None
    assert shown["relay-a"]["slots_owned"] == 64
    assert -10 < shown["relay-a"]["lease_seconds"] < 0


def test_backlog_is_counted_in_the_index_of_the_pending(db: Session) -> None:
    reads = plan(db, "SELECT * FROM outbox_relays_status")
    assert "Covering index lookup on m using outbox_pending_slot (pending_slot = s.slot)" in reads
