"""Which settings a command takes as options: those that it uses, and no others."""

from collections.abc import Iterator

import click
import pytest

from outboxd.commands.main import cli
from outboxd.settings import Settings
from tests.kit.command import Invoke, subcommands
from tests.kit.session import Session

ALL = set(Settings.model_fields) - {"operator_url", "databases"}
MYSQL = {"mysql_url", "mysql_options"}
OPERATOR = MYSQL | {"operator_url"}
TAKEN = {
    "run": ALL,
    "migrate": MYSQL,
    "enqueue": MYSQL,
    "status": OPERATOR,
    "show": OPERATOR,
    "demo": ALL - {"kafka_bootstrap", "topics", "lease_seconds"},
    "find": OPERATOR,
    "failing": OPERATOR,
    "key": OPERATOR,
    "retry": OPERATOR,
    "give-up": OPERATOR,
    "dead summary": OPERATOR,
    "dead export": OPERATOR,
    "dead list": OPERATOR,
    "dead show": OPERATOR,
    "dead requeue": OPERATOR,
    "dead discard": OPERATOR,
    "pause": OPERATOR,
    "resume": OPERATOR,
    "purge": OPERATOR,
    "recover": OPERATOR,
    "replay": OPERATOR,
    "biz-type list": OPERATOR,
    "biz-type set": OPERATOR,
    "biz-type delete": OPERATOR,
    "audit": OPERATOR,
    "subscriptions list": OPERATOR,
    "subscriptions add": OPERATOR,
    "subscriptions remove": OPERATOR,
    "doctor": MYSQL
    | {"kafka_bootstrap", "kafka_options", "name", "topics", "source", "group", "consumer_workers"}
    | {"stale_seconds"},
    "top": OPERATOR,
    "console": MYSQL | {"kafka_bootstrap", "kafka_options", "name", "source", "group"},
}


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    for name, command in subcommands(group).items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_command_takes_the_settings_that_it_uses_and_no_others() -> None:
    taken = {
        path: {option.name for option in command.params if f"OUTBOXD_{str(option.name).upper()}" in help_of(option)}
        for path, command in commands(cli)
    }
    assert taken == TAKEN


def help_of(option: click.Parameter) -> str:
    return getattr(option, "help", None) or ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["dead", "discard", "--error", "x", "--topics", "chat", "--yes"],
        ["dead", "requeue", "--error", "x", "--topics", "chat", "--yes"],
        ["purge", "--older-than", "1s", "--dead", "--topics", "chat", "--yes"],
        ["pause", "--biz-type", "chat_history_persist", "--topics", "chat"],
        ["replay", "--all", "--topics", "chat", "--yes"],
    ],
    ids=" ".join,
)
def test_setting_that_a_command_does_not_use_is_a_usage_error_and_nothing_is_done(
    invoke: Invoke, db: Session, arguments: list[str]
) -> None:
    for _ in range(2):
        message = db.enqueue()
        db.call("outbox_mark_dead_v1", message, "x")
    db.enqueue_in("consumed")
    before = db.messages()
    done = invoke(*arguments)
    assert (done.exit_code, "No such option" in done.output) == (2, True), done.output
    assert db.messages() == before
    assert db.value("SELECT COUNT(*) FROM outbox_policies WHERE paused_at IS NOT NULL") == 0


def test_settings_that_a_command_does_not_use_may_be_in_the_environment(invoke: Invoke, db: Session) -> None:
    assert db.messages() == []
    done = invoke("status", topics="chat", kafka_bootstrap="kafka:9092", relay_workers=3)
    assert done.exit_code == 0, done.output
