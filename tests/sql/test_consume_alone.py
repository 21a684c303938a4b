"""A batch of one takes a way of its own (outbox_internal_consume_alone_v1), to the same outcome as among others."""

import json
import re
from dataclasses import dataclass, field

import pytest

from tests.kit.application import RECORD, Application
from tests.kit.server import Connect
from tests.kit.session import Session

FAIL = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 50123, MESSAGE_TEXT = 'no'"
OF_NO_MESSAGE = 2**63


@dataclass(frozen=True)
class Case:
    """A message, what its handler does after its effect, and what its record says."""

    handler: str = ""
    ordering: str = "key"
    earlier: str | None = None
    """The state of an earlier message of its lane."""
    state: str = "published"
    failures: int = 0
    max_retry: int | None = None
    record: dict[str, object] = field(default_factory=dict)


CASES = {
    "succeeds": Case(),
    "fails": Case(FAIL),
    "fails for the last time": Case(FAIL, max_retry=1),
    "does not fit": Case("SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30003, MESSAGE_TEXT = 'no'"),
    "commits by itself": Case("COMMIT"),
    "commits and fails": Case(f"COMMIT; {FAIL}"),
    "rolls back by itself": Case("ROLLBACK"),
    "failed before": Case(failures=1),
    "fails again": Case(FAIL, failures=1),
    "another time": Case(record={"created_at": "2020-01-01 00:00:00.000000"}),
    "another topic": Case(record={"topic": "another"}),
    "another key": Case(record={"key": "another"}),
    "no such message": Case(record={"id": OF_NO_MESSAGE}),
    **{f"is {state}": Case(state=state) for state in ("pending", "consumed", "dead")},
    **{f"behind one that is {state}": Case(earlier=state) for state in ("pending", "published", "consumed", "dead")},
    "behind one, without an order": Case(ordering="none", earlier="published"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_message_alone_has_the_outcome_that_it_has_among_others(db: Session, app: Application, case: Case) -> None:
    handler = app.handler(f"{RECORD}; {case.handler or 'DO 0'}", name="special")

    def consume(others: int) -> object:
        db.clean()
        db.execute("DELETE FROM app_effects")
        db.register("special", handler, case.ordering)
        options = {"biz_type": "special", "payload": "{}"}
        ids = [db.enqueue_in(case.earlier, "k", **options)] if case.earlier else []
        message = db.enqueue_in(case.state, "k", max_retry=case.max_retry, **options)
        ids.append(message)
        for _ in range(case.failures):
            db.call("outbox_mark_failed_v1", message, "before")
        record = db.record(message, partition=3, offset=17) | case.record
        rows = db.consume_rows(record, *(db.enqueue_published(f"other {number}") for number in range(others)))
        (row,) = [row for row in rows if row["id"] == record["id"]]
        told = db.rows(
            "SELECT status, retry_count, last_error, kafka_partition, kafka_offset,"
            " published_at IS NULL AS is_unpublished FROM agent_outbox_messages WHERE message_key = 'k' ORDER BY id"
        )
        return _without_ids([row["outcome"], row["error"], told], ids), [ids.index(effect) for effect in app.effects()]

    assert consume(others=0) == consume(others=1)


def _without_ids(told: object, ids: list[int]) -> str:
    """What differs between two runs is an id, or the time of a row."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", "TIME", json.dumps(told))
    return re.sub(r"message (\d+)", lambda found: f"message [{ids.index(int(found[1]))}]", text)


def test_plain_message_alone_needs_no_temporary_table(db: Session, connect: Connect) -> None:
    fresh = connect()
    message = db.enqueue_published()
    assert fresh.consume(message) == {message: "consumed"}
    with pytest.raises(Exception, match="outbox_batch"):
        fresh.rows("SELECT * FROM outbox_batch")
    assert db.chats() == ["k"]


def test_message_alone_is_not_reached_while_another_session_has_it(db: Session, connect: Connect) -> None:
    holder = connect()
    message = db.enqueue_published()
    holder.execute("START TRANSACTION")
    holder.rows("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", message)
    assert db.consume(message) == {message: "not reached"}
    holder.execute("ROLLBACK")
    assert db.consume(message) == {message: "consumed"}
