"""What waits outside of the queue, or is not committed, costs the others nothing, and comes back in order."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import pytest

from tests.kit.server import Connect
from tests.kit.session import CHAT, Row, Session, chat_payload, ids, pages_read, reads

FEW, MANY = 500, 5000
ROUNDS = 30


def fill(
    session: Session,
    messages: int,
    *,
    topic: str = "chat",
    biz_type: str = CHAT,
    keys: int = 64,
    retry_count: int = 0,
    waits_seconds: int = 0,
) -> None:
    """Insert messages of keys that no other test has."""
    session.execute(
        "INSERT INTO agent_outbox_messages"
        " (biz_type, topic, message_key, payload, retry_count, next_retry_at, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
        " SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ %s, %s, CONCAT('filled-', i MOD %s), %s, %s,"
        " clock.now + INTERVAL %s SECOND, clock.now, clock.now"
        " FROM n CROSS JOIN (SELECT UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AS now) AS clock",
        *(messages, biz_type, topic, keys, chat_payload(), retry_count, 60 * bool(waits_seconds) + waits_seconds),
    )


def delay(db: Session, _: Connect, messages: int) -> None:
    fill(db, messages, waits_seconds=86_400)


def fail(db: Session, _: Connect, messages: int) -> None:
    fill(db, messages, retry_count=3, waits_seconds=30)


def pause_topic(db: Session, _: Connect, messages: int) -> None:
    fill(db, messages, topic="paused")
    db.call("outbox_pause_v1", "paused", None)


def pause_type(db: Session, _: Connect, messages: int) -> None:
    fill(db, messages, biz_type="paused")
    db.call("outbox_pause_v1", None, "paused")


def follow_a_failing_one(db: Session, _: Connect, messages: int) -> None:
    db.call("outbox_mark_failed_v1", db.enqueue("filled-0"), "wait")
    db.execute("UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY")
    fill(db, messages, keys=1)


def leave_one_transaction_open(_: Session, connect: Connect, messages: int) -> None:
    session = connect()
    session.execute("START TRANSACTION")
    fill(session, messages)


WAYS: list[Callable[[Session, Connect, int], None]] = [
    delay,
    fail,
    pause_topic,
    pause_type,
    follow_a_failing_one,
    leave_one_transaction_open,
]


@contextmanager
def sessions(connect: Connect) -> Iterator[Connect]:
    """Sessions that are closed behind the block, and their transactions with them."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(connect(*arguments, **options))


def cost_of_another(db: Session, relay: Session) -> int:
    """Enqueue a message of another key, claim it, and return what the claim has read."""
    other = db.enqueue("another")
    claimed: list[Row] = []
    cost = reads(relay, lambda: claimed.extend(relay.claim(wait_ms=2000)))
    assert ids(claimed) == [other]
    assert relay.mark("published", claimed) == 1
    return cost


def cost_of_a_claim(
    db: Session, connect: Connect, wait: Callable[[Session, Connect, int], None], messages: int
) -> float:
    """What a claim of one other message reads, in the median, once the relay has seen what waits."""
    with sessions(connect) as to_wait:
        wait(db, to_wait, messages)
        relay = connect()
        costs = [cost_of_another(db, relay) for _ in range(messages // 32 + ROUNDS)]
    db.clean()
    return median(costs[-ROUNDS:])


def test_claim_that_follows_many_small_open_transactions_reads_them_each_time_and_little_else(
    db: Session, connect: Connect
) -> None:
    with sessions(connect) as to_wait:
        for number in range(50):
            session = to_wait()
            session.execute("START TRANSACTION")
            session.enqueue(f"filled-{number}")
        relay = connect()
        assert median(cost_of_another(db, relay) for _ in range(ROUNDS)) < 3000


@pytest.mark.parametrize("wait", WAYS, ids=lambda way: way.__name__)
def test_claim_costs_the_same_however_many_messages_wait(
    db: Session, connect: Connect, wait: Callable[[Session, Connect, int], None]
) -> None:
    # The slower the machine, the more often a claim looks for what is due as well, in each slot.
    assert cost_of_a_claim(db, connect, wait, MANY) < 1.3 * cost_of_a_claim(db, connect, wait, FEW) + 300


def test_first_claim_beside_an_open_transaction_looks_at_few_of_its_messages(db: Session, connect: Connect) -> None:
    pages = []
    for messages in (2000, 20_000):
        with sessions(connect) as to_wait:
            leave_one_transaction_open(db, to_wait, messages)
            other, relay = db.enqueue("another"), to_wait()
            claimed: list[Row] = []
            pages.append(pages_read(db, lambda: claimed.extend(relay.claim(wait_ms=2000))))  # noqa: B023
            assert ids(claimed) == [other]
        db.clean()
    assert pages[1] < 3 * pages[0]


@pytest.mark.parametrize("wait", WAYS[:-1], ids=lambda way: way.__name__)
def test_first_claim_of_a_relay_looks_at_few_of_those_that_wait(
    db: Session, connect: Connect, wait: Callable[[Session, Connect, int], None]
) -> None:
    wait(db, connect, MANY)
    first = connect()
    for _ in range(MANY // 32 + ROUNDS):
        cost_of_another(db, first)
    first.call("outbox_leave_v1", "relay-a")
    assert cost_of_another(db, connect()) < MANY


def drain(relay: Session) -> list[int]:
    """Claim and mark until nothing more comes; returns the ids in the order in which they were handed out."""
    taken: list[int] = []
    while claimed := relay.claim(limit=100, wait_ms=1500):
        taken += ids(claimed)
        relay.mark("published", claimed)
    return taken


@pytest.mark.parametrize(
    "wait", [pause_topic, pause_type, follow_a_failing_one, leave_one_transaction_open], ids=lambda way: way.__name__
)
def test_what_has_waited_comes_back_whole_and_each_lane_in_its_order(
    db: Session, connect: Connect, wait: Callable[[Session, Connect, int], None]
) -> None:
    with sessions(connect) as to_wait:
        holder = to_wait()
        wait(db, lambda *_, **__: holder, MANY)
        relay = connect()
        for _ in range(MANY // 32):
            cost_of_another(db, relay)
        holder.execute("COMMIT")
        db.execute(
            "UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6)"
            " WHERE status = 'pending' AND retry_count > 0"
        )
        db.call("outbox_resume_v1", "paused", None)
        db.call("outbox_resume_v1", None, "paused")
        later = [db.enqueue(f"filled-{number}", topic=topic) for number in range(64) for topic in ("chat", "paused")]
        taken = drain(relay)
    lanes: dict[tuple[str, str], list[int]] = {}
    for row in db.messages():
        lanes.setdefault((row["topic"], row["message_key"]), []).append(row["id"])
    assert set(later) <= set(taken)
    assert len(taken) == len(set(taken)) == MANY + len(later) + (wait is follow_a_failing_one)
    place = {message: number for number, message in enumerate(taken)}
    for lane in lanes.values():
        places = [place[message] for message in lane if message in place]
        assert places == sorted(places)
    assert db.rows("SELECT * FROM outbox_pauses") == []


def test_message_that_is_made_due_or_ends_frees_those_parked_behind_it(db: Session) -> None:
    for end in ("outbox_mark_dead_v1", "outbox_persist_chat_history_v1", "outbox_mark_published_v1", "due"):
        first, behind = db.enqueue(end), db.enqueue(end)
        db.call("outbox_mark_failed_v1", first, "wait")
        assert db.claim_ids() == []
        assert db.value("SELECT waits_for FROM agent_outbox_messages WHERE id = %s", behind) == 1
        if end == "due":
            db.make_due(first)
        else:
            db.call(
                end,
                first,
                *{"outbox_mark_dead_v1": ["never"], "outbox_persist_chat_history_v1": [chat_payload()]}.get(end, []),
            )
        claimed = db.claim()
        assert ids(claimed) == [first, behind] if end == "due" else [behind]
        db.mark("published", claimed)


def test_copy_of_a_record_that_takes_effect_while_its_message_waits_frees_those_behind_it(db: Session) -> None:
    first = db.enqueue_published("k")
    behind = db.enqueue("k")
    db.call("outbox_mark_failed_v1", first, "wait")
    assert db.claim_ids() == []
    assert db.consume(first) == {first: "consumed"}
    assert db.claim_ids() == [behind]


def test_pause_that_is_on_again_before_its_messages_are_back_keeps_the_others(db: Session) -> None:
    pause_topic(db, lambda: db, 300)
    assert db.claim(wait_ms=None) == []
    db.call("outbox_resume_v1", "paused", None)
    taken = db.claim(limit=10)
    db.mark("published", taken)
    assert len(taken) == 10
    assert db.call("outbox_pause_v1", "paused", None)[0]["changed"] == 1
    assert db.claim() == []
    assert db.value("SELECT parked FROM outbox_policies WHERE name = 'paused'") == 290
    db.call("outbox_resume_v1", "paused", None)
    assert sorted(ids(taken) + drain(db)) == sorted(row["id"] for row in db.messages())


def test_messages_of_a_pause_that_was_deleted_by_hand_come_back_with_the_next_relay(
    db: Session, connect: Connect
) -> None:
    pause_topic(db, connect, 10)
    assert db.claim() == []
    db.execute("DELETE FROM outbox_pauses")
    assert db.claim() == []
    db.call("outbox_leave_v1", "relay-a")
    assert len(connect().claim()) == 10
