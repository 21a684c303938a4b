"""A fleet's tables in the configuration: what they may have, and how commands choose among their databases."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from outboxd import fleet
from outboxd.settings import SettingsError
from tests.kit.account import Account
from tests.kit.command import run
from tests.kit.server import Server
from tests.kit.session import Session

ONE, TWO = "mysql://user:secret@one.example/app", "mysql://user:secret@two.example/app"
TABLES = f'[databases.one]\nmysql_url = "{ONE}"\n[databases.two]\nmysql_url = "{TWO}"\n'


def write(text: str, name: str = "outboxd.toml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def refusal(text: str) -> str:
    write(text)
    with pytest.raises(SettingsError) as caught:
        fleet.load()
    return str(caught.value)


def test_a_table_has_what_it_says_and_else_what_holds_for_all() -> None:
    Path("url").write_text(TWO + "\n", encoding="utf-8")
    write(
        f"""
        topics = ["chat"]
        group = "g"
        batch_size = 10
        mysql_options = {{ ssl_ca = "/ca.pem", connection_timeout = 3 }}
        [databases.one]
        mysql_url = "{ONE}"
        [databases.two]
        mysql_url_file = "url"
        topics = ["orders"]
        batch_size = 20
        mysql_options = {{ connection_timeout = 5 }}
        """
    )
    loaded = fleet.load()
    one, two = loaded.databases["one"], loaded.databases["two"]
    assert (one.mysql_url, one.topics, one.batch_size, one.group) == (ONE, ["chat"], 10, "g")
    assert (two.mysql_url, two.topics, two.batch_size, two.group) == (TWO, ["orders"], 20, "g")
    assert one.mysql_options == {"ssl_ca": "/ca.pem", "connection_timeout": 3}
    assert two.mysql_options == {"ssl_ca": "/ca.pem", "connection_timeout": 5}
    assert (one.label, two.label, loaded.has_names) == ("one", "two", True)


def test_without_tables_the_only_database_is_called_as_in_mysql() -> None:
    write(f'mysql_url = "{ONE}"\n')
    loaded = fleet.load()
    assert (list(loaded.databases), loaded.has_names) == (["app"], False)
    assert loaded.only.mysql_url == ONE


def test_tables_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOXD_DATABASES", json.dumps({"one": {"mysql_url": ONE}}))
    assert fleet.load().databases["one"].mysql_url == ONE


def test_flag_for_mysql_url_means_that_database_alone() -> None:
    write(TABLES)
    loaded = fleet.load(mysql_url="mysql://user@three.example/other")
    assert (list(loaded.databases), loaded.has_names) == (["other"], False)


def test_operators_account_of_a_table_takes_the_place_of_the_daemons() -> None:
    write(TABLES + f'operator_url = "{ONE}"\n')
    assert fleet.load(as_operator=True).databases["two"].mysql_url == ONE
    assert fleet.load().databases["two"].mysql_url == TWO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[databases.one]\n", "setting databases.one.mysql_url is missing: give it, or mysql_url_file"),
        ("[databases.one]\nmysql_url = 'one'\n", "setting databases.one.mysql_url: must look like mysql://"),
        ("[databases.one]\nmysql_url_file = '/nowhere'\n", "databases.one.mysql_url_file: /nowhere: No such file"),
        ("[databases.one]\nmysql_url_file = 7\n", "databases.one.mysql_url_file: Input should be a valid string"),
        (
            "[databases.one]\nmysql_url = 'a'\nmysql_url_file = 'b'\n",
            "settings databases.one.mysql_url and databases.one.mysql_url_file are both set",
        ),
        (TABLES + "batch_size = 'x'\n", "setting databases.two.batch_size: Input should be a valid integer"),
        (TABLES + "topics = ['^[']\n", "setting databases.two.topics: '^[' is no pattern"),
        (TABLES + "group = 'g'\n", "setting databases.two.group holds for all databases: set it outside of the tables"),
        (TABLES + "groop = 'g'\n", "setting databases.two.groop is not known"),
        ("[databases.'a b']\nmysql_url = 'x'\n", "databases.'a b' is no name: 1 to 64 of"),
        (f'mysql_url = "{ONE}"\n' + TABLES, "settings mysql_url and databases exclude each other"),
        ('source = "/x"\n' + TABLES, "settings source and databases exclude each other"),
        (
            TABLES + f'[databases.three]\nmysql_url = "{ONE}"\n',
            "databases.one and databases.three are the same database",
        ),
        ("[databases]\none = 7\n", "setting databases.one: Input should be a valid dictionary"),
    ],
)
def test_wrong_table_is_named_with_its_setting_and_no_password_is_shown(text: str, said: str) -> None:
    refused = refusal(text)
    assert said in refused
    assert "secret" not in refused


def test_consumers_of_several_databases_need_a_group(account: Account) -> None:
    write(f'[databases.one]\nmysql_url = "{account.url}"\n[databases.two]\nmysql_url = "{TWO}"\n')
    done = outboxd("run", "--topics", "chat")
    assert done[0] == 1
    assert "outboxd: setting group is missing: the daemons that serve these databases share one" in done[1]


def test_tokens_tell_fleets_apart() -> None:
    assert fleet.serve_the_same("aa.bb", "aa.bb")
    assert fleet.serve_the_same("aa", "aa.bb")  # not all of it are known yet
    assert not fleet.serve_the_same("aa.bb", "aa.cc")
    assert not fleet.serve_the_same("aa.bb", "cc.bb")


# Commands


@pytest.fixture
def two(account: Account, db: Session, fresh_database: str, mysql_server: Server) -> Iterator[Session]:
    """A configuration with `one`, the tests' database, and `two`; gives a session on the second."""
    mysql_server.migrate(fresh_database)
    db.execute(f"GRANT EXECUTE, SELECT ON {fresh_database}.* TO {account.name}")
    db.execute(f"GRANT SELECT ON {account.database}.* TO {account.name}")
    other = account.url.rpartition("/")[0] + f"/{fresh_database}"
    write(f'[databases.one]\nmysql_url = "{account.url}"\n[databases.two]\nmysql_url = "{other}"\n')
    with mysql_server.connect(fresh_database) as session:
        yield session
    db.execute(f"REVOKE ALL ON {fresh_database}.* FROM {account.name}")
    db.execute(f"REVOKE SELECT ON {account.database}.* FROM {account.name}")


def outboxd(*arguments: str) -> tuple[int, str]:
    """Run a command that finds its databases in the file; returns exit code and all that it has said."""
    done = run(Path.cwd(), {}, arguments)
    return done.returncode, done.stdout + done.stderr


def test_commands_that_show_something_show_it_of_all_or_of_one(db: Session, two: Session) -> None:
    db.enqueue()
    two.enqueue()
    two.enqueue()
    code, said = outboxd("status", "--json")
    told = [json.loads(line) for line in said.splitlines()]
    assert code == 0
    assert {one["database"]: one["messages"] for one in told} == {"one": {"pending": 1}, "two": {"pending": 2}}
    code, said = outboxd("status", "--database", "two", "--json")
    assert (code, json.loads(said)["messages"]) == (0, {"pending": 2})
    assert "database" not in json.loads(said)
    code, said = outboxd("dead", "list")
    assert (code, said) == (0, "one:\n0 of 0 dead letters\ntwo:\n0 of 0 dead letters\n")
    code, said = outboxd("top", "--once")
    assert (code, [line.split()[:2] for line in said.splitlines()[2:4]]) == (0, [["one", "1"], ["two", "2"]])
    code, said = outboxd("top", "--json")
    told = [json.loads(line) for line in said.splitlines()]
    assert [(one["database"], one["streams"][0]["pending"]) for one in told] == [("one", 1), ("two", 2)]
    code, said = outboxd("top", "--json", "--database", "two")
    assert (code, json.loads(said)["database"]) == (0, "two")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "1"],
        ["dead", "requeue", "1"],
        ["pause", "--topic", "chat"],
        ["resume", "--topic", "chat"],
        ["purge", "--older-than", "1d", "--yes"],
    ],
    ids=" ".join,
)
def test_command_that_is_about_one_database_wants_its_name(db: Session, two: Session, arguments: list[str]) -> None:
    assert (db.messages(), two.messages()) == ([], [])
    code, said = outboxd(*arguments)
    assert code in {1, 2}
    assert "give --database NAME" in said
    code, said = outboxd(*arguments, "--database", "three")
    assert (code, "there is no database three: the configuration has one, two" in said) == (1, True)


def test_database_that_fails_keeps_no_other_from_being_shown(db: Session, two: Session) -> None:
    assert db.messages() == []
    two.execute("DROP PROCEDURE outbox_status_v1; DROP PROCEDURE outbox_lag_v1")
    code, said = outboxd("status", "--json")
    assert code == 1
    assert '"database": "one"' in said
    assert "outboxd: two: " in said
    code, said = outboxd("top", "--json")
    assert code == 1
    assert '{"database": "one", "streams": [' in said
    assert "outboxd: two: not readable since " in said
