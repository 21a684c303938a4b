"""The operator's commands: what they ask, do, print and return, on the real server."""

import json
import re
from collections.abc import Iterator

import pytest
from click.testing import Result

from outboxd.commands.options import age as age_of
from tests.kit.command import Invoke, Run, Setting, the_one_line
from tests.kit.operators import age, audit, fill
from tests.kit.server import Connect, Server
from tests.kit.session import CHAT, Session
from tests.kit.waiting import background, eventually

ACCOUNT = "outboxd_operator"


@pytest.fixture(scope="module")
def operator_url(mysql_server: Server, installed_database: str) -> Iterator[str]:
    """An account with EXECUTE, and SELECT on the operator's views: no table."""
    with mysql_server.connect(installed_database) as session:
        session.execute(
            f"DROP USER IF EXISTS {ACCOUNT}; CREATE USER {ACCOUNT};"
            f"GRANT EXECUTE ON {installed_database}.* TO {ACCOUNT};"
            f"GRANT SELECT ON outbox_audit_log TO {ACCOUNT}; GRANT SELECT ON outbox_policies TO {ACCOUNT}"
        )
        yield f"mysql://{ACCOUNT}@{mysql_server.host}:{mysql_server.port}/{installed_database}"
        session.execute(f"DROP USER {ACCOUNT}")


@pytest.fixture
def operate(invoke: Invoke, operator_url: str) -> Invoke:
    """Call a command as the operator."""

    def call(*arguments: str, stdin: bytes = b"", **settings: Setting) -> Result:
        return invoke(*arguments, stdin=stdin, **{**settings, "mysql_url": operator_url})

    return call


def done(result: Result, line: str) -> None:
    """Check that a command succeeded with this one line."""
    assert (result.exit_code, result.stdout) == (0, f"{line}\n"), result.output


def refused(result: Result, text: str, exit_code: int = 1) -> None:
    """Check that a command failed, saying this."""
    assert result.exit_code == exit_code, result.output
    assert text in result.output


def words(result: Result) -> list[list[str]]:
    """The cells of a printed table, without its heading."""
    assert result.exit_code == 0, result.output
    return [re.split(r" {2,}", line.strip()) for line in result.stdout.splitlines()[1:]]


# Dead letters


def test_dead_list_shows_who_they_are_and_why_but_no_payload(operate: Invoke, db: Session) -> None:
    message = db.enqueue("c-1", payload='{"text": "a secret"}')
    db.call("outbox_mark_dead_v1", message, "the conversation\nwas deleted, " + "x" * 200)
    db.enqueue_in("dead", topic="orders")
    result = operate("dead", "list", "--topic", "chat")
    assert result.exit_code == 0
    row = result.stdout.splitlines()[1]
    for shown in (str(message), "chat", "c-1", CHAT, "the conversation was deleted", "…"):
        assert shown in row
    assert "secret" not in result.output
    assert result.stdout.splitlines()[-1] == "1 of 1 dead letter"


def test_dead_list_is_limited_and_says_how_many_there_are(operate: Invoke, db: Session) -> None:
    messages = fill(db, 5, "dead")
    result = operate("dead", "list", "--limit", "2")
    assert [row[0] for row in words(result)[:-1]] == [str(message) for message in messages[:2:-1]]
    assert result.stdout.endswith("2 of 5 dead letters\n")
    db.clean()
    done(operate("dead", "list"), "0 of 0 dead letters")


def test_dead_show_prints_a_dead_letter_whole_and_nothing_else(operate: Invoke, db: Session) -> None:
    message, pending = db.enqueue_in("dead", payload='{"text":"漢字"}'), db.enqueue()
    shown = dict(re.findall(r"^(\w+) +(.*)$", operate("dead", "show", str(message)).stdout, re.MULTILINE))
    assert (shown["id"], shown["payload"], shown["last_error"]) == (str(message), '{"text":"漢字"}', "as arranged")
    refused(operate("dead", "show", str(pending)), f"message {pending} is not dead but pending")
    refused(operate("dead", "show", "123456789"), "there is no message 123456789")


def test_one_dead_letter_is_requeued_or_discarded_without_a_question(operate: Invoke, db: Session) -> None:
    one, two = db.enqueue_in("dead"), db.enqueue_in("dead")
    done(operate("dead", "requeue", str(one)), "1 dead letter requeued")
    assert db.statuses() == {one: "pending", two: "dead"}
    done(operate("dead", "discard", str(two)), "1 dead letter discarded")
    assert db.statuses() == {one: "pending"}
    done(operate("dead", "requeue", "--all"), "nothing to requeue: no dead letter matches")
    assert (
        db.column("SELECT account FROM outbox_audit_log") == [db.value("SELECT MAX(account) FROM outbox_audit_log")] * 2
    )
    assert db.value("SELECT MAX(account) FROM outbox_audit_log").startswith(f"{ACCOUNT}@")


@pytest.mark.parametrize(
    ("verb", "choice"),
    [
        ("requeue", ["IDS"]),
        ("discard", ["IDS"]),
        ("requeue", ["--all"]),
        ("discard", ["--topic", "chat"]),
        ("requeue", ["--biz-type", CHAT, "--rate", "10"]),
        ("discard", ["--before", "2100-01-01 12:00", "--error", "as%ged"]),
    ],
)
def test_more_than_one_is_asked_for(operate: Invoke, db: Session, verb: str, choice: list[str]) -> None:
    messages = [db.enqueue_in("dead", key) for key in "abc"]
    choice = [str(message) for message in messages] if choice == ["IDS"] else choice
    before = db.messages()
    for answer in (b"n\n", b""):
        result = operate("dead", verb, *choice, stdin=answer)
        refused(result, f"{verb} 3 dead letters? [y/N]")
        assert result.stdout == ""
    assert db.messages() == before
    rate = ", 10 a second" if "--rate" in choice else ""
    done(operate("dead", verb, *choice, stdin=b"y\n"), f"3 dead letters {verb.removesuffix('e')}ed{rate}")
    assert set(db.statuses().values()) == ({"pending"} if verb == "requeue" else set())


@pytest.mark.parametrize("verb", ["requeue", "discard"])
def test_yes_answers_beforehand(operate: Invoke, db: Session, verb: str) -> None:
    line = f"2 dead letters {verb.removesuffix('e')}ed"
    done(operate("dead", verb, *(str(db.enqueue_in("dead")) for _ in "ab"), "--yes"), line)
    fill(db, 2, "dead")
    done(operate("dead", verb, "--all", "--yes"), line)


def test_filters_touch_nothing_else(operate: Invoke, db: Session) -> None:
    wanted, other = db.enqueue_in("dead", topic="orders"), db.enqueue_in("dead")
    done(operate("dead", "requeue", "--topic", "orders"), "1 dead letter requeued")
    assert db.statuses() == {wanted: "pending", other: "dead"}
    done(operate("dead", "discard", "--error", "no such error"), "nothing to discard: no dead letter matches")


def test_ids_that_are_not_dead_are_named_and_seen_in_the_exit_code(operate: Invoke, db: Session) -> None:
    dead, pending = db.enqueue_in("dead"), db.enqueue()
    result = operate("dead", "requeue", str(dead), str(pending), "--yes")
    assert (result.exit_code, result.stdout) == (3, "1 dead letter requeued\n")
    assert result.stderr == f"message {pending} is not dead but pending\n"
    refused(operate("dead", "discard", str(pending)), f"message {pending} is not dead but pending", 1)
    assert db.statuses() == {dead: "pending", pending: "pending"}


def test_unknown_id_is_one_line(outboxd: Run, operator_url: str, db: Session) -> None:
    assert db.messages() == []
    result = outboxd("dead", "requeue", "123456789", mysql_url=operator_url)
    assert (result.returncode, result.stdout) == (1, "0 dead letters requeued\n")
    assert result.stderr == "there is no message 123456789\n"


def test_rate_spreads_the_requeued(operate: Invoke, db: Session) -> None:
    fill(db, 11, "dead")
    done(operate("dead", "requeue", "--all", "--rate", "5", "--yes"), "11 dead letters requeued, 5 a second")
    span = "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(next_retry_at), MAX(next_retry_at)) FROM agent_outbox_messages"
    assert db.value(span) == 2_000_000


# Pause and resume


def test_pause_is_listed_until_it_is_resumed(operate: Invoke, db: Session) -> None:
    db.enqueue()
    done(operate("pause"), "0 paused")
    done(operate("pause", "--topic", "chat"), "topic chat is paused")
    done(operate("pause", "--biz-type", "order_paid"), "business type order_paid is paused")
    assert db.claim_ids() == []
    again = operate("pause", "--topic", "chat").stdout
    assert re.fullmatch(rf"topic chat is paused already, since [-\d]+ [:\d]+ UTC by {ACCOUNT}@\S+\n", again)
    listed = operate("pause").stdout.splitlines()
    assert listed[-1] == "2 paused"
    assert {line.partition(":")[0] for line in listed[:-1]} == {"topic chat", "business type order_paid"}
    done(operate("resume", "--topic", "chat"), "topic chat is relayed again")
    done(operate("resume", "--biz-type", "order_paid"), "business type order_paid is relayed again")
    done(operate("resume", "--topic", "chat"), "topic chat was not paused")
    assert len(db.claim_ids()) == 1


# Purge, recover, replay


@pytest.mark.parametrize(
    ("options", "status", "name"), [([], "consumed", "consumed messages"), (["--dead"], "dead", "dead letters")]
)
def test_purge_asks_and_deletes_what_is_old(
    operate: Invoke, db: Session, options: list[str], status: str, name: str
) -> None:
    for state in ("consumed", "dead"):
        fill(db, 3, state, age_seconds=8 * 86_400)
    young = fill(db, 2, status)
    refused(operate("purge", "--older-than", "7d", *options, stdin=b"n\n"), f"purge 3 {name}? [y/N]")
    assert len(db.statuses()) == 8
    done(operate("purge", "--older-than", "7d", *options, "--yes"), f"3 {name} purged")
    assert len(db.statuses()) == 5
    assert young == [message for message, state in db.statuses().items() if state == status]
    result = operate("purge", "--older-than", "7d", *options)
    done(result, f"nothing to purge: no {name.removesuffix('s')} matches")


def test_purge_of_dedup_keys_asks_and_deletes_what_is_old(
    operate: Invoke, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outboxd.commands.confirm._PART", 100)
    db.enqueue_batch(*({"dedup_key": f"old {number}"} for number in range(250)))
    db.execute("UPDATE outbox_dedup_keys SET created_at = created_at - INTERVAL 8 DAY")
    db.enqueue_batch({"dedup_key": "young"})
    asked = operate("purge", "--older-than", "7d", "--dedup-keys", stdin=b"n\n")
    refused(asked, "purge dedup keys that were first used before ")
    assert db.value("SELECT COUNT(*) FROM outbox_dedup_keys") == 251
    done(operate("purge", "--older-than", "7d", "--dedup-keys", "--yes"), "250 dedup keys purged")
    assert db.column("SELECT dedup_key FROM outbox_dedup_keys") == ["young"]
    assert len(db.messages()) == 251


def test_purge_is_of_one_kind(operate: Invoke) -> None:
    both = operate("purge", "--older-than", "7d", "--dead", "--dedup-keys", "--yes")
    assert both.exit_code == 2
    assert "--dead and --dedup-keys exclude each other" in both.stderr


def test_purge_goes_on_until_all_are_gone(operate: Invoke, db: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outboxd.commands.confirm._PART", 100)
    fill(db, 250, "consumed", age_seconds=60)
    done(operate("purge", "--older-than", "30s", "--yes"), "250 consumed messages purged")
    assert db.statuses() == {}
    assert [entry["messages"] for entry in audit(db)] == [100, 100, 50]


def test_recover_sends_back_what_was_published_long_ago(operate: Invoke, db: Session) -> None:
    old = [db.enqueue_published(key) for key in "ab"]
    new = db.enqueue_published("c")
    for message in old:
        age(db, message, 7200)
    refused(operate("recover", "--older-than", "1h30m"), "recover 2 published messages? [y/N]")
    done(operate("recover", "--older-than", "1h30m", "--yes"), "2 published messages recovered: pending again")
    assert db.statuses() == {old[0]: "pending", old[1]: "pending", new: "published"}
    assert "not consumed within 5400 s" in db.message(old[0])["last_error"]
    done(operate("recover", "--older-than", "1h"), "nothing to recover: no published message matches")


def test_replay_copies_the_range_and_asks(operate: Invoke, db: Session) -> None:
    messages = [db.enqueue_in("consumed", key) for key in "abcd"]
    chosen = ["--from-id", str(messages[1]), "--to-id", str(messages[2]), "--topic", "chat", "--biz-type", CHAT]
    refused(operate("replay", *chosen), "replay 2 consumed messages? [y/N]")
    done(operate("replay", *chosen, "--yes"), "2 consumed messages replayed as new ones")
    claimed = db.claim()
    assert [row["message_key"] for row in claimed] == ["b", "c"]
    done(operate("replay", "--topic", "orders"), "nothing to replay: no consumed message matches")
    done(operate("replay", "--all", "--yes"), "4 consumed messages replayed as new ones")


def test_replay_goes_on_part_by_part_until_all_are_copied_once(
    operate: Invoke, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outboxd.commands.confirm._PART", 100)
    messages = fill(db, 252, "consumed")
    chosen = ["--from-id", str(messages[1]), "--to-id", str(messages[-2])]
    done(operate("replay", *chosen, "--yes"), "250 consumed messages replayed as new ones")
    copies = db.column("SELECT message_key FROM agent_outbox_messages WHERE status = 'pending' ORDER BY id")
    assert copies == [f"k-{number}" for number in range(1, 251)]
    assert [entry["messages"] for entry in audit(db)] == [100, 100, 50]


def test_replay_that_is_cut_off_says_how_many_are_replayed(
    operate: Invoke, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outboxd.commands.confirm._PART", 100)
    messages = fill(db, 250, "consumed")
    db.execute(
        "CREATE TRIGGER cuts_off BEFORE INSERT ON agent_outbox_messages FOR EACH ROW"
        " IF NEW.message_key = 'k-150' THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    try:
        result = operate("replay", "--all", "--yes")
    finally:
        db.execute("DROP TRIGGER cuts_off")
    assert result.exit_code == 1
    assert result.stdout.startswith("cut off: 100 of 250 replayed; ")
    assert list(db.statuses().values()).count("pending") == 100
    (entry,) = audit(db)
    assert (entry["messages"], entry["last_id"]) == (100, messages[99])
    done(operate("replay", "--from-id", str(messages[100]), "--yes"), "150 consumed messages replayed as new ones")


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["replay", "--all"], "consumed", "3 consumed messages replayed as new ones"),
        (["purge", "--older-than", "30s"], "consumed", "3 consumed messages purged"),
        (["recover", "--older-than", "30s"], "published", "3 published messages recovered: pending again"),
        (["dead", "requeue", "--all", "--rate", "5"], "dead", "3 dead letters requeued, 5 a second"),
        (["dead", "discard", "--all"], "dead", "3 dead letters discarded"),
    ],
)
def test_call_that_takes_longer_than_a_worker_may_is_waited_for(
    operate: Invoke, db: Session, connect: Connect, arguments: list[str], status: str, line: str
) -> None:
    fill(db, 3, status, age_seconds=60)
    gate = connect()
    gate.execute("LOCK TABLES outbox_audit WRITE")
    waits = (
        "SELECT COUNT(*) FROM performance_schema.processlist"
        " WHERE user = %s AND state = 'Waiting for table metadata lock' AND time >= 3"
    )
    with background(lambda: operate(*arguments, "--yes", stall_seconds=1, wait_ms=0)) as command:
        eventually(lambda: command.done() or db.value(waits, ACCOUNT) == 1)
        was_cut_off = command.done()
        gate.execute("UNLOCK TABLES")
    assert not was_cut_off, command.result().output
    done(command.result(), line)


# Business types and the audit


def test_biz_types_are_listed_set_and_kept(operate: Invoke, db: Session) -> None:
    line = "handler outbox_internal_write_chat_history_v1, ordering none, max retry 7, backoff 2 to 900 s"
    options = ["--handler", "outbox_internal_write_chat_history_v1", "--ordering", "none", "--max-retry", "7"]
    backoff = ["--backoff-base", "2s", "--backoff-cap", "15m"]
    done(operate("biz-type", "set", "order_paid", *options, *backoff), f"order_paid is set: {line}")
    done(operate("biz-type", "set", "order_paid", *options), f"order_paid was so already: {line}")
    as_enqueued = line.replace("max retry 7", "max retry as enqueued")
    done(operate("biz-type", "set", "order_paid", "--max-retry", "0"), f"order_paid is set: {as_enqueued}")
    in_bulk = ["--batch-handler", "outbox_internal_write_chat_histories_v1"]
    with_it = f"{as_enqueued}, batch handler {in_bulk[1]}"
    done(operate("biz-type", "set", "order_paid", *in_bulk), f"order_paid is set: {with_it}")
    done(operate("biz-type", "set", "order_paid", *in_bulk), f"order_paid was so already: {with_it}")
    done(operate("biz-type", "set", "order_paid", "--no-batch-handler"), f"order_paid is set: {as_enqueued}")
    operate("pause", "--biz-type", "order_paid")
    operate("pause", "--biz-type", "other")
    rows = words(operate("biz-type", "list"))
    chat = ["outbox_internal_write_chat_history_v1", "key", "as enqueued", "1 to 32 s", in_bulk[1]]
    assert rows[0] == [CHAT, *chat]
    assert rows[1][:5] == ["order_paid", "outbox_internal_write_chat_history_v1", "none", "as enqueued", "2 to 900 s"]
    assert rows[1][5] == f"{db.value('SELECT MIN(paused_at) FROM outbox_pauses'):%F %T}"
    assert rows[2][:2] == ["other", "not registered: publish-only"]


def test_biz_types_and_a_dead_letter_are_lines_of_json(operate: Invoke, db: Session) -> None:
    operate("biz-type", "set", "orders", "--max-retry", "5")
    rows = [json.loads(line) for line in operate("biz-type", "list", "--json").output.splitlines()]
    assert {row["name"]: row["max_retry"] for row in rows}["orders"] == 5
    dead = db.enqueue()
    db.call("outbox_mark_dead_v1", dead, "as arranged")
    shown = json.loads(operate("dead", "show", str(dead), "--json").output)
    assert (shown["id"], shown["status"], shown["last_error"]) == (dead, "dead", "as arranged")


def test_biz_type_with_an_unknown_handler_is_one_line(outboxd: Run, operator_url: str) -> None:
    result = outboxd("biz-type", "set", "order_paid", "--handler", "nowhere", mysql_url=operator_url)
    assert "--handler is no procedure (p_id, p_payload) of this database: nowhere" in the_one_line(result)


def test_audit_lists_the_latest_first_and_in_short(operate: Invoke, db: Session) -> None:
    fill(db, 30, "dead")
    operate("dead", "discard", "--all", "--yes")
    operate("pause", "--topic", "chat")
    rows = words(operate("audit"))
    assert [row[3] for row in rows] == ["pause", "discard_dead"]
    assert rows[0][4] == "topic: chat"
    assert rows[1][4] == "30"
    assert re.fullmatch(r"limit: 30; discarded: \d+(, \d+){9}, ...", rows[1][5])
    assert [row[3] for row in words(operate("audit", "--action", "pause"))] == ["pause"]
    assert len(words(operate("audit", "--limit", "1"))) == 1
    (pause, discard) = (json.loads(line) for line in operate("audit", "--json").stdout.splitlines())
    assert (pause["action"], pause["details"]) == ("pause", {"topic": "chat"})
    assert len(discard["details"]["discarded"]) == 30
    assert discard["account"].startswith(f"{ACCOUNT}@")


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["dead"],
        ["dead", "requeue"],
        ["dead", "requeue", "1", "--all"],
        ["dead", "discard", "--all", "--topic", "chat"],
        ["dead", "discard", "1", "--error", "x"],
        ["dead", "requeue", "1", "--rate", "5"],
        ["dead", "requeue", "--all", "--rate", "0"],
        ["dead", "requeue", "0"],
        ["dead", "list", "--before", "yesterday"],
        ["pause", "--topic", "chat", "--biz-type", "b"],
        ["resume"],
        ["purge"],
        ["purge", "--older-than", "7"],
        ["purge", "--older-than", "d7"],
        ["purge", "--older-than", "800000d"],
        ["purge", "--older-than", "99999999999999999999d"],
        ["recover"],
        ["replay"],
        ["replay", "--all", "--topic", "chat"],
        ["biz-type", "set"],
        ["biz-type", "set", "b", "--ordering", "fifo"],
        ["biz-type", "set", "b", "--batch-handler", "p", "--no-batch-handler"],
        ["audit", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_has_exit_code_2_and_touches_nothing(operate: Invoke, db: Session, arguments: list[str]) -> None:
    db.enqueue_in("dead")
    before = db.messages()
    result = operate(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "Usage: " in result.stderr
    assert db.messages() == before
    assert audit(db) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800), ("1w1d1h1m1s", 694_861)],
)
def test_age_is_seconds(text: str, seconds: int) -> None:
    assert age_of(text) == seconds
