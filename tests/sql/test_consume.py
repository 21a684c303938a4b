"""outbox_consume_v1: what becomes of each record of a batch, and of the handlers that applications write."""

import json
from datetime import timedelta
from typing import Any

import pytest
from mysql.connector import errorcode
from mysql.connector.errors import Error

from tests.sql.application import PARAMETERS, RECORD, Application
from tests.sql.operators import reads
from tests.sql.support import CHAT, Connect, Database, background, chat_payload, eventually

FAIL = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 50123, MESSAGE_TEXT = 'the application says no'"
DUE_TO_THE_APPLICATION = "the application says no"


def outcome(db: Database, *message: int | tuple[int, Any]) -> tuple[str, str | None]:
    """Consume one message; return its outcome and error."""
    (row,) = db.consume_rows(*message)
    return row["outcome"], row["error"]


# Outcomes


def test_result_has_id_outcome_and_error_by_id(db: Database) -> None:
    first, second = db.enqueue("a"), db.enqueue("b")
    rows = db.consume_rows(second, first)
    assert [list(row.items()) for row in rows] == [
        [("id", first), ("outcome", "consumed"), ("error", None)],
        [("id", second), ("outcome", "consumed"), ("error", None)],
    ]


@pytest.mark.parametrize("state", ["pending", "published"])
def test_message_is_consumed_with_its_effect(db: Database, state: str) -> None:
    message = db.enqueue_in(state, payload=chat_payload("hello", "c-9", "assistant", 42))
    assert outcome(db, message) == ("consumed", None)
    assert db.statuses() == {message: "consumed"}
    row = db.row("SELECT user_id, chat_id, role, message_content, created_at FROM chat_histories")
    consumed_at = db.message(message)["consumed_at"]
    assert consumed_at <= row.pop("created_at") <= consumed_at + timedelta(seconds=1)
    assert row == {"user_id": 42, "chat_id": "c-9", "role": "assistant", "message_content": "hello"}


def test_message_delivered_again_is_a_duplicate_and_has_no_second_effect(db: Database) -> None:
    message = db.enqueue_published()
    db.consume(message)
    before = db.messages()
    assert outcome(db, message) == ("duplicate", None)
    assert outcome(db, (message, "garbage")) == ("duplicate", None)
    assert db.messages() == before
    assert db.chats() == ["k"]


def test_record_of_no_message_is_unknown(db: Database) -> None:
    assert outcome(db, (987_654_321, chat_payload())) == ("unknown", None)
    assert db.chats() == []


def test_dead_message_stays_dead(db: Database) -> None:
    message = db.enqueue_in("dead")
    before = db.messages()
    assert outcome(db, message) == ("dead", None)
    assert db.messages() == before
    assert db.chats() == []


def test_message_before_its_turn_is_deferred(db: Database) -> None:
    first, second = db.enqueue_published(), db.enqueue_published()
    assert outcome(db, second) == ("deferred", f"waits for message {first}")
    assert db.statuses() == {first: "published", second: "pending"}
    assert db.message(second)["retry_count"] == 0


def test_mixed_batch_gives_each_its_own_outcome(db: Database, app: Application) -> None:
    app.business("fails", FAIL)
    app.business("records")
    consumed = db.enqueue_in("consumed", "a")
    dead = db.enqueue_in("dead", "b")
    good = [db.enqueue_published(key, payload=chat_payload(key)) for key in ("c", "d", "e")]
    hopeless = db.enqueue_published("f", payload='{"user_id":"x"}')
    failing = db.enqueue_published("g", biz_type="fails", payload="{}")
    recorded = db.enqueue_published("h", biz_type="records", payload="{}")
    last_try = db.enqueue_published("i", biz_type="fails", payload="{}", max_retry=1)
    publish_only = db.enqueue_published("j", biz_type="nobody_knows_it", payload="{}")
    early = db.enqueue_published("k")
    deferred = db.enqueue_published("k")
    unknown = deferred + 1
    outcomes = db.consume(
        consumed, dead, *good, hopeless, failing, recorded, last_try, publish_only, deferred, (unknown, "{}")
    )
    assert outcomes == {
        consumed: "duplicate",
        dead: "dead",
        **dict.fromkeys(good, "consumed"),
        hopeless: "dead",
        failing: "failed",
        recorded: "consumed",
        last_try: "dead",
        publish_only: "duplicate",
        deferred: "deferred",
        unknown: "unknown",
    }
    assert db.chats() == ["a", "c", "d", "e"]
    assert app.effects() == [recorded]
    assert db.statuses()[early] == "published"


@pytest.mark.parametrize("bad", ["{}", "[]", '{"user_id":7,"conversation_id":"c","role":"r","message":7}'])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_chat_message_harms_no_other(db: Database, bad: str, place: int) -> None:
    payloads = [chat_payload("one"), chat_payload("two")]
    payloads.insert(place, bad)
    messages = [db.enqueue_published(f"key {n}", payload=payload) for n, payload in enumerate(payloads)]
    assert list(db.consume(*messages).values()) == ["dead" if n == place else "consumed" for n in range(3)]
    assert db.chats() == ["one", "two"]


# What a batch may look like


def test_message_twice_in_a_batch_takes_effect_once(db: Database) -> None:
    message, other = db.enqueue_published("a"), db.enqueue_published("b")
    assert db.consume(message, message, other, message) == {message: "consumed", other: "consumed"}
    assert db.chats() == ["a", "b"]


def test_of_two_copies_in_a_batch_the_first_counts(db: Database) -> None:
    message = db.enqueue_published("a")
    assert db.consume((message, "garbage"), message) == {message: "failed"}
    assert db.message(message)["retry_count"] == 1


def test_payload_may_be_a_json_text_or_json(db: Database) -> None:
    as_text, as_json = db.enqueue_published("a"), db.enqueue_published("b")
    payload = chat_payload('it\'s "so" \\ 漢 🎉')
    batch = json.dumps([{"id": as_text, "payload": payload}, {"id": as_json, "payload": json.loads(payload)}])
    rows = db.call("outbox_consume_v1", batch)
    assert [row["outcome"] for row in rows] == ["consumed", "consumed"]
    assert db.chats() == ['it\'s "so" \\ 漢 🎉'] * 2


def test_order_of_a_batch_does_not_matter(db: Database) -> None:
    messages = [db.enqueue_published("k", payload=chat_payload(text)) for text in ("1st", "2nd", "3rd")]
    assert set(db.consume(*reversed(messages)).values()) == {"consumed"}
    assert db.chats() == ["1st", "2nd", "3rd"]


def test_large_batch_is_consumed_at_once(db: Database) -> None:
    db.execute("START TRANSACTION")
    messages = [db.enqueue(f"key {number % 50}", payload=chat_payload(str(number))) for number in range(300)]
    db.execute("COMMIT")
    batch = [{"id": message, "payload": chat_payload(str(n))} for n, message in enumerate(messages)]
    rows = db.call("outbox_consume_v1", json.dumps(batch))
    assert {row["outcome"] for row in rows} == {"consumed"}
    assert db.chats() == [str(number) for number in range(300)]


def test_consume_leaves_no_session_behind_for_the_next(db: Database) -> None:
    first = db.enqueue("a")
    db.consume(first, (first + 1, "{}"))
    second = db.enqueue("b")
    assert db.consume(second) == {second: "consumed"}


# A record that is not what the outbox holds


@pytest.mark.parametrize(
    "corrupt", ["garbage", "", "{}", "[]", None, '{"user_id":"x"}', "[" * 101 + "]" * 101, {"user_id": 7}, 7]
)
def test_corrupt_record_fails_and_the_genuine_one_is_consumed_later(db: Database, corrupt: Any) -> None:
    message, other = db.enqueue_published("a"), db.enqueue_published("b")
    outcomes = db.consume((message, corrupt), other)
    assert outcomes == {message: "failed", other: "consumed"}
    row = db.message(message)
    assert (row["status"], row["retry_count"]) == ("pending", 1)
    assert row["last_error"]
    assert db.consume(message) == {message: "consumed"}
    assert db.chats() == ["b", "a"]


def test_genuine_payload_that_does_not_fit_is_dead_at_once(db: Database) -> None:
    message = db.enqueue_published(payload='{"user_id":1}')
    assert outcome(db, message)[0] == "dead"
    row = db.message(message)
    assert (row["status"], row["retry_count"], row["next_retry_at"]) == ("dead", 0, None)


def test_corrupt_record_kills_at_max_retry_as_any_failure(db: Database) -> None:
    message = db.enqueue_published(max_retry=1)
    assert db.consume((message, "garbage")) == {message: "dead"}
    assert db.message(message)["retry_count"] == 1


@pytest.mark.parametrize("payload", ["garbage", "", "[" * 101 + "]" * 101])
def test_persist_of_a_corrupt_record_changes_nothing(db: Database, payload: str) -> None:
    message = db.enqueue_published()
    before = db.messages()
    with pytest.raises(Error, match=r"(?i)json"):
        db.call("outbox_persist_chat_history_v1", message, payload)
    assert db.messages() == before
    assert not db.in_transaction()
    db.call("outbox_persist_chat_history_v1", message, chat_payload())
    assert db.statuses() == {message: "consumed"}


# Handlers of applications


def test_business_type_is_dispatched_to_its_handler_with_id_and_payload(db: Database, app: Application) -> None:
    app.business("order_placed")
    payload = '{ "order": 1.10, "note": "it\'s \\"so\\" \\\\ 漢 🎉" }'
    message = db.enqueue_published(biz_type="order_placed", payload=payload)
    assert outcome(db, message) == ("consumed", None)
    assert db.rows("SELECT message, payload FROM app_effects") == [{"message": message, "payload": payload}]
    assert db.statuses() == {message: "consumed"}
    assert db.chats() == []


def test_two_business_types_go_to_their_own_handlers(db: Database, app: Application) -> None:
    app.business("one", "INSERT INTO app_effects (message) VALUES (p_id * 10)")
    app.business("two", "INSERT INTO app_effects (message) VALUES (p_id * 100)")
    first, second = db.enqueue("a", biz_type="one", payload="{}"), db.enqueue("b", biz_type="two", payload="{}")
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}
    assert app.effects() == [first * 10, second * 100]


def test_another_business_type_may_use_the_built_in_handler(db: Database) -> None:
    db.register("chat_too", "outbox_internal_write_chat_history_v1")
    message = db.enqueue_published(biz_type="chat_too", payload=chat_payload("hello"))
    assert db.consume(message) == {message: "consumed"}
    assert db.chats() == ["hello"]


def test_registration_counts_for_messages_that_wait_already(db: Database, app: Application) -> None:
    message = db.enqueue(biz_type="late", payload="{}")
    app.business("late")
    db.call("outbox_mark_published_v1", message)
    assert db.consume(message) == {message: "consumed"}
    assert app.effects() == [message]


def test_failing_handler_is_retried_without_its_partial_effect_and_dies_at_max_retry(
    db: Database, app: Application
) -> None:
    app.business("fails", f"{RECORD}; {FAIL}")
    message = db.enqueue_published(biz_type="fails", payload="{}", max_retry=3)
    for count, (became, status) in enumerate([("failed", "pending")] * 2 + [("dead", "dead")], start=1):
        assert outcome(db, message) == (became, DUE_TO_THE_APPLICATION)
        row = db.message(message)
        assert (row["status"], row["retry_count"], row["consumed_at"]) == (status, count, None)
        assert row["last_error"] == DUE_TO_THE_APPLICATION
        assert app.effects() == []


def test_handler_that_fails_for_a_while_takes_effect_once(db: Database, app: Application) -> None:
    app.business("flaky", f"{RECORD}; IF @app_is_broken THEN {FAIL}; END IF")
    message = db.enqueue_published(biz_type="flaky", payload="{}")
    db.execute("SET @app_is_broken = TRUE")
    assert db.consume(message) == {message: "failed"}
    db.execute("SET @app_is_broken = NULL")
    assert db.consume(message) == {message: "consumed"}
    assert db.consume(message) == {message: "duplicate"}
    assert app.effects() == [message]
    assert db.message(message)["retry_count"] == 1


def test_failing_handler_leaves_the_effects_of_its_neighbours(db: Database, app: Application) -> None:
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
def test_handler_tells_that_a_payload_is_hopeless_by_our_own_errors(db: Database, app: Application, errno: int) -> None:
    app.business("strict", f"CALL outbox_internal_raise_v1({errno}, 'not like this')")
    genuine = db.enqueue_published("a", biz_type="strict", payload="{}")
    corrupt = db.enqueue_published("b", biz_type="strict", payload="{}")
    assert db.consume(genuine, (corrupt, '{"x":1}')) == {genuine: "dead", corrupt: "failed"}
    assert db.message(genuine)["last_error"] == "not like this"


def test_long_error_of_a_handler_is_kept(db: Database, app: Application) -> None:
    app.business("talks", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '" + "漢" * 128 + "'")
    message = db.enqueue_published(biz_type="talks", payload="{}")
    assert outcome(db, message) == ("failed", "漢" * 128)
    assert db.message(message)["last_error"] == "漢" * 128


def test_warning_in_a_handler_is_no_failure(db: Database, app: Application) -> None:
    app.business("warns", f"{RECORD}; SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'careful'")
    message = db.enqueue_published(biz_type="warns", payload="{}")
    assert outcome(db, message) == ("consumed", None)
    assert app.effects() == [message]


def test_result_sets_of_a_handler_do_not_hide_the_outcomes(db: Database, app: Application) -> None:
    app.business("selects", f"{RECORD}; SELECT p_id AS stray")
    message = db.enqueue_published(biz_type="selects", payload="{}")
    assert outcome(db, message) == ("consumed", None)


def test_handler_that_does_not_exist_fails_and_is_retried(db: Database) -> None:
    db.register("orphan", "no_such_procedure")
    message, other = db.enqueue_published("a", biz_type="orphan", payload="{}"), db.enqueue_published("b")
    assert db.consume(message, other) == {message: "failed", other: "consumed"}
    row = db.message(message)
    assert (row["status"], row["retry_count"]) == ("pending", 1)
    assert "no_such_procedure does not exist" in row["last_error"]


@pytest.mark.parametrize("parameters", ["", "p_id BIGINT UNSIGNED", f"{PARAMETERS}, p_more INT"])
def test_handler_with_wrong_parameters_fails_and_is_retried(db: Database, app: Application, parameters: str) -> None:
    db.register("odd", app.handler("DO 0", parameters=parameters, name="odd"))
    message, other = db.enqueue_published("a", biz_type="odd", payload="{}"), db.enqueue_published("b")
    assert db.consume(message, other) == {message: "failed", other: "consumed"}
    assert "Incorrect number of arguments for PROCEDURE" in db.message(message)["last_error"]


@pytest.mark.parametrize(
    "name",
    [
        "it`s",
        "it's",
        'a "name"',
        "a; DROP TABLE chat_histories; -- x",
        "`; DROP TABLE chat_histories; -- x",
        "x`(1, 2); DELETE FROM chat_histories; -- x",
        "with.dot",
        "漢字",
        "back\\slash",
        "100% %s",
    ],
)
def test_handlers_name_cannot_inject_and_may_be_odd(db: Database, app: Application, name: str) -> None:
    db.register("missing", name)
    missing = db.enqueue_published("a", biz_type="missing", payload="{}")
    kept = db.enqueue_in("consumed", "kept")
    assert db.consume(missing) == {missing: "failed"}
    assert "does not exist" in db.message(missing)["last_error"]
    assert db.chats() == ["kept"]
    assert db.statuses()[kept] == "consumed"
    app.handler(name=name)
    assert db.consume(missing) == {missing: "consumed"}
    assert app.effects() == [missing]


def test_handler_of_another_database_is_not_called(db: Database) -> None:
    db.register("foreign", "sys.version_major")
    message = db.enqueue_published(biz_type="foreign", payload="{}")
    assert db.consume(message) == {message: "failed"}


# Handlers that break the rule that they must not end the transaction

COMMITS = ["COMMIT", "START TRANSACTION", "CREATE TABLE app_other (id INT); DROP TABLE app_other"]


@pytest.mark.parametrize("how", COMMITS)
def test_handler_that_commits_by_itself_is_consumed_once_and_told_on(db: Database, app: Application, how: str) -> None:
    app.business("commits", f"{RECORD}; {how}")
    app.business("obeys")
    before = db.enqueue_published("a", biz_type="obeys", payload="{}")
    message = db.enqueue_published("b", biz_type="commits", payload="{}")
    after = db.enqueue_published("c", biz_type="obeys", payload="{}")
    chat = db.enqueue_published("d")
    assert set(db.consume(before, message, after, chat).values()) == {"consumed"}
    assert set(db.statuses().values()) == {"consumed"}
    assert app.effects() == [before, message, after]
    assert db.chats() == ["d"]
    assert "handler commits commits by itself" in db.message(message)["last_error"]
    assert not db.in_transaction()
    assert set(db.consume(before, message, after, chat).values()) == {"duplicate"}
    assert app.effects() == [before, message, after]


def test_handler_that_commits_and_then_fails_is_told_on(db: Database, app: Application) -> None:
    app.business("commits", f"{RECORD}; COMMIT; {FAIL}")
    message, other = db.enqueue_published("a", biz_type="commits", payload="{}"), db.enqueue_published("b")
    assert db.consume(message, other) == {message: "consumed", other: "consumed"}
    assert "commits by itself" in db.message(message)["last_error"]
    assert app.effects() == [message]


ROLLBACKS = {
    "and says so": f"DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; {RECORD}; {FAIL}",
    "and keeps silent": f"{RECORD}; ROLLBACK",
}


@pytest.mark.parametrize("body", ROLLBACKS.values(), ids=ROLLBACKS.keys())
def test_handler_that_rolls_back_by_itself_harms_no_other_message(db: Database, app: Application, body: str) -> None:
    app.business("rolls_back", body)
    app.business("obeys")
    before = db.enqueue_published("a", biz_type="obeys", payload="{}")
    message = db.enqueue_published("b", biz_type="rolls_back", payload="{}")
    after = db.enqueue_published("c", biz_type="obeys", payload="{}")
    chat = db.enqueue_published("d")
    outcomes = db.consume(before, message, after, chat)
    assert outcomes == {before: "consumed", message: "failed", after: "consumed", chat: "consumed"}
    assert db.statuses() == {before: "consumed", message: "pending", after: "consumed", chat: "consumed"}
    assert db.message(message)["retry_count"] == 1
    assert app.effects() == [before, after]
    assert db.chats() == ["d"]
    assert not db.in_transaction()


def test_message_that_was_consumed_while_a_handler_had_given_up_the_locks_stays_consumed(
    db: Database, app: Application, connect: Connect
) -> None:
    app.business("commits", "COMMIT; DO SLEEP(1)")
    app.business("fails", FAIL)
    app.business("records")
    commits = db.enqueue_published("a", biz_type="commits", payload="{}")
    fails = db.enqueue_published("k", biz_type="fails", payload="{}")
    later = db.enqueue_published("k", biz_type="records", payload="{}")
    other = connect()
    with background(lambda: other.consume(commits, fails, later)) as consuming:
        eventually(lambda: db.is_in(other.session_id, "User sleep"))
        db.call("outbox_mark_dead_v1", fails, "out of the way")
        assert db.consume(later) == {later: "consumed"}
        db.out("outbox_requeue_v1", fails)
    assert consuming.result() == {commits: "consumed", fails: "failed", later: "not reached"}
    assert db.consume(later) == {later: "duplicate"}
    assert db.statuses()[later] == "consumed"
    assert app.effects() == [later]


def test_failing_messages_cost_as_much_each_however_many_there_are(db: Database, app: Application) -> None:
    app.business("fails", FAIL)

    def cost(number: int) -> float:
        db.execute("START TRANSACTION")
        messages = [db.enqueue(f"k-{key}", biz_type="fails", payload="{}") for key in range(number)]
        db.execute("COMMIT")
        batch = json.dumps([{"id": message, "payload": "{}"} for message in messages])
        read = reads(db, lambda: db.call("outbox_consume_v1", batch))
        db.execute("DELETE FROM agent_outbox_messages")
        return read / number

    assert cost(400) < cost(100) * 1.5


@pytest.mark.parametrize("autocommit", [0, 1])
def test_failure_that_cannot_be_entered_leaves_no_transaction_open(
    db: Database, app: Application, connect: Connect, autocommit: int
) -> None:
    app.business("rolls_back", "DO SLEEP(1); ROLLBACK")
    message = db.enqueue_published(biz_type="rolls_back", payload="{}")
    consumer, other = connect(), connect()
    consumer.execute(f"SET SESSION autocommit = {autocommit}, SESSION innodb_lock_wait_timeout = 1")
    other.execute("START TRANSACTION")
    with background(lambda: consumer.consume((message, "{}"))) as consuming:
        eventually(lambda: db.is_in(consumer.session_id, "User sleep"))
        # Waits, and has the lock once the handler has rolled back.
        assert other.rows("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", message)
        with pytest.raises(Error) as raised:
            consuming.result()
    assert raised.value.errno == errorcode.ER_LOCK_WAIT_TIMEOUT
    assert not consumer.in_transaction()
    other.execute("ROLLBACK")
    assert consumer.consume((message, "{}")) == {message: "failed"}
    assert db.message(message)["retry_count"] == 1


# Trouble of the server, which is no message's fault


def test_lock_wait_timeout_on_a_message_rolls_everything_back_and_is_raised(db: Database, connect: Connect) -> None:
    other = connect()
    free, locked = db.enqueue_published("a"), db.enqueue_published("b")
    other.execute("START TRANSACTION")
    other.call("outbox_mark_failed_v1", locked, "not committed")
    check_timeout(db, free, locked)
    other.execute("ROLLBACK")
    assert db.consume(free, locked) == {free: "consumed", locked: "consumed"}


def test_lock_wait_timeout_on_the_business_table_rolls_everything_back_and_is_raised(
    db: Database, connect: Connect
) -> None:
    other = connect()
    first, second = db.enqueue_published("a"), db.enqueue_published("b")
    other.execute("START TRANSACTION")
    other.execute("SELECT * FROM chat_histories FOR UPDATE")
    check_timeout(db, first, second)
    other.execute("ROLLBACK")
    assert db.consume(first, second) == {first: "consumed", second: "consumed"}
    assert db.chats() == ["a", "b"]


def test_lock_wait_timeout_in_a_handler_fails_its_own_message_and_stops_no_other(
    db: Database, app: Application, connect: Connect
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = p_payload WHERE message = 0")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    other = connect()
    chat = db.enqueue_published("a")
    blocked = db.enqueue_published("b", biz_type="counts", payload="{}")
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    db.execute("SET innodb_lock_wait_timeout = 1")
    assert db.consume(chat, blocked) == {chat: "consumed", blocked: "failed"}
    assert "Lock wait timeout" in db.message(blocked)["last_error"]
    other.execute("ROLLBACK")
    assert db.consume(blocked) == {blocked: "consumed"}


def check_timeout(db: Database, *messages: int) -> None:
    """Consume in vain: error 1205, nothing changed, no transaction left open, no lock kept."""
    before, chats = db.messages(), db.chats()
    db.execute("SET innodb_lock_wait_timeout = 1")
    with pytest.raises(Error) as caught:
        db.consume(*messages)
    assert caught.value.errno == 1205
    assert not db.in_transaction()
    assert db.messages() == before
    assert db.chats() == chats


def test_killed_statement_is_raised_and_the_callers_rollback_undoes_everything(
    db: Database, app: Application, connect: Connect
) -> None:
    app.business("counts", "UPDATE app_effects SET payload = p_payload WHERE message = 0")
    db.execute("INSERT INTO app_effects (message) VALUES (0)")
    consumer, other = connect(), connect()
    chat = db.enqueue_published("a")
    blocked = db.enqueue_published("b", biz_type="counts", payload="{}")
    before = db.messages()
    other.execute("START TRANSACTION; UPDATE app_effects SET payload = 'locked'")
    with background(lambda: consumer.consume(chat, blocked)) as consume:
        eventually(lambda: db.waits_for_lock(consumer.session_id))
        db.execute(f"KILL QUERY {consumer.session_id}")
        error = consume.exception(timeout=10)
    assert isinstance(error, Error)
    assert error.errno == 1317
    # No handler runs in a statement that was killed, so that the procedure cannot roll back by itself.
    consumer.execute("ROLLBACK")
    other.execute("ROLLBACK")
    assert db.messages() == before
    assert db.chats() == []
    assert consumer.consume(chat, blocked) == {chat: "consumed", blocked: "consumed"}


def test_server_that_went_read_only_changes_nothing_and_is_raised(db: Database, connect: Connect) -> None:
    consumer = connect()
    message = db.enqueue_published(biz_type=CHAT)
    before = db.messages()
    consumer.execute("SET SESSION TRANSACTION READ ONLY")
    with pytest.raises(Error, match="READ ONLY"):
        consumer.consume(message)
    assert db.messages() == before
    consumer.execute("SET SESSION TRANSACTION READ WRITE")
    assert consumer.consume(message) == {message: "consumed"}


def test_slow_handler_lets_the_first_message_of_each_key_pass_and_leaves_the_rest_waiting(
    db: Database, app: Application
) -> None:
    app.business("slow", f"DO SLEEP(0.11); {RECORD}")
    app.business("obeys")
    slow = [db.enqueue_published("slow", biz_type="slow", payload="{}") for _ in range(3)]
    quick = [db.enqueue_published(key, biz_type="obeys", payload="{}") for key in "abb"]
    before = {row["id"]: row for row in db.messages()}
    assert db.consume(*slow, *quick) == {
        slow[0]: "consumed",
        slow[1]: "not reached",
        slow[2]: "not reached",
        quick[0]: "consumed",
        quick[1]: "consumed",
        quick[2]: "not reached",
    }
    assert all(row == before[row["id"]] for row in db.messages() if row["id"] in {slow[1], slow[2], quick[2]})
    assert db.consume(slow[1], slow[2], quick[2]) == {slow[1]: "consumed", slow[2]: "not reached", quick[2]: "consumed"}
    assert db.consume(slow[2]) == {slow[2]: "consumed"}


def test_handler_that_rolls_back_is_found_out_behind_one_that_commits(db: Database, app: Application) -> None:
    app.business("commits", f"{RECORD}; COMMIT")
    app.business("rolls_back", f"{RECORD}; ROLLBACK; {FAIL}")
    first = db.enqueue_published("a", biz_type="commits", payload="{}")
    second = db.enqueue_published("b", biz_type="rolls_back", payload="{}")
    assert db.consume(first, second)[second] == "failed"
    assert db.statuses() == {first: "consumed", second: "pending"}
    assert "commits by itself" in db.message(first)["last_error"]
    assert "rolls back by itself: the application says no" in db.message(second)["last_error"]


def test_handler_that_fetches_beyond_the_end_fails_and_one_that_selects_no_row_does_not(
    db: Database, app: Application
) -> None:
    no_row = "DECLARE v_found INT; DECLARE v_all CURSOR FOR SELECT id FROM app_effects WHERE FALSE"
    app.business("fetches", f"{no_row}; {RECORD}; OPEN v_all; FETCH v_all INTO v_found")
    app.business("selects", f"{no_row}; {RECORD}; SELECT id INTO v_found FROM app_effects WHERE FALSE")
    first = db.enqueue_published("a", biz_type="fetches", payload="{}")
    second = db.enqueue_published("b", biz_type="selects", payload="{}")
    assert db.consume(first, second) == {first: "failed", second: "consumed"}
    assert "No data" in db.message(first)["last_error"]
    assert app.effects() == [second]
