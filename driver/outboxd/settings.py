"""Settings: flags before environment (OUTBOXD_..., or the file in OUTBOXD_..._FILE) before TOML before defaults.

They are of one database, or of a fleet: then each database has a table [databases.NAME], see `fleet.py`.
"""

import json
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_origin
from urllib.parse import unquote, urlsplit

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it and says what it takes."""


class Settings(BaseSettings):
    """Every setting of the daemon and its commands; the field's description is its documentation."""

    model_config = SettingsConfigDict(env_prefix="OUTBOXD_", extra="forbid", frozen=True)

    databases: dict[str, dict[str, Any]] = Field(
        default={}, description="instead of mysql_url: a table of settings for each database of a fleet, by its name"
    )
    mysql_url: str = Field(
        default="", validate_default=True, description="mysql://user:password@host:port/database; must be set"
    )
    mysql_options: dict[str, Any] = Field(
        default={},
        description="further options of mysql-connector-python, such as ssl_ca",
    )
    operator_url: str = Field(
        default="",
        description="mysql_url of the account that the operators' commands use; empty: mysql_url",
    )
    kafka_bootstrap: str = Field(default="localhost:9092", description="host:port of Kafka brokers")
    kafka_options: dict[str, Any] = Field(
        default={}, description="further librdkafka properties, such as security.protocol"
    )
    topics: Annotated[list[str], NoDecode] = Field(
        default=[], description="topics to consume, comma separated; a name that begins with ^ is a pattern"
    )
    group: str = Field(default="", description="Kafka consumer group; empty: outboxd-<installation>")
    source: str = Field(
        default="",
        description="CloudEvents source of this outbox; empty: /outboxd/<database>/<installation>",
    )
    name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=64,
        description="this daemon's name, as in outbox_relays",
    )
    relay_workers: int = Field(default=1, ge=1, le=64, description="relay threads, each with slots of its own")
    consumer_workers: int = Field(default=1, ge=1, le=64, description="consumer threads, members of the group")
    batch_size: int = Field(
        default=2000, ge=1, le=10_000, description="the most messages in a claim and in a consume call"
    )
    lease_seconds: int = Field(
        default=10, ge=2, le=3600, description="how long a relay that does not call keeps its slots"
    )
    stale_seconds: int = Field(
        default=900, ge=10, description="a message that was published this long ago and is not consumed is sent again"
    )
    wait_ms: int = Field(default=2000, ge=0, le=60_000, description="how long a claim waits in the server for work")
    linger_ms: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="how long a relay waits for more after each batch: less CPU, and that much more latency",
    )
    metrics_address: str = Field(
        default="127.0.0.1:9464", description="host:port of /metrics, /healthz and /readyz, port 0 for any; empty: none"
    )
    sample_seconds: int = Field(
        default=5,
        ge=1,
        le=300,
        description="how often lag and slots are looked up; where much waits lag is every half minute",
    )
    stall_seconds: int = Field(
        default=120, ge=1, le=3600, description="a worker without progress for this long makes /healthz fail"
    )
    stop_seconds: int = Field(default=15, ge=1, le=600, description="how long a stop may wait for acknowledgements")
    receives: bool = Field(
        default=True, description="whether records of others can take effect; false: subscriptions are not looked up"
    )
    rest_seconds: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="a database without messages for this long is asked every 4 s instead of waited for; 0: never",
    )

    _installation: str = PrivateAttr(default="")
    _label: str = PrivateAttr(default="")
    _token: str = PrivateAttr(default="")

    @field_validator("topics", mode="before")
    @classmethod
    def _split_topics(cls, value: object) -> object:
        return [topic.strip() for topic in value.split(",") if topic.strip()] if isinstance(value, str) else value

    @field_validator("topics")
    @classmethod
    def _check_topics(cls, value: list[str]) -> list[str]:
        for topic in value:
            if topic.startswith("^"):
                try:
                    re.compile(topic)
                except re.error as error:
                    raise ValueError(f"{topic!r} is no pattern: {error}") from None
            elif topic in (".", "..") or topic.startswith("__") or not _TOPIC.fullmatch(topic):
                raise ValueError(f"{topic!r} is no topic's name: 1 to 249 of a-z, A-Z, 0-9, . _ -, and no __ in front")
        return value

    @field_validator("kafka_bootstrap")
    @classmethod
    def _check_kafka_bootstrap(cls, value: str) -> str:
        if not value.strip(" ,"):
            raise ValueError("must not be empty: host:port of Kafka brokers")
        return value

    @field_validator("kafka_options")
    @classmethod
    def _flatten(cls, value: dict[str, Any]) -> dict[str, Any]:
        """TOML reads a.b = 1 as a table in a table; to librdkafka it is one name."""
        flat: dict[str, Any] = {}
        for name, option in value.items():
            if isinstance(option, dict):
                flat |= {f"{name}.{rest}": deep for rest, deep in cls._flatten(option).items()}
            else:
                flat[name] = option
        return flat

    @field_validator("mysql_url", "operator_url")
    @classmethod
    def _check_mysql_url(cls, value: str, info: ValidationInfo) -> str:
        if not value and (info.field_name == "operator_url" or info.data.get("databases", True)):
            return value
        if not value:
            raise PydanticCustomError("missing", "is missing")
        try:
            url = urlsplit(value)
            is_good = url.scheme == "mysql" and url.hostname and url.path.strip("/") and url.port != 0
            is_good = is_good and not (url.query or url.fragment or "@" in url.path)
        except ValueError:  # whose text may hold the password
            is_good = False
        if not is_good:
            raise ValueError("must look like mysql://user:password@host:port/database, the password quoted as in URLs")
        return value

    @field_validator("metrics_address")
    @classmethod
    def _check_metrics_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError("must look like 127.0.0.1:9464 or [::1]:9464")
        return value

    @property
    def metrics_host_and_port(self) -> tuple[str, int]:
        """The parts of metrics_address."""
        host, _, port = self.metrics_address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def database(self) -> str:
        """The database's name in mysql_url."""
        return unquote(urlsplit(self.mysql_url).path.strip("/"))

    @property
    def label(self) -> str:
        """The name by which logs, metrics and commands speak of the database: its table's, else its own."""
        return self._label or self.database

    @property
    def client_id(self) -> str:
        """The client.id by which brokers, and other installations, know this daemon."""
        return "-".join(part for part in ("outboxd", self.name, self._installation) if part)

    @property
    def installation(self) -> str:
        """The first digits of who the outbox is; empty where it is not known."""
        return self._installation

    @property
    def group_token(self) -> str:
        """The end of the client.ids of those who belong into the consumer group."""
        return self._token or self._installation

    def of_fleet(self, label: str, token: str) -> Self:
        """The same settings, of a database that is called so, in a fleet whose members know each other by the token."""
        copy = self.model_copy()
        copy._label, copy._token = label, token
        return copy

    def named_in_group(self, token: str) -> Self:
        """The same settings, of a member of a fleet's group."""
        copy = self.model_copy()
        copy._installation = token
        return copy

    def identified(self, installation_id: str, source: str, consumer_group: str) -> Self:
        """The settings of the outbox with this identity: source and group follow from it where they are not set."""
        update = {"source": self.source or source, "group": self.group or consumer_group}
        identified = self.model_copy(update=update)
        identified._installation = installation_id[:8]
        return identified

    def mysql_arguments(self) -> dict[str, Any]:
        """Arguments of mysql.connector.connect: mysql_url, then mysql_options on top."""
        url = urlsplit(self.mysql_url)
        return {
            "host": url.hostname,
            "port": url.port or 3306,
            "user": unquote(url.username or ""),
            "password": unquote(url.password or ""),
            "database": self.database,
            # The connector alone makes nothing of ssl_ca; who names an authority wants the certificate verified.
            **({"ssl_verify_cert": True, "ssl_verify_identity": True} if "ssl_ca" in self.mysql_options else {}),
            **self.mysql_options,
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, _Files(settings_cls), toml


class _Files(PydanticBaseSettingsSource):
    """OUTBOXD_<NAME>_FILE names a file with the value, as secrets are mounted: so a password is in no environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The text of the file; names and values are JSON there, as in the environment."""
        variable = f"OUTBOXD_{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if not path:
            return None, field_name, False
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are both set: unset one of them")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, get_origin(field.annotation) is dict
        except OSError as error:
            raise SettingsError(f"{variable}_FILE: {path}: {error.strerror}") from None

    def __call__(self) -> dict[str, Any]:
        """All settings that have a file."""
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            text, _, is_json = self.get_field_value(field, name)
            if text is None:
                continue
            try:
                values[name] = json.loads(text) if is_json else text
            except ValueError:  # whose text may hold the password
                raise SettingsError(f"OUTBOXD_{name.upper()}_FILE: what is in the file is not JSON") from None
        return values


def config_file() -> Path | None:
    """$OUTBOXD_CONFIG, else outboxd.toml in the working directory if there is one."""
    named = os.environ.get("OUTBOXD_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(f"OUTBOXD_CONFIG: there is no file {named}")
    return Path(named) if named else Path("outboxd.toml")


class _OperatorsSettings(Settings):
    @model_validator(mode="before")
    @classmethod
    def _prefer_the_operators_account(cls, values: dict[str, Any]) -> dict[str, Any]:
        return values | ({"mysql_url": values["operator_url"]} if values.get("operator_url") else {})


def load_for_operator(**flags: Any) -> Settings:
    """As load(), but operator_url, where it is set, takes the place of mysql_url; a flag for mysql_url wins over it."""
    return _load(Settings if flags.get("mysql_url") else _OperatorsSettings, flags)


def load(**flags: Any) -> Settings:
    """Read and check all settings; those in the tables of a fleet's databases are checked by `fleet.load`.

    Raises SettingsError naming each setting that is missing or wrong, never its value where that may be a secret.
    """
    return _load(Settings, flags)


def _load(kind: type[Settings], flags: Mapping[str, Any]) -> Settings:
    try:
        return kind(**{name: value for name, value in flags.items() if value not in (None, (), {})})
    except ValidationError as error:
        wrong = error.errors()
        if ("operator_url",) in [detail["loc"] for detail in wrong]:  # which stands for mysql_url, too
            wrong = [detail for detail in wrong if detail["loc"] != ("mysql_url",)]
        raise SettingsError(explained(wrong)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config_file()}: {error}") from error
    except OSError as error:
        raise SettingsError(f"{config_file()}: {error.strerror}") from error
    except ValueError as error:  # an environment variable that is not JSON
        raise SettingsError(str(error)) from error


def explained(wrong: Iterable[Any], place: str = "") -> str:
    """What is wrong with each setting, of pydantic's errors; `place` is what stands before their names."""
    return "; ".join(dict.fromkeys(_explain(detail, place) for detail in wrong))


def _explain(detail: Any, place: str) -> str:
    name = place + ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"setting {name} is missing: give --{name.replace('_', '-')} or OUTBOXD_{name.upper()}"
    if detail["type"] == "extra_forbidden":
        return f"setting {name} is not known"
    return f"setting {name}: {detail['msg'].removeprefix('Value error, ')}"
