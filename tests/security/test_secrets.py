"""Passwords: where they must not be seen."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import structlog
from confluent_kafka.admin import AdminClient
from mysql.connector import Error

from outboxd.commands.main import main
from outboxd.kafka.client import connect
from outboxd.mysql.procedures import Database as Driver
from outboxd.retry import Unavailable
from outboxd.settings import SettingsError, load
from tests.kit.account import Account
from tests.kit.command import Setting, environment, run
from tests.kit.daemon import QUICK, daemons
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import OBSERVED, address_of, get
from tests.kit.session import Session

SECRET = "S3cret"
KAFKA_SECRETS = {"sasl.password": f"{SECRET}-sasl", "ssl.key.password": f"{SECRET}-key", "sasl.username": "outboxd"}
MYSQL = f"mysql://user:{SECRET}@127.0.0.1"


def secrets() -> set[str]:
    """Every form of the passwords of a daemon of these tests."""
    whole = {Account.password, Account.quoted, quote(Account.password, safe=""), SECRET}
    return whole | {json.dumps(one)[1:-1] for one in whole}


def shown(text: str) -> list[str]:
    """The secrets that a text holds."""
    return [one for one in secrets() if one in text]


def as_toml(settings: dict[str, Setting]) -> str:
    """The settings as a configuration file; JSON's texts and numbers are TOML's, too."""
    options = {name: value for name, value in settings.items() if isinstance(value, dict)}
    plain = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items() if name not in options
    ]
    tables = [
        f"{name}.{json.dumps(key)} = {json.dumps(value)}" for name in options for key, value in options[name].items()
    ]
    return "\n".join([*plain, *tables])


def statements(db: Session) -> str:
    """What MySQL shows of the statements of all sessions, and of their clients."""
    query = (
        "SELECT info FROM performance_schema.processlist WHERE info IS NOT NULL"
        " UNION ALL SELECT sql_text FROM performance_schema.events_statements_history WHERE sql_text IS NOT NULL"
        " UNION ALL SELECT attr_value FROM performance_schema.session_connect_attrs WHERE attr_value IS NOT NULL"
    )
    return " ".join(map(str, db.column(query)))


@pytest.mark.parametrize("source", ["environment", "file"])
def test_passwords_of_a_daemon_are_seen_nowhere(
    account: Account, cluster: MockCluster, db: Session, tmp_path: Path, source: str
) -> None:
    cluster.create_topic("chat")
    settings: dict[str, Setting] = {
        "mysql_url": account.url,
        "kafka_bootstrap": cluster.bootstrap,
        "kafka_options": QUICK_GROUP | KAFKA_SECRETS,
        "topics": "chat",
        **QUICK,
        **OBSERVED,
    }
    if source == "file":
        (tmp_path / "outboxd.toml").write_text(as_toml(settings), encoding="utf-8")
    given = settings if source == "environment" else {}
    with daemons(tmp_path, given) as start:
        daemon = start("--verbose")
        message = db.enqueue()
        daemon.eventually(lambda: db.statuses()[message] == "consumed", "consumed")
        address = address_of(daemon)
        daemon.eventually(lambda: get(address, "/readyz").status == 200, "ready")
        assert shown(" ".join(psutil.Process(daemon.pid).cmdline())) == []
        for page in ("/metrics", "/healthz", "/readyz"):
            assert shown(get(address, page).text) == []
        daemon.eventually(lambda: "outbox_claim_v1" in statements(db), "a statement is seen")
        seen = statements(db)
        assert not {SECRET, Account.quoted} & set(shown(seen))
        if source == "file":
            found = run(tmp_path, given, ["doctor", "--verbose"])
            assert "Kafka" in found.stdout
            assert shown(found.stdout + found.stderr) == []
        assert daemon.stop() == 0
        assert shown(daemon.log) == []
    account.settle(db)


Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Fails]:
    """Call `outboxd` inside this process, which is to fail; returns all that it prints."""

    def call(*arguments: str, toml: str = "", **settings: Setting) -> str:
        for name, value in environment(settings).items():
            if name.startswith("OUTBOXD_"):
                monkeypatch.setenv(name, value)
        if toml:
            Path("outboxd.toml").write_text(toml, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["outboxd", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (1, 2)
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return output.out + output.err

    yield call
    structlog.reset_defaults()


@pytest.mark.parametrize("command", ["status", "doctor", "run"])
def test_wrong_password_is_not_in_the_refusal(fails: Fails, account: Account, command: str) -> None:
    url = f"mysql://{account.name}:{SECRET}@{account.server.host}:{account.server.port}/{account.database}"
    said = fails(
        command, "--verbose", mysql_url=url, topics="chat", kafka_bootstrap="127.0.0.1:1", kafka_options=KAFKA_SECRETS
    )
    assert "Access denied" in said
    assert shown(said) == []


def test_password_is_not_in_what_is_said_about_a_server_that_is_away(fails: Fails) -> None:
    said = fails("status", "--verbose", mysql_url=f"{MYSQL}:1/db")
    assert "127.0.0.1" in said
    assert shown(said) == []
    assert shown(fails("status", "--mysql-url", f"{MYSQL}:1/db", "--mysql-options", f"password={SECRET}")) == []


def use_everything() -> None:
    """Read the settings, and connect with them."""
    settings = load()
    connect(AdminClient, settings, {})
    with Driver(settings) as driver:
        driver.installed()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mysql_url", f"mysql//user:{SECRET}@h/db"),
        ("mysql_url", f"mysql://user:{SECRET}@h"),
        ("mysql_url", f"mysql://user:a@{SECRET}@h:no/db"),
        ("mysql_options", f'{{"password": "{SECRET}"'),
        ("mysql_options", f'"{SECRET}"'),
        ("mysql_options", f'["{SECRET}"]'),
        ("mysql_options", {"password": [SECRET]}),
        ("mysql_options", {"password": {"is": SECRET}}),
        ("mysql_options", {"pasword": SECRET}),
        ("mysql_options", {"ssl_key": SECRET}),
        ("kafka_options", f'{{"sasl.password": "{SECRET}"'),
        ("kafka_options", f'"{SECRET}"'),
        ("kafka_options", {"sasl.pasword": SECRET}),
        ("kafka_options", {"sasl.password": {"is": SECRET}}),
        ("kafka_options", {"sasl.jaas.config": f"PlainLoginModule required password={SECRET}"}),
        ("kafka_options", {"security.protocol": "SSL", "ssl.key.pem": SECRET}),
    ],
    ids=str,
)
def test_password_is_in_no_error_about_a_wrong_setting(
    account: Account, monkeypatch: pytest.MonkeyPatch, name: str, value: Setting
) -> None:
    for variable, text in environment({"mysql_url": account.url, name: value}).items():
        monkeypatch.setenv(variable, text)
    with pytest.raises((SettingsError, Error, Unavailable)) as caught:
        use_everything()
    assert str(caught.value)
    assert shown(str(caught.value)) == []


@pytest.mark.parametrize(
    "toml",
    [
        f'mysql_url = "{MYSQL}/db',
        f"mysql_url = {MYSQL}/db",
        f'mysql_url = ["{MYSQL}/db"]',
        f'mysql_uri = "{MYSQL}/db"',
        f'kafka_options = "sasl.password={SECRET}"',
        f'[kafka_options]\nsasl.password = "{SECRET}"\nsasl = "{SECRET}"',
        f'[mysql_options]\npassword = "{SECRET}"\npassword = "{SECRET}"',
    ],
)
def test_password_is_in_no_error_about_a_wrong_file(fails: Fails, toml: str) -> None:
    said = fails("status", toml=toml)
    assert said
    assert shown(said) == []


@pytest.mark.parametrize("option", ["--mysql-options", "--kafka-options"])
def test_password_in_an_option_without_an_equals_sign_is_not_repeated(fails: Fails, option: str) -> None:
    said = fails("run", option, f"password:{SECRET}", mysql_url="mysql://user@127.0.0.1:1/db")
    assert "NAME=VALUE" in said
    assert shown(said) == []
