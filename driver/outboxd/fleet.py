"""The databases that a daemon or a command works on: one, or a table [databases.NAME] for each of a fleet."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from outboxd.settings import Settings, SettingsError, explained, load_for_operator
from outboxd.settings import load as load_common

OF_A_DATABASE = (
    *("mysql_url", "mysql_options", "operator_url", "topics", "source", "relay_workers", "batch_size"),
    *("lease_seconds", "stale_seconds", "wait_ms", "linger_ms", "receives", "rest_seconds"),
)
"""The settings that a table may have. Those that it has not are the fleet's."""
_OWN = {"mysql_url", "operator_url", "source"}
"""What no two databases share, and what therefore stands in the tables alone."""
_IN_FILES = {f"{name}_file": name for name in ("mysql_url", "operator_url")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What holds for all databases, and the settings of each by its name; of one database, if there are no tables."""

    common: Settings
    databases: Mapping[str, Settings]

    @property
    def has_names(self) -> bool:
        """Whether there are tables."""
        return bool(self.common.databases)

    def one(self, name: str) -> Settings:
        """The settings of one database. Raises SettingsError where there is none of that name."""
        if name not in self.databases:
            raise SettingsError(f"there is no database {name}: {self._which}")
        return self.databases[name]

    @property
    def only(self) -> Settings:
        """The settings of the only database. Raises SettingsError where there are several."""
        if len(self.databases) > 1:
            raise SettingsError(f"give --database NAME: {self._which}")
        (settings,) = self.databases.values()
        return settings

    def group(self, known: Sequence[Settings]) -> Settings:
        """The settings of the consumer group; `known` are those of the databases that have said who they are."""
        if len(self.databases) == 1:
            return known[0]
        return self.common.named_in_group(_token(self.databases, known))

    @property
    def _which(self) -> str:
        return f"the configuration has {', '.join(self.databases)}"


def load(*, as_operator: bool = False, **flags: Any) -> Fleet:
    """Read and check all settings, and those of each database. With a flag for mysql_url, it is that database alone.

    as_operator: operator_url, where it is set, takes the place of mysql_url; a flag for mysql_url wins over it.
    Raises SettingsError naming the table and the setting, never a value that may be a secret.
    """
    common = load_for_operator(**flags) if as_operator else load_common(**flags)
    if not common.databases or flags.get("mysql_url"):
        return Fleet(common.model_copy(update={"databases": {}}), {common.label: common})
    for name in sorted(_OWN & common.model_fields_set):
        raise SettingsError(f"settings {name} and databases exclude each other: each table has its own {name}")
    token = _token(common.databases, [])
    databases = {name: _of_table(common, name, table).of_fleet(name, token) for name, table in common.databases.items()}
    _check_different(databases)
    if as_operator:
        databases = {
            name: one.model_copy(update={"mysql_url": one.operator_url}) if one.operator_url else one
            for name, one in databases.items()
        }
    return Fleet(common, databases)


def _token(names: Iterable[str], known: Sequence[Settings]) -> str:
    """By which the members of a group know who serves the same databases: their names and, if known, who they are.

    The second tells fleets apart that have the same names, such as staging and production.
    """
    names = sorted(names)
    identities = sorted(settings.installation for settings in known)
    return ".".join(_hash(texts) for texts in (names, identities) if len(texts) == len(names))


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]


def serve_the_same(one: str, other: str) -> bool:
    """Whether two tokens are of members that serve the same databases, as far as both know."""
    return all(first == second for first, second in zip(one.split("."), other.split("."), strict=False))


def _of_table(common: Settings, name: str, table: Mapping[str, Any]) -> Settings:
    place = f"databases.{name}."
    if not _NAME.fullmatch(name):
        raise SettingsError(f"databases.{name!r} is no name: 1 to 64 of a-z, A-Z, 0-9, . _ -, a letter or digit first")
    own = dict(table)
    for in_file, setting in _IN_FILES.items():
        if in_file in own:
            own[setting] = _text_of(own, in_file, setting, place)
    for setting in own:
        if setting not in OF_A_DATABASE:
            known = setting in Settings.model_fields
            why = "holds for all databases: set it outside of the tables" if known else "is not known"
            raise SettingsError(f"setting {place}{setting} {why}")
    if "mysql_url" not in own:
        raise SettingsError(f"setting {place}mysql_url is missing: give it, or mysql_url_file")
    shared = {setting: getattr(common, setting) for setting in common.model_fields_set - {"databases"}}
    merged = shared | own
    if isinstance(own.get("mysql_options"), dict):
        merged["mysql_options"] = common.mysql_options | own["mysql_options"]
    try:
        return _Checked(**merged)
    except ValidationError as error:
        raise SettingsError(explained(error.errors(), place)) from None


class _Checked(Settings):
    """Settings of nothing but what is given."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _text_of(table: dict[str, Any], in_file: str, setting: str, place: str) -> str:
    """The text of the file that a table names."""
    path = table.pop(in_file)
    if setting in table:
        raise SettingsError(f"settings {place}{setting} and {place}{in_file} are both set: take out one of them")
    if not isinstance(path, str):
        raise SettingsError(f"setting {place}{in_file}: Input should be a valid string")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"setting {place}{in_file}: {path}: {getattr(error, 'strerror', 'not UTF-8')}") from None


def _check_different(databases: Mapping[str, Settings]) -> None:
    """Two names of one database would relay and consume its messages twice as often, for nothing."""
    seen: dict[tuple[Any, ...], str] = {}
    for name, one in databases.items():
        where = one.mysql_arguments()
        place = (where.get("host"), where.get("port"), where.get("unix_socket"), where.get("database"))
        if place in seen:
            raise SettingsError(f"databases.{seen[place]} and databases.{name} are the same database")
        seen[place] = name
