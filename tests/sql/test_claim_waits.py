"""outbox_claim_v1: transactions that commit late, and how it waits in the server."""

import time

import pytest

from tests.kit.names import key_of, slot_of
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, ids
from tests.kit.waiting import background, eventually


def enqueue_many(db: Session, keys: list[str]) -> list[int]:
    """Enqueue a message for each key, in one transaction."""
    db.execute("START TRANSACTION")
    messages = [db.enqueue(key) for key in keys]
    db.execute("COMMIT")
    return messages


def enqueue_delayed(db: Session, key: str, seconds: int) -> int:
    return db.enqueue_with(CHAT, "chat", key, "{}", delay_seconds=seconds)


# Transactions that commit late


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_uncommitted_message_holds_back_the_later_ones_of_its_key_only(db: Session, connect: Connect, end: str) -> None:
    slow = connect()
    slow.execute("START TRANSACTION")
    early = slow.enqueue("k")
    late, other, same_slot = enqueue_many(db, ["k", "another", key_of(slot_of("k"), 2)])
    assert early < late
    assert db.claim_ids() == [other, same_slot]
    slow.execute(end)
    assert db.claim_ids() == ([early] if end == "COMMIT" else []) + [late, other, same_slot]


@pytest.mark.parametrize("open_keys", [1, 250])
def test_open_transaction_whose_keys_fill_the_batch_delays_no_other_key(
    db: Session, connect: Connect, open_keys: int
) -> None:
    slow = connect()
    slow.execute("START TRANSACTION")
    early = [slow.enqueue(f"k-{number}") for number in range(open_keys)]
    late = enqueue_many(db, ["k-0"] * 250)
    others = enqueue_many(db, [f"another-{number}" for number in range(5)])
    time.sleep(0.2)  # longer than an id without a row is waited for
    assert db.claim_ids(limit=100) == others
    slow.execute("COMMIT")
    assert set(db.claim_ids(limit=100)) <= {*early, *late, *others}
    assert len(db.claim_ids(limit=100)) == 100


def test_uncommitted_message_does_not_hold_back_earlier_ones(db: Session, connect: Connect) -> None:
    early = db.enqueue("k")
    slow = connect()
    slow.execute("START TRANSACTION")
    slow.enqueue("k")
    assert db.claim_ids() == [early]


def test_uncommitted_delayed_message_holds_back_the_later_ones_of_its_key(db: Session, connect: Connect) -> None:
    slow = connect()
    slow.execute("START TRANSACTION")
    enqueue_delayed(slow, "k", 60)
    late, other = enqueue_many(db, ["k", "another"])
    assert db.claim_ids() == [other]
    db.execute("CALL outbox_internal_next_batch_v1('relay-a', 10, 64, NULL, @top, @batch, @is_held, @is_all)")
    assert db.value("SELECT @is_held") == 1, "the next look would come a second later, or begin behind it"
    slow.execute("ROLLBACK")
    assert db.claim_ids() == [late, other]


def test_claim_that_waits_goes_on_when_the_late_transaction_commits(db: Session, connect: Connect) -> None:
    slow, relay = connect(), connect()
    slow.execute("START TRANSACTION")
    early = slow.enqueue("k")
    late = db.enqueue("k")
    with background(lambda: relay.claim(wait_ms=60_000)) as claim:
        eventually(lambda: db.is_in(relay.session_id, "User sleep"))
        slow.execute("COMMIT")
        assert ids(claim.result(timeout=20)) == [early, late]


def test_message_that_is_not_inserted_yet_holds_back_the_later_ones(db: Session, connect: Connect) -> None:
    slow = connect()
    db.enqueue_in("consumed")
    insert = "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload) VALUES "
    rows = f"('{CHAT}', 'chat', 'another', '{{}}'), ('{CHAT}', 'chat', CONCAT('k', IF(SLEEP(0.05), '', '')), '{{}}')"
    with background(lambda: slow.execute(insert + rows)) as inserting:
        eventually(lambda: db.is_in(slow.session_id, "User sleep"))
        late = db.enqueue("k")
        taken: list[int] = []
        while len(taken) < 3:
            claimed = db.claim(wait_ms=5000)
            taken += ids(claimed)
            db.mark("published", claimed)
        assert taken == [late - 2, late - 1, late]
        inserting.result(timeout=60)


def roll_back(session: Session) -> None:
    """Take an id that will never have a row."""
    session.execute("START TRANSACTION")
    session.enqueue("another")
    session.execute("ROLLBACK")


def enqueue_young(db: Session, key: str) -> int:
    """Enqueue a message that stays young for as long as a test takes."""
    message = db.enqueue(key)
    db.execute("UPDATE agent_outbox_messages SET created_at = created_at + INTERVAL 0.9 SECOND WHERE id = %s", message)
    return message


def test_id_that_was_rolled_back_holds_back_nothing_where_no_statement_inserts(db: Session, connect: Connect) -> None:
    early, busy = db.enqueue("k"), connect()
    with background(lambda: busy.execute("DO SLEEP(3)")):
        eventually(lambda: db.is_in(busy.session_id, "User sleep"))
        roll_back(db)
        late = enqueue_young(db, "late")
        # Other tests' statements may be running at one moment, not at all of them.
        eventually(lambda: db.claim_ids() == [early, late], seconds=0.8)


STATEMENTS = {
    "statement": "{insert} {rows}",
    "commented": "/* of the shop */ {insert} {rows}",
    "prepared": "SET @rows = {quoted}; PREPARE slow FROM @rows; EXECUTE slow",
    "nested": "CREATE PROCEDURE app_inserts () BEGIN DO 1; {insert} {rows}; END; CALL app_inserts();"
    " DROP PROCEDURE app_inserts",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_statement_that_is_inserting_holds_back_what_is_behind_its_ids(
    db: Session, connect: Connect, statement: str
) -> None:
    slow, relay = connect(), connect()
    db.enqueue_in("consumed")
    insert = "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload) VALUES"
    rows = f"('{CHAT}', 'chat', 'another', '{{}}'), ('{CHAT}', 'chat', CONCAT('k', IF(SLEEP(0.5), '', '')), '{{}}')"
    quoted = "'" + f"{insert} {rows}".replace("'", "''") + "'"
    with background(lambda: slow.execute(statement.format(insert=insert, rows=rows, quoted=quoted))) as inserting:
        eventually(lambda: db.is_in(slow.session_id, "User sleep"))
        late = enqueue_young(db, "k")
        assert relay.claim_ids(wait_ms=1) == [], "its first row is not committed, its second not inserted"
        inserting.result(timeout=60)
    assert relay.claim_ids(wait_ms=5000) == [late - 2, late - 1, late]


def test_id_that_was_rolled_back_holds_back_the_later_ones_for_a_moment_where_statements_cannot_be_seen(
    db: Session, connect: Connect
) -> None:
    early, slow = db.enqueue("k"), connect()
    db.execute("SET @outbox_sees_inserts = FALSE")
    slow.execute("START TRANSACTION")
    slow.enqueue("another")
    slow.execute("ROLLBACK")
    late = db.enqueue("late")
    db.execute("UPDATE agent_outbox_messages SET created_at = created_at + INTERVAL 0.9 SECOND WHERE id = %s", late)
    claimed = db.claim()
    assert ids(claimed) == [early]
    db.mark("published", claimed)
    assert db.claim_ids(wait_ms=5000) == [late]


@pytest.mark.parametrize("created_at", ["UTC_TIMESTAMP(6) - INTERVAL 5 HOUR", "UTC_TIMESTAMP(6) + INTERVAL 8 HOUR"])
def test_times_of_an_applications_own_hold_back_nothing(db: Session, connect: Connect, created_at: str) -> None:
    early, slow = db.enqueue("k"), connect()
    slow.execute("START TRANSACTION")
    slow.enqueue("another")
    slow.execute("ROLLBACK")
    late = db.enqueue("late")
    db.execute(f"UPDATE agent_outbox_messages SET created_at = {created_at} WHERE id = %s", late)
    assert db.claim_ids() == [early, late]


# Waiting in the server


def test_message_that_arrives_ends_the_wait_within_milliseconds(db: Session, connect: Connect) -> None:
    relay = connect()
    took = [60.0]
    # The best of many, as the machine may be busy; the wait looks every 20 ms.
    while min(took) > 0.2 and len(took) < 30:
        with background(lambda: relay.claim(wait_ms=60_000)) as claim:
            eventually(lambda: db.is_in(relay.session_id, "User sleep"))
            message = db.enqueue()
            arrived = time.monotonic()
            claimed = claim.result(timeout=60)
            took.append(time.monotonic() - arrived)
        assert ids(claimed) == [message]
        assert db.mark("published", claimed) == 1
    assert min(took) < 0.2


def test_wait_without_work_ends_empty_at_its_end(db: Session) -> None:
    began = time.monotonic()
    assert db.claim(wait_ms=150) == []
    assert 0.15 <= time.monotonic() - began < 20


@pytest.mark.parametrize("wait_ms", [None, 0])
def test_claim_does_not_wait_unless_told(db: Session, wait_ms: int | None) -> None:
    began = time.monotonic()
    assert db.claim(wait_ms=wait_ms) == []
    assert time.monotonic() - began < 10


def test_claim_with_work_at_hand_does_not_wait(db: Session) -> None:
    message = db.enqueue()
    began = time.monotonic()
    assert ids(db.claim(wait_ms=60_000)) == [message]
    assert time.monotonic() - began < 20


def test_message_that_becomes_due_during_the_wait_is_found(db: Session) -> None:
    message = db.enqueue()
    db.call("outbox_mark_failed_v1", message, "wait")
    db.execute("UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6) + INTERVAL 50000 MICROSECOND")
    began = time.monotonic()
    assert ids(db.claim(wait_ms=60_000)) == [message]
    assert time.monotonic() - began < 20
