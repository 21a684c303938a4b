"""Random operations on the outbox, each compared with what a small model says of it.

The clock of the session is set by the test, so that a run is the same each time, and time passes only when it says so.
"""

import json
from collections import defaultdict
from datetime import UTC, datetime
from itertools import count

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.kit.names import slot_of
from tests.kit.session import CHAT, Failing, Session, chat_payload
from tests.sql.model import SECOND, Message, Model

FREE = "chat_without_order"
START = int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()) * SECOND

Claimed = tuple[str, list[tuple[int, int | None]]]

KINDS = st.sampled_from(["published", "published", "published", "failed", "dead"])
RELAYS = st.sampled_from(["relay-a", "relay-b"])
LIMITS = st.sampled_from([1000, 1000, 1000, 5, 2, 1])
PARTS = st.sampled_from([slice(None), slice(None), slice(1), slice(1, None)])
# A number picks a message: an open one, or any at all.
PICKS = st.integers(0, 99)
NEW = st.tuples(
    st.sampled_from("aaabc"),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([True] * 7 + [False]),
    st.sampled_from([None, None, 1, 2, 3]),
)


def microseconds(time: datetime | None) -> int | None:
    """Count the microseconds since 1970 of a time in UTC as MySQL returns it."""
    return None if time is None else round(time.replace(tzinfo=UTC).timestamp() * SECOND)


def as_mysql(time: int) -> str:
    """Write microseconds since 1970 as MySQL writes a time."""
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S") + f".{time % SECOND:06}"


class Outbox(RuleBasedStateMachine):
    """Two relays and any number of consumers on messages of three keys, with order and without."""

    claims: Bundle[Claimed] = Bundle("claims")
    db: Session

    def __init__(self) -> None:
        """Begin with an empty outbox."""
        super().__init__()
        self.model = Model()
        self.numbers = count()
        self.now = START
        self.consumed: set[int] = set()
        self.db.clean()
        self.db.register(FREE, "outbox_internal_write_chat_history_v1", ordering="none")

    def tick(self, seconds: float = 0.001) -> int:
        """Set the session's clock a little further, and return it."""
        self.now += round(seconds * SECOND)
        self.db.execute(f"SET timestamp = {self.now // SECOND}.{self.now % SECOND:06}")
        return self.now

    def pick(self, number: int) -> Message:
        """Choose one of the open messages; each fourth number, and where none is open, any."""
        messages = list(self.model.messages.values())
        chosen = [message for message in messages if message.is_open and number % 4] or messages
        return chosen[number // 4 % len(chosen)]

    def owned(self, relay: str) -> set[int]:
        """Return the slots of a relay, none where its lease has run out."""
        sql = "SELECT slot FROM outbox_slots JOIN outbox_relays USING (relay) WHERE relay = %s AND lease_until > %s"
        return set(self.db.column(sql, relay, as_mysql(self.now)))

    # Applications

    @initialize(messages=st.lists(NEW, min_size=4, max_size=8))
    def begin(self, messages: list[tuple[str, bool, bool, int | None]]) -> None:
        self.enqueue(messages)

    @rule(messages=st.lists(NEW, min_size=1, max_size=3))
    def enqueue(self, messages: list[tuple[str, bool, bool, int | None]]) -> None:
        for key, ordered, fits, max_retry in messages:
            now = self.tick()
            text = f"{key} {'ordered' if ordered else 'free'} {next(self.numbers):03}"
            payload = chat_payload(text) if fits else '{"user_id":"nobody"}'
            id_ = self.db.enqueue(key, biz_type=CHAT if ordered else FREE, payload=payload, max_retry=max_retry)
            self.model.add(Message(id_, key, text, ordered, fits, max_retry or 20, created=now, due=now))

    # Relays

    @rule(target=claims, relay=RELAYS, limit=LIMITS)
    def claim(self, relay: str, limit: int) -> Claimed:
        now = self.tick()
        rows = self.db.claim(relay, limit)
        claimed = [row["id"] for row in rows]
        possible = self.model.due(self.owned(relay), now)
        if limit == 1000:
            assert claimed == possible
        else:
            assert min(len(possible), (limit + 1) // 2) <= len(claimed) <= limit
            for slot in {slot_of(row["message_key"]) for row in rows}:
                of_slot = [id_ for id_ in possible if slot_of(self.model.messages[id_].key) == slot]
                taken = [id_ for id_ in claimed if slot_of(self.model.messages[id_].key) == slot]
                assert taken == of_slot[: len(taken)]
        self.check_that_no_earlier_one_is_passed(claimed)
        return relay, [(row["id"], microseconds(row["receipt"])) for row in rows]

    def check_that_no_earlier_one_is_passed(self, claimed: list[int]) -> None:
        """Of each ordered message that was claimed, the earlier ones of its key are claimed too, or have gone on."""
        sql = (
            f"SELECT id FROM agent_outbox_messages WHERE status = 'pending' AND biz_type = '{CHAT}'"
            " AND message_key = %s AND id < %s"
        )
        last = {
            message.key: message.id for message in map(self.model.messages.get, claimed) if message and message.ordered
        }
        for key, id_ in last.items():
            assert set(self.db.column(sql, key, id_)) <= set(claimed)

    @rule(claimed=claims, kind=KINDS, part=PARTS)
    def mark_batch(self, claimed: Claimed, kind: str, part: slice) -> None:
        now = self.tick()
        relay, receipts = claimed[0], claimed[1][part]
        expected = self.model.mark_batch(kind, receipts, self.owned(relay), now)
        batch = [{"id": id_, "receipt": due and as_mysql(due), "reason": "refused"} for id_, due in receipts]
        assert self.db.out(f"outbox_mark_{kind}_batch_v1", relay, json.dumps(batch)) == expected

    @rule(relay=RELAYS, kind=KINDS, part=PARTS)
    def claim_and_mark(self, relay: str, kind: str, part: slice) -> None:
        self.mark_batch(self.claim(relay, 1000), kind, part)

    @rule(number=PICKS, kind=KINDS)
    def mark_one(self, number: int, kind: str) -> None:
        now = self.tick()
        message = self.pick(number)
        self.db.call(f"outbox_mark_{kind}_v1", message.id, *([] if kind == "published" else ["by hand"]))
        self.model.mark(kind, message, now)

    # Consumers

    @rule(records=st.lists(st.tuples(PICKS, st.sampled_from([True] * 5 + [False])), min_size=1, max_size=6))
    def consume(self, records: list[tuple[int, bool]]) -> None:
        self.consume_records([(self.pick(number).id, genuine) for number, genuine in records])

    @rule(corrupt=PICKS)
    def consume_all_in_flight(self, corrupt: int) -> None:
        in_flight = [m.id for m in self.model.messages.values() if m.status == "published"]
        self.consume_records([(id_, place != corrupt) for place, id_ in enumerate(in_flight)])

    def consume_records(self, records: list[tuple[int, bool]]) -> None:
        """Consume messages, some of which have a handler that fails this time, and compare the outcomes."""
        now = self.tick()
        fit = {id_: all(succeeds for other, succeeds in records if other == id_) for id_, _ in records}
        batch = [id_ if succeeds else Failing(id_) for id_, succeeds in fit.items()]
        assert self.db.consume(*batch) == self.model.consume(list(fit.items()), now)

    @rule(number=PICKS)
    def persist_one_without_order(self, number: int) -> None:
        self.tick()
        message = self.pick(number)
        if not message.ordered and message.fits:
            self.db.call("outbox_persist_chat_history_v1", message.id, chat_payload(message.text))
            self.model.persist(message)

    # What comes from outside

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.tick(seconds)

    @rule(number=PICKS)
    def backoff_is_over(self, number: int) -> None:
        now = self.tick()
        message = self.pick(number)
        self.db.make_due(message.id)
        if message.status == "pending":
            message.due = now

    @rule(relay=RELAYS, how=st.sampled_from(["leaves", "expires"]))
    def relay_is_gone(self, relay: str, how: str) -> None:
        self.tick()
        if how == "leaves":
            self.db.call("outbox_leave_v1", relay)
            assert self.db.owned(relay) == set()
        else:
            self.db.expire_lease(relay)

    # What always holds

    @invariant()
    def messages_are_as_the_model_says(self) -> None:
        rows = self.db.rows("SELECT id, status, retry_count, next_retry_at FROM agent_outbox_messages ORDER BY id")
        assert {row["id"]: (row["status"], row["retry_count"], microseconds(row["next_retry_at"])) for row in rows} == {
            m.id: (m.status, m.retries, m.due) for m in self.model.messages.values()
        }
        assert all((row["next_retry_at"] is not None) == (row["status"] == "pending") for row in rows)
        consumed = {row["id"] for row in rows if row["status"] == "consumed"}
        assert consumed >= self.consumed, "consumed is final"
        self.consumed = consumed

    @invariant()
    def every_consumed_message_has_one_effect_and_keys_keep_their_order(self) -> None:
        texts = {m.text for m in self.model.messages.values() if m.status == "consumed"}
        chats = self.db.chats()
        assert len(chats) == len(texts)
        assert set(chats) == texts
        by_lane = defaultdict(list)
        for chat in chats:
            by_lane[chat.rpartition(" ")[0]].append(chat)
        for lane, of_lane in by_lane.items():
            assert of_lane == [chat for chat in self.model.chats if chat.startswith(lane)]
            if lane.endswith("ordered"):
                assert of_lane == sorted(of_lane)


def test_outbox_does_what_the_model_says_whatever_happens(db: Session) -> None:
    Outbox.db = db
    run_state_machine_as_test(
        Outbox,
        settings=settings(
            max_examples=150,
            stateful_step_count=30,
            # The same examples each time, so that CI fails only after a change.
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
