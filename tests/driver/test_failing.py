"""`outboxd failing`, `retry`, `give-up`, `key` and `find`: what they ask, do, print and return."""

import json

import pytest
from click.testing import Result

from tests.kit.command import Invoke, Setting
from tests.kit.operators import audit, fill
from tests.kit.session import CHAT, Session


@pytest.fixture
def operate(invoke: Invoke, db: Session) -> Invoke:
    assert db.messages() == []
    return invoke


def fail(db: Session, key: str = "k", times: int = 1, error: str = "it fails") -> int:
    message = db.enqueue(key)
    for _ in range(times):
        db.call("outbox_mark_failed_v1", message, error)
    return message


def last(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


def objects(result: Result) -> list[dict[str, Setting]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_failing_lists_who_fails_and_how_many_it_holds_back(operate: Invoke, db: Session) -> None:
    assert last(operate("failing")) == "0 of 0 failing messages"
    message = fail(db, "c-1", 4, "chat_histories\nis read only")
    db.enqueue("c-1")
    result = operate("failing", "--key", "c-1")
    row = result.stdout.splitlines()[1].split()
    assert row[:5] == [str(message), "chat", "c-1", CHAT, "4"]
    assert row[5] == "in"
    assert row[8:] == ["1", "chat_histories", "is", "read", "only"]
    assert last(result) == "1 of 1 failing message"
    assert last(operate("failing", "--error", "no such error")) == "0 of 0 failing messages"
    (line,) = objects(operate("failing", "--json"))
    assert (line["id"], line["retry_count"], line["followers"]) == (message, 4, 1)


def test_failing_is_paged(operate: Invoke, db: Session) -> None:
    messages = [fail(db, str(number)) for number in range(3)]
    result = operate("failing", "--limit", "2")
    assert last(result) == "2 of 3 failing messages"
    assert result.stderr == f"the next page: --after {messages[1]}\n"
    (line,) = objects(operate("failing", "--limit", "2", "--after", str(messages[1]), "--json"))
    assert line["id"] == messages[2]


def test_dead_list_is_paged_by_key_and_as_json(operate: Invoke, db: Session) -> None:
    messages = fill(db, 3, "dead")
    result = operate("dead", "list", "--limit", "2")
    assert result.stderr == f"the next page: --below {messages[1]}\n"
    (line,) = objects(operate("dead", "list", "--below", str(messages[1]), "--json"))
    assert line["id"] == messages[0]
    assert last(operate("dead", "list", "--key", "k-1")) == "1 of 1 dead letter"


def test_retry_by_id_by_filter_and_all(operate: Invoke, db: Session) -> None:
    one, two, three = (fail(db, key, 4) for key in "abc")
    assert last(operate("retry", str(one))) == "1 pending message due now"
    assert last(operate("retry", "--key", "b")) == "1 failing message due now"
    asked = operate("retry", "--all", stdin=b"n\n")
    assert (asked.exit_code, "retry 3 failing messages? [y/N]" in asked.output) == (1, True)
    result = operate("retry", "--all", "--yes")
    assert last(result) == "1 failing message due now, the others are due already or at work: 2"
    assert set(db.claim_ids()) == {one, two, three}
    assert [entry["action"] for entry in audit(db)] == ["retry", "retry_failing", "retry_failing"]
    assert last(operate("retry", "--key", "nobody")) == "nothing to retry: no failing message matches"


def test_give_up_by_id_and_by_filter(operate: Invoke, db: Session) -> None:
    one, two, other = (fail(db, key) for key in ("a", "b", "c"))
    assert last(operate("give-up", str(one), "--reason", "cancelled")) == "1 open message given up"
    assert last(operate("give-up", "--key", "b")) == "1 failing message given up"
    assert db.statuses() == {one: "dead", two: "dead", other: "pending"}
    assert db.message(one)["last_error"] == "given up (cancelled): it fails"


@pytest.mark.parametrize(
    ("command", "done"),
    [
        (["retry"], "pending message due now"),
        (["give-up"], "open message given up"),
        (["dead", "requeue"], "dead letter requeued"),
        (["dead", "discard"], "dead letter discarded"),
    ],
)
def test_what_is_asked_counts_what_exists_and_each_once(
    operate: Invoke, db: Session, command: list[str], done: str
) -> None:
    consumed = db.enqueue_in("consumed")
    wanted = [db.enqueue_in("dead", key) if command[0] == "dead" else fail(db, key) for key in "ab"]
    typed = [str(message) for message in (*wanted, wanted[0], consumed, 123456789)]
    result = operate(*command, *typed, stdin=b"n\n")
    kind = " ".join(done.split()[:2])
    assert f"{' '.join(command[-1].split('-'))} 2 {kind}s? [y/N]" in result.output
    assert f"message {consumed} is not {kind.split()[0]} but consumed\nthere is no message 123456789" in result.stderr
    result = operate(*command, *typed, "--yes")
    plural = done.replace("message", "messages").replace("letter", "letters")
    assert (result.exit_code, result.stdout) == (3, f"2 {plural}\n")
    nothing = operate(*command, str(consumed))
    assert (nothing.exit_code, nothing.stdout) == (1, f"0 {plural}\n")


@pytest.mark.parametrize("command", ["retry", "give-up"])
@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["--all", "--key", "a"], ["1", "--topic", "chat"]])
def test_choice_is_either_ids_or_filters_or_all(operate: Invoke, command: str, arguments: list[str]) -> None:
    result = operate(command, *arguments)
    assert (result.exit_code, "give IDs, or filters, or --all" in result.output) == (2, True)


def test_key_shows_the_head_and_what_is_behind_it(operate: Invoke, db: Session) -> None:
    assert last(operate("key", "chat", "c-1")).startswith("nothing is open of topic chat, key c-1")
    head = fail(db, "c-1", 3, "chat_histories is read only")
    behind = [db.enqueue("c-1") for _ in range(2)]
    lines = operate("key", "chat", "c-1", "--limit", "2").stdout.splitlines()
    assert lines[0].startswith(f"message {head} has failed 3 times, is tried again at ")
    assert lines[1] == "its last error: chat_histories is read only"
    assert lines[4].split()[0] == str(behind[0])
    assert lines[4].rstrip().endswith(f"waits for message {head}")
    assert lines[-1] == "2 are behind it"
    assert len(lines) == 6
    assert [line["behind"] for line in objects(operate("key", "chat", "c-1", "--json"))] == [2, 1, 0]


def test_show_lists_each_failure(operate: Invoke, db: Session) -> None:
    message = fail(db, times=2, error="it\nfails")
    lines = operate("show", str(message)).stdout.splitlines()[-2:]
    assert [line.partition(", ")[0] for line in lines] == ["failure 1", "failure 2"]
    assert lines[0].endswith(" UTC, relay: it fails")
    (shown,) = objects(operate("show", str(message), "--json"))
    assert (shown["id"], len(shown["failures"])) == (message, 2)  # type: ignore[arg-type]


def test_find_pages_through_all_of_a_key_also_beyond_what_one_call_looks_at(operate: Invoke, db: Session) -> None:
    first = db.enqueue_in("dead", "wanted")
    fill(db, 100_010, "consumed")
    newest = db.enqueue("wanted")
    result = operate("find", "--key", "wanted")
    assert [line.split()[0] for line in result.stdout.splitlines()[1:-1]] == [str(newest), str(first)]
    assert last(result) == "2 found"
    page = operate("find", "--key", "wanted", "--limit", "1")
    assert last(page) == f"1 found, there may be more: --past {newest}"
    (line,) = objects(operate("find", "--key", "wanted", "--past", str(newest), "--json"))
    assert line["id"] == first
    (oldest,) = objects(operate("find", "--oldest-first", "--limit", "1", "--json"))
    assert oldest["id"] == first
    assert last(operate("find", "--since", "2100-01-01")) == "0 found"
    assert last(operate("find", "--status", "dead", "--topic", "chat", "--biz-type", CHAT)) == "1 found"


def test_what_users_wrote_controls_no_terminal(operate: Invoke, db: Session) -> None:
    db.enqueue("\x1b[31mred")
    db.call("outbox_mark_failed_v1", max(db.statuses()), "\x1b]0;title\x07")
    for command in (["failing"], ["find"], ["key", "chat", "\x1b[31mred"]):
        assert "\x1b" not in operate(*command).output


def test_dead_summary_counts_by_type_and_error(operate: Invoke, db: Session) -> None:
    for number in range(3):
        db.call("outbox_mark_dead_v1", db.enqueue(), f"order {number} is gone")
    db.call("outbox_mark_dead_v1", db.enqueue(), "refused")
    lines = operate("dead", "summary").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["3", "1"]
    assert lines[1].rstrip().endswith("order N is gone")
    assert lines[-1] == "4 dead letters of 2 kinds"
    (line,) = objects(operate("dead", "summary", "--error", "refused", "--json"))
    assert (line["biz_type"], line["error"], line["messages"]) == (CHAT, "refused", 1)
