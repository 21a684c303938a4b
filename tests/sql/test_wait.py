"""outbox_wait_v1: read your writes."""

import time
from functools import partial

import pytest

from tests.kit.server import Connect
from tests.kit.session import Session, refused
from tests.kit.waiting import background, eventually


@pytest.mark.parametrize("status", ["consumed", "dead"])
@pytest.mark.parametrize("wait_ms", [None, 0, 60_000])
def test_final_message_is_not_waited_for(db: Session, status: str, wait_ms: int | None) -> None:
    message = db.enqueue_in(status)
    began = time.monotonic()
    assert db.out("outbox_wait_v1", message, wait_ms) == status
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", ["pending", "published"])
def test_time_that_is_up_returns_what_the_message_is(db: Session, status: str) -> None:
    message = db.enqueue_in(status)
    began = time.monotonic()
    assert db.out("outbox_wait_v1", message, 300) == status
    assert time.monotonic() - began >= 0.3
    assert db.out("outbox_wait_v1", message, None) == status


@pytest.mark.parametrize("autocommit", [0, 1])
def test_wait_ends_within_50_ms_of_the_commit(db: Session, connect: Connect, autocommit: int) -> None:
    app = connect()
    app.execute(f"SET autocommit = {autocommit}")
    late = []

    def wait(message: int) -> tuple[str, float]:
        return app.out("outbox_wait_v1", message, 60_000), time.monotonic()

    for _ in range(5):
        message = db.enqueue_published()
        with background(partial(wait, message)) as call:
            eventually(lambda: db.is_in(app.session_id, "User sleep"))
            db.consume(message)
            committed = time.monotonic()
            status, woken = call.result(timeout=20)
        assert status == "consumed"
        late.append(woken - committed)
        app.execute("ROLLBACK")
    assert sorted(late)[2] < 0.05, late


@pytest.mark.parametrize("message", [None, 0, 987654321])
def test_unknown_message_is_an_error(db: Session, message: int | None) -> None:
    with refused(30004, "there is no such message"):
        db.out("outbox_wait_v1", message, 1000)


@pytest.mark.parametrize("wait_ms", [-1, 60_001])
def test_wait_out_of_range_is_refused(db: Session, wait_ms: int) -> None:
    with refused(30005, f"p_wait_ms must be from 0 to 60000: {wait_ms}"):
        db.out("outbox_wait_v1", 1, wait_ms)


def test_wait_inside_a_transaction_is_refused_because_it_would_not_see_the_end(db: Session) -> None:
    db.execute("START TRANSACTION")
    message = db.enqueue()
    with refused(30006, "outbox_wait_v1 owns its transactions"):
        db.out("outbox_wait_v1", message, 1000)
    db.execute("ROLLBACK")
