"""The command as a user runs it: what it prints, where, and its exit code."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kit.account import Account
from tests.kit.command import OUTBOXD, Invoke, Run, environment, run, the_one_line
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import eventually

NOWHERE = "mysql://user:secret@127.0.0.1:1/db"
LINE = b'{"user_id": 7, "conversation_id": "c-1", "role": "user", "message": "hi"}\n'


def test_status_counts_by_status_and_shows_the_lag(invoke: Invoke, db: Session) -> None:
    for status in ("pending", "pending", "published", "consumed", "dead"):
        db.enqueue_in(status)
    done = invoke("status")
    counts = dict(re.findall(r"^ *(pending|published|consumed|dead) +(\d+)", done.stdout, re.MULTILINE))
    assert counts == {"pending": "2", "published": "1", "consumed": "1", "dead": "1"}
    assert re.search(r"^lag: \d+\.\d s", done.stdout, re.MULTILINE)
    assert (done.exit_code, done.stderr) == (0, "")


def test_status_as_json_is_one_object(invoke: Invoke, db: Session) -> None:
    message = db.enqueue_in("pending")
    db.enqueue_in("dead")
    db.call("outbox_mark_failed_v1", message, "later")
    db.execute("UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL 100 SECOND")
    status = json.loads(invoke("status", "--json").stdout)
    assert (status["messages"], status["failing"]) == ({"pending": 1, "dead": 1}, 1)
    assert 100 <= status["lag_seconds"] < 160
    assert -60 < status["next_due_seconds"] <= 1


def test_status_of_an_empty_outbox_has_no_lag(invoke: Invoke, db: Session) -> None:
    assert db.messages() == []
    assert json.loads(invoke("status", "--json").stdout) == {
        "messages": {},
        "received": {},
        "failing": 0,
        "lag_seconds": 0.0,
        "next_due_seconds": None,
    }
    assert invoke("status").exit_code == 0


def test_show_prints_every_column_of_a_message(invoke: Invoke, db: Session) -> None:
    message = db.enqueue(payload='{"text":"漢字 🎉"}')
    done = invoke("show", str(message))
    assert done.exit_code == 0
    shown = dict(re.findall(r"^(\w+) +(.*)$", done.stdout, re.MULTILINE))
    assert shown.keys() == db.message(message).keys()
    assert (shown["id"], shown["status"], shown["payload"]) == (str(message), "pending", '{"text":"漢字 🎉"}')
    assert shown["last_error"] == ""


@pytest.mark.parametrize("unknown", ["0", "123456789", str(2**64 - 1), str(2**64)])
def test_show_of_an_unknown_message_is_one_line(outboxd: Run, db: Session, unknown: str) -> None:
    assert db.messages() == []
    done = outboxd("show", unknown)
    assert done.returncode == 1
    assert re.fullmatch(rf".*\b{unknown}\b.*\n", done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["show"],
        ["show", "one"],
        ["show", "-1"],
        ["show", "1", "2"],
        ["enqueue"],
        ["enqueue", "--topic", "chat"],
        ["enqueue", "--topic", "chat", "no-such-file.jsonl"],
        ["run", "--only", "both"],
        ["run", "--kafka-options", "no-equals-sign"],
        ["demo", "--chat", "no-such-file.jsonl"],
    ],
    ids=" ".join,
)
def test_wrong_usage_has_exit_code_2(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke(*arguments, mysql_url=NOWHERE)
    assert result.exit_code == 2
    assert "Usage: " in result.output


@pytest.mark.parametrize("command", ["run", "migrate", "enqueue", "status", "show", "demo"])
def test_every_command_tells_its_settings_and_where_else_they_come_from(invoke: Invoke, command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "--mysql-url" in result.output
    assert "OUTBOXD_MYSQL_URL" in result.output


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ('"$0" status >&-', "standard output is closed"),
        ('"$0" enqueue --topic chat - <&-', "standard input is closed"),
        ('"$0" dead discard --all <&-', "standard input is closed"),
    ],
)
def test_closed_stream_is_one_clear_line(
    mysql_server: Server, db: Session, tmp_path: Path, command: str, reason: str
) -> None:
    db.enqueue_in("dead", "a")
    db.enqueue_in("dead", "b")
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{db.value('SELECT DATABASE()')}"
    done = run(tmp_path, {"mysql_url": url}, ["-c", command, str(OUTBOXD)], command=["sh"])
    assert the_one_line(done) == f"outboxd: {reason}"
    assert len(db.messages()) == 2


def test_letters_that_the_terminal_has_not_are_printed_as_numbers(
    account: Account, db: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    message = db.enqueue(payload='{"text":"漢字 caf"}')
    done = run(tmp_path, {"mysql_url": account.url}, ["show", str(message)])
    assert (done.returncode, done.stderr) == (0, "")
    assert r'{"text":"\u6f22\u5b57 caf"}' in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["migrate"], ["enqueue", "--topic", "chat", "-"], ["status"]],
    ids=" ".join,
)
def test_server_that_is_away_is_one_clear_line(outboxd: Run, arguments: list[str]) -> None:
    done = outboxd(*arguments, stdin=LINE, mysql_url="mysql://user:secret@127.0.0.1:1/db")
    assert "127.0.0.1" in the_one_line(done)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mysql_url": "mysql://127.0.0.1"}, "mysql_url"),
        ({"mysql_options": {"no_such_option": 1}}, "no_such_option"),
        ({"mysql_options": {"connection_timeout": "soon"}}, "mysql_options"),
        ({"kafka_options": {"no.such.property": "1"}}, "no.such.property"),
        ({"kafka_options": {"session.timeout.ms": {"nested": 1}}}, "kafka_options"),
        ({"topics": ""}, "topics"),
    ],
)
def test_daemon_with_a_wrong_setting_ends_with_one_line_that_names_it(
    outboxd: Run, db: Session, settings: dict[str, Any], named: str
) -> None:
    assert db.messages() == []
    done = outboxd("run", **{"topics": "chat", "kafka_bootstrap": "127.0.0.1:1", **settings})
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last[:9]) == (1, "outboxd: "), done.stderr
    assert named in last
    assert "Traceback (most recent call last):" not in done.stderr.splitlines()


@pytest.mark.parametrize(("given", "cipher"), [("false", True), ("true", False)])
def test_tls_option_given_as_a_flag_means_what_it_says(account: Account, db: Session, given: str, cipher: bool) -> None:
    """The sessions of the account are seen while `enqueue` waits for its input."""
    command = [str(OUTBOXD), "enqueue", "--topic", "chat", "--mysql-options", f"ssl_disabled={given}", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment({"mysql_url": account.url})
    ) as process:
        assert process.stdin is not None
        process.stdin.write(LINE * 512)
        process.stdin.flush()
        eventually(lambda: len(db.messages()) == 511)
        encrypted = db.value(
            "SELECT COUNT(*) FROM performance_schema.status_by_thread AS s"
            " JOIN performance_schema.threads AS t USING (thread_id)"
            " WHERE s.variable_name = 'Ssl_cipher' AND s.variable_value <> '' AND t.processlist_user = %s",
            account.name,
        )
        process.stdin.close()
        assert process.wait(45) == 0
    assert bool(encrypted) is cipher


def test_number_given_as_a_flag_is_a_number_to_the_connector(outboxd: Run, db: Session) -> None:
    assert db.messages() == []
    done = outboxd("status", "--mysql-options", "connection_timeout=5")
    assert done.returncode == 0, done.stderr
