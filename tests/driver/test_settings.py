"""Where settings come from, which one wins, and what is said about a wrong one."""

from pathlib import Path

import pytest

from outboxd.settings import Settings, SettingsError, load

URL = "mysql://user:secret@db.example:3307/app"


def write_toml(text: str, name: str = "outboxd.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path.absolute()


def refusal(**flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**flags)
    return str(caught.value)


def test_flag_wins_over_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(mysql_url=URL).group == ""
    write_toml(f'mysql_url = "{URL}"\ngroup = "of the file"\n')
    assert load().group == "of the file"
    monkeypatch.setenv("OUTBOXD_GROUP", "of the environment")
    assert load().group == "of the environment"
    assert load(group="of the flag").group == "of the flag"


@pytest.mark.parametrize("absent", [None, (), {}])
def test_flag_that_is_not_given_overrides_nothing(monkeypatch: pytest.MonkeyPatch, absent: object) -> None:
    monkeypatch.setenv("OUTBOXD_KAFKA_OPTIONS", '{"client.id": "me"}')
    assert load(mysql_url=URL, kafka_options=absent).kafka_options == {"client.id": "me"}


def test_options_of_all_sources_are_merged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml('[kafka_options]\n"client.id" = "file"\n"security.protocol" = "SSL"\n"ssl.ca.location" = "/ca"\n')
    monkeypatch.setenv("OUTBOXD_KAFKA_OPTIONS", '{"client.id": "environment", "security.protocol": "PLAINTEXT"}')
    merged = load(mysql_url=URL, kafka_options={"client.id": "flag"}).kafka_options
    assert merged == {"client.id": "flag", "security.protocol": "PLAINTEXT", "ssl.ca.location": "/ca"}


def test_a_file_can_hold_every_setting() -> None:
    numbers = {name: field.default for name, field in Settings.model_fields.items() if field.annotation is int}
    write_toml(
        f"""
        mysql_url = "{URL}"
        operator_url = "{URL}"
        kafka_bootstrap = "one:9092,two:9092"
        topics = ["chat", "^orders-.*"]
        group = "g"
        source = "/shop"
        name = "relay-7"
        receives = false
        metrics_address = "127.0.0.1:0"
        mysql_options = {{ ssl_ca = "/ca.pem", connection_timeout = 3 }}
        kafka_options = {{ "security.protocol" = "SSL" }}
        """
        + "".join(f"{name} = {number}\n" for name, number in numbers.items())
    )
    settings = load()
    assert settings.model_fields_set == set(Settings.model_fields) - {"databases"}
    assert settings.topics == ["chat", "^orders-.*"]
    assert settings.mysql_arguments()["connection_timeout"] == 3
    assert settings.source == "/shop"


def test_topics_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOXD_TOPICS", " chat , ^orders-.*,, ")
    assert load(mysql_url=URL).topics == ["chat", "^orders-.*"]


def test_named_file_is_read_instead_of_the_one_in_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml('group = "here"\n')
    named = write_toml('group = "named"\n', "other.toml")
    monkeypatch.setenv("OUTBOXD_CONFIG", str(named))
    assert load(mysql_url=URL).group == "named"


def test_named_file_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOXD_CONFIG", "/nowhere/outboxd.toml")
    assert refusal(mysql_url=URL) == "OUTBOXD_CONFIG: there is no file /nowhere/outboxd.toml"


def test_file_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOXD_CONFIG", "/proc/self/mem")  # root may read all others
    assert refusal(mysql_url=URL) == "/proc/self/mem: Input/output error"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("group = ", "outboxd.toml: Invalid value (at"),
        ("group = 'a'\ngroup = 'b'\n", "outboxd.toml: Cannot overwrite a value (at line 2"),
        ("kafka_options = 7\n", "setting kafka_options: Input should be a valid dictionary"),
        ("topics = 7\n", "setting topics: Input should be a valid list"),
        ("topics = ['^[']\n", "setting topics: '^[' is no pattern"),
        ("kafka_bootstrap = ''\n", "setting kafka_bootstrap: must not be empty"),
        ("groop = 'a'\n", "setting groop is not known"),
        ("[mysql]\nurl = 'a'\n", "setting mysql is not known"),
    ],
)
def test_malformed_file_is_one_line_that_says_what_is_wrong(content: str, said: str) -> None:
    write_toml(content)
    assert said in refusal(mysql_url=URL)


IDENTITY = ("6f1c2a3b-c0de-11f0-9d2c-0242ac120002", "/outboxd/app/6f1c2a3b", "outboxd-6f1c2a3b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (IDENTITY[1], IDENTITY[2])),
        ({"source": "/shop"}, ("/shop", IDENTITY[2])),
        ({"source": "/shop", "group": "workers"}, ("/shop", "workers")),
    ],
)
def test_source_and_group_follow_from_the_identity_where_they_are_not_set(
    given: dict[str, str], expected: tuple[str, str]
) -> None:
    settings = load(mysql_url=URL, name="here", **given).identified(*IDENTITY)
    assert (settings.source, settings.group) == expected
    assert settings.client_id == "outboxd-here-6f1c2a3b"


def test_without_a_file_the_defaults_hold() -> None:
    settings = load(mysql_url=URL)
    assert settings.model_fields_set == {"mysql_url"}
    assert (settings.source, settings.group) == ("", "")
    assert settings.name


def test_missing_setting_is_named_with_both_ways_to_give_it() -> None:
    message = refusal()
    assert "mysql_url" in message
    assert "--mysql-url" in message
    assert "OUTBOXD_MYSQL_URL" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relay_workers", "0"),
        ("relay_workers", "65"),
        ("consumer_workers", "many"),
        ("batch_size", "10001"),
        ("lease_seconds", "1"),
        ("lease_seconds", "2.5"),
        ("wait_ms", "60001"),
        ("linger_ms", "1001"),
        ("stop_seconds", ""),
        ("name", ""),
        ("topics", "good,orders/eu"),
        ("topics", "^["),
        ("topics", "__consumer_offsets"),
        ("topics", "t" * 250),
        ("kafka_bootstrap", " ,"),
        ("name", "n" * 65),
        ("mysql_options", "{"),
        ("kafka_options", "[]"),
    ],
)
def test_wrong_value_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"OUTBOXD_{name.upper()}", value)
    assert name in refusal(mysql_url=URL)


def test_all_wrong_settings_are_named_at_once() -> None:
    message = refusal(batch_size="none", name="")
    assert [name for name in ("mysql_url", "batch_size", "name") if name not in message] == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "db.example",
        "postgres://user:secret@db.example/app",
        "mysql://user:secret@db.example",
        "mysql://user:secret@db.example/",
        "mysql://user:secret@/app",
        "mysql://user:secret@db.example:port/app",
        "mysql://user:secret@db.example:65536/app",
        "mysql://user:secret@[::1/app",
        "mysql://user:12/secret@db.example/app",
        "mysql://user:secret/1@db.example/app",
        "mysql://user:secret#1@db.example/app",
        "mysql://user:secret\u2100@db.example/app",
        "mysql://user:secret@db.example/app?ssl_ca=/ca.pem",
    ],
)
def test_wrong_mysql_url_is_refused_at_start_and_its_password_not_shown(url: str) -> None:
    message = refusal(mysql_url=url)
    assert "mysql_url" in message
    assert "secret" not in message


def test_unknown_name_in_the_file_is_an_error_that_names_it() -> None:
    write_toml(f'mysql_url = "{URL}"\nbatchsize = 5\n')
    assert "batchsize" in refusal()


@pytest.mark.parametrize("text", ["group = \n", "group = 'a\n", "[[", "a = 1\na = 2\n"])
def test_broken_file_is_an_error_that_names_the_file(text: str) -> None:
    write_toml(text)
    assert "outboxd.toml" in refusal(mysql_url=URL)


def test_file_that_is_not_utf8_is_an_error_that_names_the_file() -> None:
    Path("outboxd.toml").write_bytes(b'group = "caf\xe9"\n')
    assert "outboxd.toml" in refusal(mysql_url=URL)


def test_dotted_names_in_the_file_are_the_properties_they_look_like() -> None:
    write_toml('[kafka_options]\nsecurity.protocol = "SSL"\nssl.ca.location = "/ca.pem"\n')
    assert load(mysql_url=URL).kafka_options == {"security.protocol": "SSL", "ssl.ca.location": "/ca.pem"}


def test_url_gives_the_arguments_of_the_connector() -> None:
    assert load(mysql_url=URL).mysql_arguments() == {
        "host": "db.example",
        "port": 3307,
        "user": "user",
        "password": "secret",
        "database": "app",
    }
    assert load(mysql_url="mysql://user@db.example/app").mysql_arguments()["port"] == 3306


def test_names_and_password_in_the_url_are_unquoted() -> None:
    url = "mysql://us%40er:p%40ss%2Fw%3Ard%23%25%20%C3%A9+@db.example/my%2Fapp"
    arguments = load(mysql_url=url).mysql_arguments()
    assert arguments["user"] == "us@er"
    assert arguments["password"] == "p@ss/w:rd#% é+"
    assert arguments["database"] == "my/app"


def test_mysql_options_pass_through_and_win_over_the_url() -> None:
    options = {"ssl_ca": "/ca.pem", "ssl_verify_cert": True, "password": "other"}
    arguments = load(mysql_url=URL, mysql_options=options).mysql_arguments()
    assert arguments["ssl_ca"] == "/ca.pem"
    assert arguments["ssl_verify_cert"] is True
    assert arguments["password"] == "other"
    assert arguments["host"] == "db.example"


def secret(text: str, name: str = "secret") -> str:
    """A file as Kubernetes mounts it."""
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_setting_may_be_in_a_file_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml(f'mysql_url = "{URL}"\ngroup = "toml"\n[mysql_options]\nconnection_timeout = 3\n')
    monkeypatch.setenv("OUTBOXD_MYSQL_OPTIONS_FILE", secret('{"password": "hush"}\n'))
    monkeypatch.setenv("OUTBOXD_GROUP_FILE", secret("file\n", "group"))
    settings = load()
    assert settings.mysql_options == {"password": "hush", "connection_timeout": 3}
    assert settings.group == "file"
    assert load(group="flag").group == "flag"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GROUP_FILE": "/nowhere"}, "OUTBOXD_GROUP_FILE: /nowhere: No such file or directory"),
        (
            {"GROUP_FILE": "secret", "GROUP": "x"},
            "OUTBOXD_GROUP and OUTBOXD_GROUP_FILE are both set: unset one",
        ),
        ({"MYSQL_OPTIONS_FILE": "secret"}, "OUTBOXD_MYSQL_OPTIONS_FILE: what is in the file is not JSON"),
        ({"BATCH_SIZE_FILE": "secret"}, "setting batch_size: Input should be a valid integer"),
    ],
)
def test_wrong_file_is_named_and_its_text_is_not(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    secret("hush")
    for name, value in variables.items():
        monkeypatch.setenv(f"OUTBOXD_{name}", value)
    refused = refusal(mysql_url=URL)
    assert said in refused
    assert "hush" not in refused
