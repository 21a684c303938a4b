"""What applications, relays, consumers and operators call reads as many rows in a large outbox as in a small one."""

import json
from collections.abc import Iterable
from functools import partial

import pytest

from tests.kit.application import Application
from tests.kit.large_outbox import Call, Contents, fail, fill, look, work
from tests.kit.session import Session, reads

SMALL, LARGE = Contents(consumed=500, pending=1000, failing_lanes=64), Contents(4000, 8000, 512, topics=100)
MORE = 2
"""Where a call reads in proportion to the size, it is 6 times and more."""


def costs(session: Session, calls: Iterable[Call]) -> dict[str, float]:
    """How many rows and index entries each call reads for each of its messages."""
    read = {}
    for name, call, messages in calls:
        total = reads(session, call)
        read[name] = total / len(messages)
    return read


def costs_of_work(db: Session, contents: Contents) -> dict[str, float]:
    fill(db, contents)
    db.claim("relay-a", 1)
    found = costs(db, work(db, "relay-a", 100)) | costs(db, fail(db, "relay-a"))
    db.clean()
    return found


def growing(small: dict[str, float], large: dict[str, float]) -> dict[str, tuple[float, float]]:
    return {name: (small[name], read) for name, read in large.items() if read > MORE * small[name]}


def test_work_costs_the_same_in_a_large_outbox(db: Session) -> None:
    assert growing(costs_of_work(db, SMALL), costs_of_work(db, LARGE)) == {}


def test_work_costs_the_same_where_one_lane_has_all_that_is_pending(db: Session) -> None:
    one_lane = costs_of_work(db, Contents(consumed=500, pending=2000, keys=1))
    assert growing(one_lane, costs_of_work(db, Contents(consumed=500, pending=12_000, keys=1))) == {}


def test_messages_that_fail_are_listed_without_reading_the_others(db: Session) -> None:
    read = []
    for contents in (Contents(500, 500, 20), Contents(8000, 8000, 20)):
        fill(db, contents)
        found = costs(db, look(db))
        read.append({name: found[name] for name in ("outbox_list_failing_v1", "outbox_failing")})
        db.clean()
    assert growing(*read) == {}


def test_messages_that_become_due_are_found_without_reading_many_that_are_not(db: Session) -> None:
    read = []
    for failing in (64 * 20, 64 * 80):
        fill(db, Contents(0, 3 * failing, failing))
        db.claim()
        due = db.column("SELECT id FROM agent_outbox_messages WHERE retry_count > 0 ORDER BY message_key LIMIT 20")
        db.make_due(*due)
        read.append(reads(db, lambda: db.claim(wait_ms=0)))
        db.clean()
    assert read[1] < MORE * read[0]


def test_message_that_fails_or_comes_early_is_set_back_without_reading_the_rest_of_its_lane(
    db: Session, app: Application
) -> None:
    app.business("fails", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it fails'")
    read = []
    for pending in (1000, 6000):
        fill(db, Contents(0, pending, keys=1))
        db.execute("UPDATE agent_outbox_messages SET biz_type = 'fails'")
        claimed = db.claim(limit=20)
        db.mark("published", claimed)
        records = [db.record(row["id"]) for row in claimed]
        calls = [("early", records[-1:]), ("fails", records), ("again", records[:1])]
        consume = ((name, partial(db.call, "outbox_consume_v1", json.dumps(batch)), batch) for name, batch in calls)
        read.append(costs(db, consume))
        assert {row["status"] for row in db.messages()} == {"pending"}
        db.execute("DELETE FROM agent_outbox_messages")
    assert growing(*read) == {}


@pytest.mark.parametrize("parked", [False, True], ids=["queued", "parked"])
def test_heads_of_a_long_lane_are_read_without_the_rest_of_it(db: Session, parked: bool) -> None:
    read = []
    for pending in (1000, 6000):
        fill(db, Contents(0, pending, keys=1))
        first = db.value("SELECT MIN(id) FROM agent_outbox_messages")
        if parked:
            db.execute(
                "UPDATE agent_outbox_messages SET noted_for = next_retry_at, parked_for = 1,"
                " parked_until = UTC_TIMESTAMP(6) + INTERVAL 1 DAY WHERE id >= %s",
                first + 100,
            )
        db.claim(limit=1)
        # As where what is up to the first id is left out, because a transaction is open there.
        heads = ("relay-a", 100, 64, 0 if parked else first - 1, first + pending, None)
        read.append(reads(db, partial(db.out, "outbox_internal_read_heads_v1", *heads)))
        assert len(json.loads(db.value("SELECT @out"))) == 100
        db.clean()
    assert read[1] < MORE * read[0]
