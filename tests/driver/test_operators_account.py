"""Operators' commands work with the operator's account, and say in their words what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.account import Account
from tests.kit.command import OUTBOXD, Invoke, Run, run, the_one_line
from tests.kit.installing import create_account, mysql_url
from tests.kit.operators import fill
from tests.kit.server import Server
from tests.kit.session import Session

OPERATOR = "ada_the_operator"
VIEWS = ("outbox_status", "outbox_policies", "outbox_audit_log", "outbox_dead_letters", "outbox_relays_status")


@pytest.fixture
def operator_url(db: Session, mysql_server: Server, installed_database: str) -> Iterator[str]:
    """An account with what the role outbox_operator has, of the procedures those that are used here."""
    create_account(db, OPERATOR)
    for view in VIEWS:
        db.execute(f"GRANT SELECT ON {view} TO {OPERATOR}")
    for procedure in ("pause", "resume", "status", "lag", "register_biz_type", "delete_biz_type", "get"):
        db.execute(f"GRANT EXECUTE ON PROCEDURE outbox_{procedure}_v1 TO {OPERATOR}")
    yield mysql_url(mysql_server, installed_database, OPERATOR)
    db.execute(f"DROP USER {OPERATOR}")


@pytest.fixture
def poor_url(db: Session, mysql_server: Server, installed_database: str) -> Iterator[str]:
    """A daemon's account: it may do nothing that operators do."""
    create_account(db, "poor", f"GRANT EXECUTE ON PROCEDURE {installed_database}.outbox_claim_v1")
    yield mysql_url(mysql_server, installed_database, "poor")
    db.execute("DROP USER poor")


def audited(db: Session) -> list[str]:
    """Who did something."""
    return [account.split("@")[0] for account in db.column("SELECT account FROM outbox_audit ORDER BY id")]


def test_operators_command_uses_the_operators_account_whatever_the_daemon_has(
    invoke: Invoke, db: Session, operator_url: str, poor_url: str
) -> None:
    Path("outboxd.toml").write_text(f'mysql_url = "{poor_url}"\n', encoding="utf-8")
    own = ("pause", "--topic", "chat")
    assert invoke(*own, mysql_url=poor_url).exit_code == 1
    assert invoke(*own, mysql_url=poor_url, operator_url=operator_url).exit_code == 0
    assert invoke("resume", "--topic", "chat", "--operator-url", operator_url, mysql_url=poor_url).exit_code == 0
    assert audited(db) == [OPERATOR, OPERATOR]


def test_flag_for_mysql_url_wins_over_the_operators_account(
    invoke: Invoke, db: Session, operator_url: str, account: Account
) -> None:
    done = invoke("pause", "--topic", "chat", "--mysql-url", account.url, operator_url=operator_url)
    assert done.exit_code == 0, done.output
    assert audited(db) == [account.name]


def test_operators_account_alone_is_enough_and_a_wrong_one_is_named(tmp_path: Path, operator_url: str) -> None:
    done = run(tmp_path, {"operator_url": operator_url}, ["status"])
    assert done.returncode == 0, done.stderr
    line = the_one_line(run(tmp_path, {"operator_url": "nowhere"}, ["status"]))
    assert line.startswith("outboxd: setting operator_url: must look like mysql://")
    assert "mysql_url:" not in line


@pytest.mark.parametrize(
    ("arguments", "does", "role"),
    [
        (["pause", "--topic", "chat"], "call outbox_pause_v1", "outbox_operator"),
        (["audit"], "read outbox_audit_log", "outbox_operator"),
        (["top", "--once"], "read outbox_status", "outbox_monitor"),
        (["show", "1"], "call outbox_get_v1", "outbox_operator"),
    ],
)
def test_refusal_names_the_role_that_is_missing(
    outboxd: Run, poor_url: str, arguments: list[str], does: str, role: str
) -> None:
    line = the_one_line(outboxd(*arguments, mysql_url=poor_url))
    who = line.partition(" may not ")[0].removeprefix("outboxd: ")
    assert who.startswith("'poor'@'")
    expected = f"{who} may not {does}: it needs the role {role} (GRANT {role} TO {who}; SET DEFAULT ROLE ALL TO {who})"
    assert line == f"outboxd: {expected}, or set operator_url to an account that has it"


def test_account_without_any_role_is_told_so(outboxd: Run, mysql_server: Server, db: Session) -> None:
    create_account(db, "nobody_yet")
    url = mysql_url(mysql_server, str(db.value("SELECT DATABASE()")), "nobody_yet")
    line = the_one_line(outboxd("status", mysql_url=url))
    assert "has no right on database" in line
    assert "SET DEFAULT ROLE ALL TO 'nobody_yet'@'" in line
    db.execute("DROP USER nobody_yet")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["biz-type", "set", "x", "--handler", "none_such"], 1, "--handler is no procedure (p_id, p_payload) of this"),
        (["biz-type", "set", "x", "--max-retry", "2000000"], 1, "--max-retry must be from 0 to 1000000: 2000000"),
        (["pause", "--topic", "x" * 250], 1, "--topic"),
        (["biz-type", "set", "x" * 65], 1, "BIZ_TYPE"),
        (["pause", "--topic", "chat", "--biz-type", "x"], 2, "give --topic or --biz-type"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["show", "123456"], 1, "there is no message 123456"),
    ],
)
def test_errors_have_one_prefix_and_speak_of_what_was_given(
    outboxd: Run, operator_url: str, arguments: list[str], code: int, said: str
) -> None:
    done = outboxd(*arguments, operator_url=operator_url)
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith("outboxd: ")
    assert said in last
    assert "Error" not in done.stderr
    assert " p_" not in last.replace("(p_id, p_payload)", "")


def test_pause_of_what_no_message_has_says_so(invoke: Invoke, db: Session, operator_url: str) -> None:
    db.enqueue(topic="chat")
    assert "ever had" not in invoke("pause", "--topic", "chat", operator_url=operator_url).output
    assert "ever had" not in invoke("pause", "--biz-type", "chat_history_persist", operator_url=operator_url).output
    done = invoke("pause", "--topic", "chta", operator_url=operator_url)
    assert done.exit_code == 0
    assert "but no message here has ever had topic chta: is it spelled right?" in done.output
    assert "business type x: is it" in invoke("pause", "--biz-type", "x", operator_url=operator_url).output


def test_status_and_top_show_pauses(invoke: Invoke, db: Session, operator_url: str, monitor_url: str) -> None:
    assert json.loads(invoke("status", "--json", operator_url=operator_url).stdout)["pauses"] == []
    db.call("outbox_pause_v1", "chat", None)
    status = invoke("status", operator_url=operator_url).output
    assert "topic chat: paused since " in status
    assert "topic chat: paused since " in invoke("top", "--once", mysql_url=monitor_url).output
    told = json.loads(invoke("status", "--json", operator_url=operator_url).stdout)["pauses"]
    assert told == [{"kind": "topic", "name": "chat", "parked": 0}]


def test_business_type_is_deleted_once_nobody_uses_it(invoke: Invoke, db: Session, operator_url: str) -> None:
    def delete() -> tuple[int, str]:
        done = invoke("biz-type", "delete", "orders", operator_url=operator_url)
        return done.exit_code, done.output

    assert delete() == (1, "Error: there is no business type orders\n")
    db.register("orders", "outbox_shop_v1")
    message = db.enqueue(biz_type="orders")
    code, output = delete()
    assert (code, "BIZ_TYPE has messages that are pending or published: orders" in output) == (1, True)
    db.call("outbox_mark_dead_v1", message, "enough")
    assert delete() == (0, "orders is deleted\n")
    assert db.column("SELECT biz_type FROM outbox_biz_types") == ["chat_history_persist"]
    assert db.column("SELECT action FROM outbox_audit") == ["delete_biz_type"]


def test_audit_shows_people_and_with_all_the_retention_too(invoke: Invoke, db: Session, operator_url: str) -> None:
    fill(db, 2, "consumed", age_seconds=200)
    db.call("outbox_retain_v1", 100, 100)
    db.call("outbox_pause_v1", "chat", None)

    def actions(*options: str) -> list[str]:
        done = invoke("audit", "--json", *options, operator_url=operator_url)
        return [json.loads(line)["action"] for line in done.stdout.splitlines()]

    assert actions() == ["pause"]
    assert actions("--all") == ["pause", "retention"]
    assert actions("--action", "retention") == ["retention"]


def test_line_with_a_business_type_and_without_payload_says_so(outboxd: Run, db: Session) -> None:
    done = outboxd("enqueue", "--topic", "chat", "-", stdin=b'{"biz_type": "orders", "key": "k"}\n')
    assert done.returncode == 3
    assert "line 1: payload is missing: a message with a biz_type has one" in done.stderr
    assert db.messages() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_what_the_docs_say(tmp_path: Path, shell: str) -> None:
    script = run(tmp_path, {}, [f"_OUTBOXD_COMPLETE={shell}_source", str(OUTBOXD)], command=["env"])
    assert script.returncode == 0
    assert f"_OUTBOXD_COMPLETE={shell}_complete" in script.stdout
