"""outbox_find_v1: every filter finds what it names, page by page, and none reads a large table."""

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.kit.operators import fill
from tests.kit.session import CHAT, Session, ids, reads, refused

FORM: dict[str, Any] = {
    "topic": None, "biz_type": None, "key": None, "status": None, "from_id": None, "to_id": None,
    "from_at": None, "to_at": None, "newest": False, "past": None, "limit": None,
}  # fmt: skip


def find(db: Session, **by: Any) -> tuple[list[int], int | None]:
    """The ids of a page, and how far it has looked."""
    form = FORM | by
    assert set(form) == set(FORM)
    places = ", ".join(["%s"] * len(form))
    rows = db.rows(f"CALL outbox_find_v1({places}, @reached)", *form.values())
    return ids(rows), db.value("SELECT @reached")


def every_page(db: Session, **by: Any) -> list[int]:
    found, reached = find(db, **by)
    while reached is not None:
        page, reached = find(db, **by, past=reached)
        found += page
    return found


def test_each_filter_finds_what_it_names(db: Session) -> None:
    db.register("order_placed", "outbox_internal_write_chat_history_v1")
    plain, orders = db.enqueue_in("consumed", "a"), db.enqueue_in("published", "a", topic="orders")
    dead, typed = db.enqueue_in("dead", "b"), db.enqueue("c", biz_type="order_placed")
    everything = [plain, orders, dead, typed]
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, everything),
        ({"key": "a"}, [plain, orders]),
        ({"key": "a", "topic": "orders"}, [orders]),
        ({"key": "a", "topic": "orders", "status": "published"}, [orders]),
        ({"key": "a", "topic": "orders", "status": "pending"}, []),
        ({"key": "A"}, []),
        ({"biz_type": "order_placed"}, [typed]),
        ({"biz_type": CHAT, "status": "dead"}, [dead]),
        ({"status": "consumed"}, [plain]),
        ({"from_id": orders, "to_id": dead}, [orders, dead]),
        ({"from_id": typed + 1}, []),
        ({"from_at": "2020-01-01"}, everything),
        ({"to_at": "2020-01-01"}, []),
    ]
    for by, expected in cases:
        assert every_page(db, **by) == expected, by
        assert every_page(db, **by, newest=True) == expected[::-1], by
        assert every_page(db, **by, limit=1) == expected, by


def test_times_are_exact_also_where_ids_are_missing(db: Session) -> None:
    messages = fill(db, 200, "consumed")
    at = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    db.execute(
        "UPDATE agent_outbox_messages SET created_at = %s + INTERVAL (id - %s) * 60 SECOND", str(at), messages[0]
    )
    db.execute("DELETE FROM agent_outbox_messages WHERE MOD(id, 7) IN (0, 1, 2) AND id > %s", messages[50])
    left = list(db.statuses())
    for first, last in ((0, 10), (40, 60), (100, 103), (199, 300), (-10, 0)):
        within = [message for message in left if first <= message - messages[0] < last]
        by = {"from_at": str(at + timedelta(minutes=first)), "to_at": str(at + timedelta(minutes=last))}
        assert every_page(db, **by) == within
        assert every_page(db, **by, newest=True, limit=4) == within[::-1]


def test_limits(db: Session) -> None:
    fill(db, 105, "consumed")
    assert len(find(db)[0]) == 100
    for limit in (-1, 10_001):
        with refused(30005, f"p_limit must be from 0 to 10000: {limit}"):
            find(db, limit=limit)


LARGE = 150_000
COSTS: dict[str, tuple[dict[str, Any], int]] = {
    "the newest": ({"newest": True, "limit": 50}, 400),
    "the oldest": ({"limit": 50}, 400),
    "ids": ({"from_id": 1000, "to_id": 1049}, 400),
    "a time": ({"from_at": "2026-01-01 00:10:00", "to_at": "2026-01-01 00:11:00"}, 8000),
    "an open key": ({"topic": "chat", "key": "open", "status": "pending"}, 50),
    "what is pending": ({"status": "pending"}, 100),
    "what is dead, of a type": ({"status": "dead", "biz_type": CHAT}, 100),
    # Nothing finds these but looking: a page of at most 100000, read by the primary key and again to compare.
    "a key": ({"key": "open", "newest": True}, 450_000),
    "a type": ({"biz_type": "nobody's"}, 450_000),
    "what is consumed, of a key": ({"status": "consumed", "key": "nobody"}, 450_000),
}


def test_no_form_reads_more_of_a_large_table_than_it_says(db: Session) -> None:
    messages = fill(db, LARGE, "consumed")
    db.execute(
        "UPDATE agent_outbox_messages"
        " SET created_at = TIMESTAMP'2026-01-01 00:00:00' + INTERVAL (id - %s) * 100000 MICROSECOND",
        messages[0],
    )
    opened = [db.enqueue("open"), db.enqueue("open"), db.enqueue_in("dead", "dead")]
    shift = messages[0] - 1
    for name, (by, most) in COSTS.items():
        moved = {key: value + shift if key in {"from_id", "to_id"} else value for key, value in by.items()}
        read = reads(db, functools.partial(find, db, **moved))
        assert read <= most, f"{name}: {read} reads"
        if name in {"an open key", "what is pending"}:
            assert find(db, **moved)[0] == opened[:2]
