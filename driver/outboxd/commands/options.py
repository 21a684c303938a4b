"""Options that commands share: those of settings, and those by which operators choose messages."""

import functools
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_origin

import click
import mysql.connector

from outboxd import fleet
from outboxd.commands.output import of_database
from outboxd.commands.refusals import in_the_words_of
from outboxd.fleet import Fleet
from outboxd.observe import logs
from outboxd.retry import Unavailable
from outboxd.schema.compatibility import SchemaError
from outboxd.schema.migrations import MigrationError
from outboxd.settings import Settings

MYSQL = ("mysql_url", "mysql_options")
"""The settings of a command that only talks to MySQL."""
OPERATOR = ("operator_url", *MYSQL)
"""The settings of an operator's command: where operator_url is set, it connects with that account."""
ALL = tuple(name for name in Settings.model_fields if name not in {"operator_url", "databases"})

_OF_ONE_DATABASE = (Unavailable, mysql.connector.Error, SchemaError, MigrationError)
_LONGEST = 24_855 * 86_400  # 68 years: the procedures take seconds as an INT
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def with_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for each of these settings, --database, --verbose, and Settings as its first argument.

    They are those of the database that --database names, where there are several. Environment and configuration file
    may have any setting. A command names those that it uses, so that an option without an effect is a usage error.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        @_database_option("the database of a fleet, by its name in the configuration")
        def run(databases: Fleet, _: Callable[[], Fleet], database: str | None, **arguments: Any) -> Any:
            return command(databases.one(database) if database else databases.only, **arguments)

        return with_fleet(*names)(run)

    return decorate


def with_databases(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As with_settings, but the first argument is the settings of all databases by name, or of that of --database."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        @_database_option("only this database of a fleet, by its name in the configuration")
        def run(databases: Fleet, _: Callable[[], Fleet], database: str | None, **arguments: Any) -> Any:
            return command({database: databases.one(database)} if database else databases.databases, **arguments)

        return with_fleet(*names)(run)

    return decorate


def with_each(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As with_settings, but without --database the command is called for each database of a fleet, one after the other.

    Its functions of `output` tell of which database they are. A database that fails keeps no other from its turn; the
    exit code is the highest of all.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        @_database_option("only this database of a fleet, by its name in the configuration")
        def run(databases: Fleet, _: Callable[[], Fleet], database: str | None, **arguments: Any) -> Any:
            if database or len(databases.databases) == 1:
                return command(databases.one(database) if database else databases.only, **arguments)
            return _each(command, databases, arguments)

        return with_fleet(*names)(run)

    return decorate


def _each(command: Callable[..., Any], databases: Fleet, arguments: dict[str, Any]) -> None:
    worst = 0
    for name, settings in databases.databases.items():
        with of_database(name, is_json=bool(arguments.get("as_json"))):
            try:
                with in_the_words_of(click.get_current_context().command):
                    command(settings, **arguments)
            except click.exceptions.Exit as ended:
                worst = max(worst, ended.exit_code)
            except click.UsageError:
                raise
            except click.ClickException as error:
                worst = max(worst, error.exit_code)
                click.echo(f"outboxd: {name}: {error.format_message()}", err=True)
            except _OF_ONE_DATABASE as error:
                worst = max(worst, 1)
                click.echo(f"outboxd: {name}: {error}", err=True)
    raise click.exceptions.Exit(worst)


def with_fleet(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options, and a Fleet and a function that reads it once more as its first arguments."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**arguments: Any) -> Any:
            flags = {name: _value(name, arguments.pop(name)) for name in names}
            logs.configure(verbose=arguments.pop("verbose"))
            load = functools.partial(fleet.load, as_operator="operator_url" in flags, **flags)
            with in_the_words_of(click.get_current_context().command):
                return command(load(), load, **arguments)

        with_options: Callable[..., Any] = run
        for name in reversed(names):
            with_options = _option(name)(with_options)
        return click.option("--verbose", is_flag=True, help="log debug lines too")(with_options)

    return decorate


def _database_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--database", metavar="NAME", help=what)


def _option(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    setting = Settings.model_fields[name]
    is_mapping = get_origin(setting.annotation) is dict
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        multiple=is_mapping,
        metavar="NAME=VALUE" if is_mapping else None,
        help=f"{setting.description}  [env: OUTBOXD_{name.upper()}]",
    )


def _value(name: str, given: Any) -> Any:
    is_mapping = isinstance(given, tuple)
    return dict(_pair(item, typed=name == "mysql_options") for item in given) if is_mapping else given


def _pair(item: str, *, typed: bool) -> tuple[str, Any]:
    """Name and value; typed: numbers and booleans are no texts, as mysql-connector-python wants them."""
    name, equals, text = item.partition("=")
    if not equals:
        raise click.BadParameter("what was given is not NAME=VALUE")  # and is not repeated: it may be a password
    with suppress(ValueError):
        return name, json.loads(text) if typed else text
    return name, text


def age(text: str) -> int:
    """The seconds of a span of time such as 90s, 15m, 12h, 7d, 2w or 1d12h; the type of an option."""
    if not re.fullmatch(r"(\d+[smhdw])+", text):
        raise click.BadParameter(f"{text!r} is no age: write 90s, 15m, 12h, 7d, 2w or 1d12h")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))
    if seconds > _LONGEST:
        raise click.BadParameter(f"{text!r} is longer than {_LONGEST // 86_400}d")
    return seconds


topic_option = click.option("--topic", help="only this topic")
biz_type_option = click.option("--biz-type", help="only this business type")
older_than_option = click.option("--older-than", type=age, required=True, help="such as 90s, 15m, 12h, 7d or 1d12h")
all_option = click.option("--all", "everything", is_flag=True, help="all of them, without a filter")
json_option = click.option("--json", "as_json", is_flag=True, help="print JSON, one object a line")
yes_option = click.option("--yes", is_flag=True, help="do not ask")


def topic_or_biz_type(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what is paused and resumed: a topic or a business type."""
    return click.option("--topic", help="this topic")(click.option("--biz-type", help="this business type")(command))


def check_one(topic: str | None, biz_type: str | None) -> None:
    """Raise UsageError unless exactly one of the two is given."""
    if (topic is None) == (biz_type is None):
        raise click.UsageError("give --topic or --biz-type")
