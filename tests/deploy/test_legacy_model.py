"""The procedures against the legacy DAO itself: the same random operations on both, and the same rows at each step.

Where the outbox does better on purpose, the legacy DAO is not asked: it overwrites what is final (mark_dead), and says
nothing of an unknown id. Every message has a key of its own, because the legacy DAO knows no order.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.deploy.go_service import TABLES, GoService
from tests.kit.server import Server
from tests.kit.session import CHAT, Session, chat_payload

NAME = "outboxd_legacy_model"
PICKS = st.integers(min_value=0, max_value=3)
REASONS = st.sampled_from(["", "broker: timeout", "漢 🎉 'quoted'", "x" * 2000])
STEPS = ["published", "failed", "dead", "persist", "consume", "due"]
FINAL = {"consumed", "dead"}


class BothOutboxes(RuleBasedStateMachine):
    """The legacy tables with the DAO's statements, and an outbox with its procedures, each in a database of its own."""

    db: ClassVar[Session]
    go: ClassVar[GoService]

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[int, int]] = []
        self.passed = 0
        self.db.clean()
        self.go.session.execute("DELETE FROM agent_outbox_messages; DELETE FROM chat_histories")

    def pick(self, number: int) -> tuple[int, int]:
        """The same message in both: ours, the DAO's."""
        return self.pairs[number % len(self.pairs)]

    @initialize()
    def begin(self) -> None:
        for max_retry in (20, 2):
            self.create(max_retry)

    @rule(max_retry=st.sampled_from([1, 3, 20]))
    def create(self, max_retry: int) -> None:
        key = f"key {len(self.pairs)}"
        legacy = self.go.create(key, chat_payload(key))
        self.go.session.execute("UPDATE agent_outbox_messages SET max_retry = %s WHERE id = %s", max_retry, legacy)
        self.pairs.append((self.db.enqueue(key, max_retry=max_retry), legacy))

    @rule(number=PICKS, steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=4), reason=REASONS)
    def happens(self, number: int, steps: list[str], reason: str) -> None:
        """Some steps of one message."""
        for step in steps:
            self.step(self.pick(number), step, reason)
            self.rows_are_the_same()

    def step(self, pair: tuple[int, int], step: str, reason: str) -> None:
        ours, legacy = pair
        row = self.db.message(ours)
        match step:
            case "published":
                self.db.call("outbox_mark_published_v1", ours)
                self.go.mark_published(legacy)
            case "failed":
                self.db.call("outbox_mark_failed_v1", ours, reason)
                self.go.mark_failed(legacy, reason)
                self.waits_are_the_same(pair)
            case "dead":
                self.db.call("outbox_mark_dead_v1", ours, reason)
                if row["status"] not in FINAL:
                    self.go.mark_dead(legacy, reason)
            case "persist":
                self.db.call("outbox_persist_chat_history_v1", ours, row["payload"])
                self.go.persist(legacy, row["payload"])
            case "consume":
                self.db.consume(ours)
                if (
                    row["status"] == "pending"
                ):  # a record that has arrived was published, whether its mark was faster or not
                    self.go.mark_published(legacy)
                self.go.persist(legacy, row["payload"])
            case "due":
                self.passed += 1
                self.set_due(pair, f"2020-01-01 00:00:{self.passed % 60:02d}")

    def waits_are_the_same(self, pair: tuple[int, int]) -> None:
        """Compare how long both wait; then nothing is due by itself, however slow the machine."""
        waits = "SELECT TIMESTAMPDIFF(MICROSECOND, updated_at, next_retry_at) FROM agent_outbox_messages WHERE id = %s"
        ours, legacy = (session.value(waits, id_) for session, id_ in zip(self.sessions(), pair, strict=True))
        assert ours == legacy is None or abs(ours - legacy) < 500_000
        self.set_due(pair, "2100-01-01")

    def set_due(self, pair: tuple[int, int], due: str) -> None:
        sql = "UPDATE agent_outbox_messages SET next_retry_at = %s WHERE id = %s AND status = 'pending'"
        for session, id_ in zip(self.sessions(), pair, strict=True):
            session.execute(sql, due, id_)

    @rule(limit=st.sampled_from([1, 3, 100]))
    def list_due(self, limit: int) -> None:
        place = {ours: number for number, (ours, _) in enumerate(self.pairs)}
        legacy_place = {legacy: number for number, (_, legacy) in enumerate(self.pairs)}
        ours = [place[row["id"]] for row in self.db.call("outbox_list_due_v1", limit)]
        assert ours == [legacy_place[row["id"]] for row in self.go.list_due(limit)]

    def sessions(self) -> tuple[Session, Session]:
        return self.db, self.go.session

    @invariant()
    def rows_are_the_same(self) -> None:
        rows, chats = (
            "SELECT biz_type, topic, message_key, payload, status, retry_count, max_retry, last_error,"
            " next_retry_at IS NULL, published_at IS NULL, consumed_at IS NULL FROM agent_outbox_messages ORDER BY id",
            "SELECT user_id, chat_id, role, message_content FROM chat_histories ORDER BY id",
        )
        ours: list[Any] = [self.db.rows(rows), self.db.rows(chats)]
        assert ours == [self.go.session.rows(rows), self.go.session.rows(chats)]
        assert all(row["biz_type"] == CHAT for row in ours[0])


@pytest.fixture
def legacy(mysql_server: Server) -> Iterator[Session]:
    """A session on a database with the tables that GORM makes."""
    mysql_server.create_database(NAME)
    with mysql_server.connect(NAME) as session:
        session.execute(TABLES)
        yield session
        session.execute(f"DROP DATABASE {NAME}")


def test_procedures_do_what_the_legacy_dao_does(db: Session, legacy: Session) -> None:
    BothOutboxes.db, BothOutboxes.go = db, GoService(legacy)
    run_state_machine_as_test(
        BothOutboxes,
        settings=settings(
            max_examples=50,
            stateful_step_count=12,
            # The same examples each time, so that CI fails only after a change.
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
