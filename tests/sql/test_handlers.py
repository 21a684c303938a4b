"""Handlers that applications write: how they are called, and what becomes of their failures."""

import json

import pytest

from tests.kit.application import PARAMETERS, RECORD, Application
from tests.kit.session import CHAT, Session
from tests.kit.waiting import eventually

FAIL = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 50123, MESSAGE_TEXT = 'the application says no'"
DUE_TO_THE_APPLICATION = "the application says no"


def outcome(db: Session, *message: int) -> tuple[str, str | None]:
    """Consume one message; return its outcome and error."""
    (row,) = db.consume_rows(*message)
    return row["outcome"], row["error"]


# Handlers of applications


def test_business_type_is_dispatched_to_its_handler_with_id_and_payload(db: Session, app: Application) -> None:
    app.business("order_placed")
    payload = '{ "order": 1.10, "note": "it\'s \\"so\\" \\\\ 漢 🎉" }'
    message = db.enqueue_published(biz_type="order_placed", payload=payload)
    assert outcome(db, message) == ("consumed", None)
    assert db.rows("SELECT message, payload FROM app_effects") == [{"message": message, "payload": payload}]
    assert db.statuses() == {message: "consumed"}
    assert db.chats() == []


def test_two_business_types_go_to_their_own_handlers(db: Session, app: Application) -> None:
    app.business("one", "INSERT INTO app_effects (message) VALUES (p_id * 10)")
    app.business("two", "INSERT INTO app_effects (message) VALUES (p_id * 100)")
    first, second = db.enqueue("a", biz_type="one", payload="{}"), db.enqueue("b", biz_type="two", payload="{}")
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}
    assert app.effects() == [first * 10, second * 100]


def test_registration_counts_for_messages_that_wait_already(db: Session, app: Application) -> None:
    message = db.enqueue(biz_type="late", payload="{}")
    app.business("late")
    db.call("outbox_mark_published_v1", message)
    assert db.consume(message) == {message: "consumed"}
    assert app.effects() == [message]


def test_failing_handler_is_retried_without_its_partial_effect_and_dies_at_max_retry(
    db: Session, app: Application
) -> None:
    app.business("fails", f"{RECORD}; {FAIL}")
    message = db.enqueue_published(biz_type="fails", payload="{}", max_retry=3)
    for count, (became, status) in enumerate([("failed", "pending")] * 2 + [("dead", "dead")], start=1):
        assert outcome(db, message) == (became, DUE_TO_THE_APPLICATION)
        row = db.message(message)
        assert (row["status"], row["retry_count"], row["consumed_at"]) == (status, count, None)
        assert row["last_error"] == DUE_TO_THE_APPLICATION
        assert app.effects() == []


def test_handler_that_fails_for_a_while_takes_effect_once(db: Session, app: Application) -> None:
    app.business("flaky", f"{RECORD}; IF @app_is_broken THEN {FAIL}; END IF")
    message = db.enqueue_published(biz_type="flaky", payload="{}")
    db.execute("SET @app_is_broken = TRUE")
    assert db.consume(message) == {message: "failed"}
    db.execute("SET @app_is_broken = NULL")
    assert db.consume(message) == {message: "consumed"}
    assert db.consume(message) == {message: "duplicate"}
    assert app.effects() == [message]
    assert db.message(message)["retry_count"] == 1


def test_failing_handler_leaves_the_effects_of_its_neighbours(db: Session, app: Application) -> None:
    app.business("picky", f"{RECORD}; IF p_payload = '\"bad\"' THEN {FAIL}; END IF")
    payloads = ['"good"', '"bad"', '"good"', '"bad"', '"good"']
    messages = [
        db.enqueue_published(f"key {n}", biz_type="picky", payload=payload) for n, payload in enumerate(payloads)
    ]
    chat = db.enqueue_published("chat")
    outcomes = db.consume(*messages, chat)
    assert list(outcomes.values()) == ["consumed", "failed", "consumed", "failed", "consumed", "consumed"]
    assert app.effects() == messages[::2]
    assert db.chats() == ["chat"]


@pytest.mark.parametrize("errno", [30003, 30007])
def test_handler_tells_that_a_payload_is_hopeless_by_our_own_errors(db: Session, app: Application, errno: int) -> None:
    app.business("strict", f"CALL outbox_internal_raise_v1({errno}, 'not like this')")
    genuine = db.enqueue_published("a", biz_type="strict", payload="{}")
    assert db.consume(genuine) == {genuine: "dead"}
    assert db.message(genuine)["last_error"] == "not like this"


def test_long_error_of_a_handler_is_kept(db: Session, app: Application) -> None:
    app.business("talks", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '" + "漢" * 128 + "'")
    message = db.enqueue_published(biz_type="talks", payload="{}")
    assert outcome(db, message) == ("failed", "漢" * 128)
    assert db.message(message)["last_error"] == "漢" * 128


def test_warning_in_a_handler_is_no_failure(db: Session, app: Application) -> None:
    app.business("warns", f"{RECORD}; SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'careful'")
    message = db.enqueue_published(biz_type="warns", payload="{}")
    assert outcome(db, message) == ("consumed", None)
    assert app.effects() == [message]


def test_result_sets_of_a_handler_do_not_hide_the_outcomes(db: Session, app: Application) -> None:
    app.business("selects", f"{RECORD}; SELECT p_id AS stray")
    message = db.enqueue_published(biz_type="selects", payload="{}")
    assert outcome(db, message) == ("consumed", None)


def test_handler_that_does_not_exist_fails_and_is_retried(db: Session) -> None:
    db.register("orphan", "no_such_procedure")
    message, other = db.enqueue_published("a", biz_type="orphan", payload="{}"), db.enqueue_published("b")
    assert db.consume(message, other) == {message: "failed", other: "consumed"}
    row = db.message(message)
    assert (row["status"], row["retry_count"]) == ("pending", 1)
    assert "no_such_procedure does not exist" in row["last_error"]


@pytest.mark.parametrize("parameters", ["", "p_id BIGINT UNSIGNED", f"{PARAMETERS}, p_more INT"])
def test_handler_with_wrong_parameters_fails_and_is_retried(db: Session, app: Application, parameters: str) -> None:
    db.register("odd", app.handler("DO 0", parameters=parameters, name="odd"))
    message, other = db.enqueue_published("a", biz_type="odd", payload="{}"), db.enqueue_published("b")
    assert db.consume(message, other) == {message: "failed", other: "consumed"}
    assert "Incorrect number of arguments for PROCEDURE" in db.message(message)["last_error"]


def test_handler_that_fetches_beyond_the_end_fails_and_one_that_selects_no_row_does_not(
    db: Session, app: Application
) -> None:
    no_row = "DECLARE v_found INT; DECLARE v_all CURSOR FOR SELECT id FROM app_effects WHERE FALSE"
    app.business("fetches", f"{no_row}; {RECORD}; OPEN v_all; FETCH v_all INTO v_found")
    app.business("selects", f"{no_row}; {RECORD}; SELECT id INTO v_found FROM app_effects WHERE FALSE")
    first = db.enqueue_published("a", biz_type="fetches", payload="{}")
    second = db.enqueue_published("b", biz_type="selects", payload="{}")
    assert db.consume(first, second) == {first: "failed", second: "consumed"}
    assert "No data" in db.message(first)["last_error"]
    assert app.effects() == [second]


def test_slow_type_leaves_its_rest_waiting_and_no_other_type(db: Session, app: Application) -> None:
    app.business("slow", f"DO SLEEP(0.011); {RECORD}")
    app.business("quick")
    slow = [db.enqueue_published(key, biz_type="slow", payload="{}") for key in ("hot", "hot", "cool", "cold", "mixed")]
    quick = [db.enqueue_published(key, biz_type="quick", payload="{}") for key in ("a", "b", "b", "mixed", "b")]
    before = {row["id"]: row for row in db.messages()}
    outcomes = db.consume_once(*slow, *quick)
    # Lanes with few messages come first; what is behind a message that is not reached waits for it.
    assert [id_ for id_, outcome in outcomes.items() if outcome == "consumed"] == [slow[2], *quick[:3], quick[4]]
    left = [id_ for id_, outcome in outcomes.items() if outcome == "not reached"]
    assert left == [*slow[:2], *slow[3:], quick[3]]
    assert all(row == before[row["id"]] for row in db.messages() if row["id"] in left)
    assert [id_ for id_, outcome in db.consume_once(*left).items() if outcome == "consumed"] == [slow[3]]


def test_quick_type_has_many_turns_in_a_call(db: Session, app: Application) -> None:
    app.business("quick", "DO 0")

    def takes_turns() -> bool:
        """A busy machine may need the time of a type for a handler that does nothing."""
        messages = [db.enqueue_published("k", biz_type="quick", payload="{}") for _ in range(4)]
        outcomes = list(db.consume_once(*messages).values())
        db.consume(*messages)
        return outcomes[:3] == ["consumed"] * 3

    eventually(takes_turns, seconds=30)


def test_time_is_counted_from_the_first_handler_and_by_type(db: Session, app: Application) -> None:
    app.business("slow", "DO SLEEP(0.03)")
    slow, chat = db.enqueue_published("a", biz_type="slow", payload="{}"), db.enqueue_published("b")
    bad = db.enqueue_published("c", payload="{}")
    assert db.consume(slow, chat, bad) == {slow: "consumed", chat: "consumed", bad: "dead"}
    alone, together = json.loads(db.value("SELECT @outbox_times"))
    assert set(alone) == {"slow", CHAT}
    assert set(together) == {CHAT}
    assert alone["slow"] >= 30_000 > alone[CHAT]
