"""The short way of a claim, which looks at new messages alone: it hands out what a search would, in the same order."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count

import pytest

from tests.kit.names import key_of, slot_of
from tests.kit.server import Connect
from tests.kit.session import CHAT, Row, Session, chat_payload, ids, reads
from tests.kit.waiting import background, eventually
from tests.sql.test_session_settings import SETTINGS

FREE = "free"
FEW, MANY = 150, 1500


def claim_more(relay: Session, limit: int = 1000, wait_ms: int = 0) -> list[Row]:
    return relay.call("outbox_claim_more_v1", "relay-a", limit, wait_ms)


def begin(relay: Session) -> None:
    """Let the session search once, so that it knows that there is nothing but what is done."""
    relay.enqueue_in("consumed", "before")
    settle(relay)


def settle(relay: Session) -> None:
    """Claim until no id is missing that may still come."""
    eventually(lambda: relay.claim(wait_ms=1) == [] and relay.value("SELECT @outbox_through IS NOT NULL"))


@contextmanager
def without_search(relay: Session) -> Iterator[None]:
    """Tell that the claims of the block have made no search."""
    # A second after the last one there is a search in any case, and sooner a look at what is due.
    relay.execute(
        "SET @outbox_searched_at = UTC_TIMESTAMP(6), @outbox_woken_at = UTC_TIMESTAMP(6), @outbox_wake_us = 1000000"
    )
    relay.execute("SET @outbox_before = @outbox_searched_at")
    yield
    assert relay.value("SELECT @outbox_searched_at = @outbox_before"), "it has made a search"


# What is handed out


@pytest.mark.parametrize("claim", [lambda relay: relay.claim(wait_ms=5000), claim_more], ids=["claim", "more"])
def test_new_messages_are_claimed_without_a_search(
    db: Session, connect: Connect, claim: Callable[[Session], list[Row]]
) -> None:
    relay = connect()
    begin(relay)
    messages = [db.enqueue(key) for key in "aab"]
    with without_search(relay):
        assert ids(claim(relay)) == messages


def test_both_ways_return_the_same_rows(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    db.enqueue("text")
    db.enqueue_bytes(b"\x00\xff")
    db.enqueue_bytes(None, key="tombstone")
    db.enqueue_with(CHAT, "chat", "headers", chat_payload(), headers={"traceparent": "00-1"})
    with without_search(relay):
        new = relay.claim(wait_ms=5000)
    assert len(new) == 4
    assert new == relay.claim(wait_ms=0)


def test_what_is_not_marked_is_claimed_again_but_by_claim_more(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    first = db.enqueue("a")
    assert ids(relay.claim(wait_ms=5000)) == [first]
    second = db.enqueue("a")
    assert ids(claim_more(relay)) == [second]
    assert claim_more(relay) == []
    third = db.enqueue("b")
    assert ids(relay.claim(wait_ms=5000)) == [first, second, third]


def test_delayed_message_is_passed_over_and_holds_back_its_lane(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    db.enqueue_with(CHAT, "chat", "a", chat_payload(), delay_seconds=60)
    other = db.enqueue("b")
    assert ids(relay.claim(wait_ms=5000)) == [other]
    db.enqueue("a")
    assert claim_more(relay) == []
    assert ids(relay.claim(wait_ms=5000)) == [other]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_message_behind_one_that_is_not_committed_is_left_to_a_search(db: Session, connect: Connect, end: str) -> None:
    relay, slow = connect(), connect()
    begin(relay)
    slow.execute("START TRANSACTION")
    early = slow.enqueue("a")
    late, other = db.enqueue("a"), db.enqueue("b")
    assert claim_more(relay) == []
    assert ids(relay.claim(wait_ms=5000)) == [other]
    slow.execute(end)
    claimed = relay.claim(wait_ms=5000)
    assert ids(claimed) == ([early] if end == "COMMIT" else []) + [late, other]


def test_message_behind_ids_that_were_rolled_back_needs_no_search(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    db.execute("START TRANSACTION")
    for key in "ab":
        db.enqueue(key)
    db.execute("ROLLBACK")
    message = db.enqueue("a")
    # It makes none. Statements of other tests may be running at one moment, not at all of them.
    claimed: list[Row] = []

    def claims() -> bool:
        claimed.extend(claim_more(relay))
        return bool(claimed)

    eventually(claims)
    assert ids(claimed) == [message]


def test_message_behind_an_id_that_is_still_to_come_is_left_to_a_search(db: Session, connect: Connect) -> None:
    relay, slow = connect(), connect()
    begin(relay)
    insert = (
        "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload) VALUES"
        f" ('{CHAT}', 'chat', 'b', '{{}}'), ('{CHAT}', 'chat', CONCAT('a', IF(SLEEP(0.5), '', '')), '{{}}')"
    )
    with background(lambda: slow.execute(insert)) as inserting:
        eventually(lambda: db.is_in(slow.session_id, "User sleep"))
        late = db.enqueue("a")
        claimed: list[int] = []
        while not inserting.done():
            claimed += ids(claim_more(relay))
        inserting.result(timeout=60)
    while len(claimed) < 3:
        claimed += ids(relay.claim(wait_ms=5000))
    assert claimed == [late - 2, late - 1, late]


def test_message_behind_a_failed_one_is_not_claimed(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    first = db.enqueue("a")
    claimed = relay.claim(wait_ms=5000)
    assert ids(claimed) == [first]
    assert relay.mark("failed", claimed) == 1
    db.enqueue("a")
    other = db.enqueue("b")
    assert claim_more(relay) == []
    assert ids(relay.claim(wait_ms=5000)) == [other]


def test_paused_topic_is_not_claimed(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    db.call("outbox_pause_v1", "paused", None)
    db.enqueue("a", topic="paused")
    other = db.enqueue("a")
    assert claim_more(relay) == []
    assert ids(relay.claim(wait_ms=5000)) == [other]


@pytest.mark.parametrize(("topic", "biz_type"), [("paused", None), (None, "paused")])
def test_pause_of_something_else_needs_no_search(
    db: Session, connect: Connect, topic: str | None, biz_type: str | None
) -> None:
    relay = connect()
    begin(relay)
    db.call("outbox_pause_v1", topic, biz_type)
    settle(relay)
    message = db.enqueue("a")
    with without_search(relay):
        assert ids(relay.claim(wait_ms=5000)) == [message]
    db.call("outbox_resume_v1", topic, biz_type)
    other = db.enqueue("b")
    assert claim_more(relay) == []
    assert ids(relay.claim(wait_ms=5000)) == [message, other]


def test_message_that_comes_back_into_the_queue_by_itself_is_claimed_before_a_new_one(
    db: Session, connect: Connect
) -> None:
    relay = connect()
    first = db.enqueue_published("a")
    begin(relay)
    # As after the clock was set back: due at a time before it was enqueued.
    db.execute("UPDATE agent_outbox_messages SET status = 'pending', next_retry_at = created_at WHERE id = %s", first)
    second = db.enqueue("a")
    assert claim_more(relay) == []
    assert ids(relay.claim(wait_ms=5000)) == [first, second]


def test_messages_of_other_relays_are_left_to_them(db: Session, connect: Connect) -> None:
    relay, other = connect(), connect()
    begin(relay)
    eventually(
        lambda: not other.claim("relay-b", wait_ms=1) + relay.claim(wait_ms=1) and len(db.owned("relay-b")) == 32
    )
    owned = db.owned("relay-a")
    messages = {slot: db.enqueue(key_of(slot)) for slot in range(64)}
    claimed = ids(relay.claim(wait_ms=5000))
    assert claimed == [message for slot, message in messages.items() if slot in owned]
    assert ids(other.claim("relay-b", wait_ms=5000)) == [m for slot, m in messages.items() if slot not in owned]


def test_claim_more_of_a_session_that_has_claimed_nothing_returns_nothing(db: Session, connect: Connect) -> None:
    db.enqueue("a")
    assert claim_more(connect()) == []


def test_claim_more_waits_for_what_comes(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    with background(lambda: claim_more(relay, wait_ms=60_000)) as claim:
        eventually(lambda: db.is_in(relay.session_id, "User sleep"))
        message = db.enqueue("a")
        assert ids(claim.result(timeout=60)) == [message]


def test_more_than_a_batch_is_shared_out_by_a_search(db: Session, connect: Connect) -> None:
    relay = connect()
    begin(relay)
    hot = [db.enqueue("hot") for _ in range(20)]
    cold = db.enqueue(key_of((slot_of("hot") + 1) % 64))
    assert claim_more(relay, limit=10) == []
    claimed = ids(relay.claim(limit=10, wait_ms=5000))
    assert cold in claimed
    assert claimed[0] == hot[0]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_of_the_session_change_nothing(db: Session, connect: Connect, setting: str) -> None:
    relay = connect()
    db.enqueue_in("consumed", "before")
    relay.execute(f"SET SESSION {setting}")
    relay.claim(wait_ms=1)
    messages = [db.enqueue(key) for key in "aab"]
    with without_search(relay):
        assert ids(relay.claim(wait_ms=5000)) == messages
    messages = [db.enqueue(key) for key in "aab"]
    assert ids(claim_more(relay)) == messages
    assert not relay.in_transaction()


# What it costs


def consumed(db: Session, rows: int) -> None:
    add(db, rows, "'consumed', NULL", "CONCAT('old-', n)")


def under_way(db: Session, rows: int) -> None:
    add(db, rows, "'published', NULL", "CONCAT('sent-', n)")


def under_way_in_the_lane(db: Session, rows: int) -> None:
    add(db, rows, "'published', NULL", "'a'")


def waiting(db: Session, rows: int) -> None:
    add(db, rows, "'pending', UTC_TIMESTAMP(6) + INTERVAL 1 DAY", "CONCAT('late-', n)")


def add(db: Session, rows: int, state: str, key: str) -> None:
    db.execute(
        "INSERT INTO agent_outbox_messages (biz_type, topic, status, next_retry_at, message_key, payload, created_at)"
        " WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
        f" SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ %s, 'chat', {state}, {key}, '{{}}',"
        " UTC_TIMESTAMP(6) - INTERVAL 1 HOUR FROM numbers",
        *(rows, CHAT),
    )


@pytest.mark.parametrize("state", [consumed, under_way, under_way_in_the_lane, waiting])
def test_claim_of_a_new_message_reads_the_same_whatever_else_is_there(
    db: Session, connect: Connect, state: Callable[[Session, int], None]
) -> None:
    costs = []
    for rows in (FEW, MANY):
        state(db, rows)
        relay = connect()
        begin(relay)
        db.enqueue("a")
        with without_search(relay):
            costs.append(reads(relay, partial(relay.claim, wait_ms=5000)))
        db.clean()
    assert costs[0] == costs[1] < 200


def test_claim_of_many_young_messages_reads_as_much_for_each_as_of_few(db: Session, connect: Connect) -> None:
    costs = {}
    for rows in (FEW, MANY):
        relay = connect()
        begin(relay)
        db.enqueue_batch(*({"key": f"k-{number}"} for number in range(rows)))
        with without_search(relay):
            costs[rows] = reads(relay, partial(relay.claim, limit=rows + 1, wait_ms=5000)) / rows
        db.clean()
    assert costs[MANY] < 1.1 * costs[FEW]


# At random


class Traffic:
    """Applications that commit late or never, a relay that marks late or not, and failures; seeded."""

    def __init__(self, db: Session, connect: Connect, seed: int) -> None:
        self.db, self.relay = db, connect()
        self.chance = random.Random(seed)
        self.writers = [connect() for _ in range(3)]
        self.is_open = [False] * 3
        self.numbers = count()
        self.unmarked: list[Row] = []
        self.short = self.more = 0
        self.sent: dict[str, list[int]] = {}

    def step(self) -> None:
        """Do something: what is likely to be done is named more than once."""
        usual = [*[self.write, self.go_on] * 3, self.end, self.mark_and_claim]
        self.chance.choice([*usual * 3, self.fail, self.delay, self.pause, self.make_due])()

    def write(self) -> None:
        number = self.chance.randrange(3)
        if not self.is_open[number] and self.chance.random() < 0.15:
            self.writers[number].execute("START TRANSACTION")
            self.is_open[number] = True
        biz_type = self.chance.choice([CHAT, CHAT, CHAT, FREE])
        self.writers[number].enqueue(self.chance.choice("aabcdefghijkl"), biz_type=biz_type, payload=chat_payload())

    def end(self) -> None:
        for number in range(3):
            if self.is_open[number]:
                self.writers[number].execute(self.chance.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))
                self.is_open[number] = False
        self.mark_and_claim(wait_ms=200)

    def claimed(self, rows: list[Row], known: set[int]) -> None:
        """No message of a lane is passed: what is earlier and pending, committed or not, is claimed, too."""
        self.db.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        last = {row["message_key"]: row["id"] for row in rows if row["biz_type"] == CHAT}
        for key, message in last.items():
            pending = self.db.column(
                "SELECT id FROM agent_outbox_messages"
                " WHERE message_key = %s AND id < %s AND status = 'pending' AND biz_type = %s",
                *(key, message, CHAT),
            )
            assert set(pending) <= known | set(ids(rows)), f"{message} has passed an earlier one of {key}"
        self.db.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for row in rows:
            if row["biz_type"] == CHAT and row["id"] not in known:
                self.sent.setdefault(row["message_key"], []).append(row["id"])

    def go_on(self) -> None:
        rows = claim_more(self.relay)
        self.short += len(rows)
        self.more += len(rows)
        assert not set(ids(rows)) & set(ids(self.unmarked)), "claimed twice"
        self.claimed(rows, set(ids(self.unmarked)))
        self.unmarked += rows

    def mark_and_claim(self, wait_ms: int = 1) -> None:
        self.relay.mark("published", sorted(self.unmarked, key=lambda row: row["id"]))
        before = self.relay.value("SELECT @outbox_searched_at")
        self.unmarked = self.relay.claim(wait_ms=wait_ms)
        if self.relay.value("SELECT @outbox_searched_at") == before:
            self.short += len(self.unmarked)
        self.claimed(self.unmarked, set())

    def fail(self) -> None:
        failed = self.chance.sample(self.unmarked, min(1, len(self.unmarked)))
        self.unmarked = [row for row in self.unmarked if row not in failed]
        self.relay.mark("published", sorted(self.unmarked, key=lambda row: row["id"]))
        self.relay.mark(self.chance.choice(["failed", "dead"]), failed)
        self.unmarked = []

    def delay(self) -> None:
        key = self.chance.choice("abcdefgh")
        self.db.enqueue_with(CHAT, "chat", key, chat_payload(), delay_seconds=self.chance.choice([1, 1, 60]))

    def pause(self) -> None:
        self.db.call("outbox_pause_v1", "chat", None)
        self.mark_and_claim()
        self.db.call("outbox_resume_v1", "chat", None)

    def make_due(self) -> None:
        self.db.make_due(
            *self.db.column("SELECT id FROM agent_outbox_messages WHERE status = 'pending' AND waits_for = 1")
        )

    def finish(self) -> None:
        """All that is committed is claimed in the end."""
        self.end()
        self.make_due()

        def is_over() -> bool:
            self.relay.mark("published", sorted(self.unmarked, key=lambda row: row["id"]))
            self.unmarked = self.relay.claim(wait_ms=50)
            return not self.unmarked and "pending" not in self.db.statuses().values()

        eventually(is_over, seconds=60)


@pytest.mark.parametrize("seed", range(4))
def test_no_message_passes_an_earlier_one_of_its_lane_and_none_is_left(
    db: Session, connect: Connect, seed: int
) -> None:
    db.register(FREE, "outbox_internal_write_chat_history_v1", ordering="none")
    traffic = Traffic(db, connect, seed)
    begin(traffic.relay)
    steps = 0
    while steps < 200 or traffic.more < 10 or traffic.short < 20:  # on a busy machine a search is due more often
        traffic.step()
        steps += 1
    traffic.finish()
