"""What the READMEs say by hand is still so, as far as it can be told without running it."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from outboxd.commands.main import cli
from outboxd.settings import Settings
from tests import reference_tables
from tests.servers.paths import CHECKOUT

READMES = ("README.md", "sql/README.md", "driver/README.md", "tests/README.md")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAME = re.compile(r"\b(?:outbox|idx_outbox)_[a-z0-9_]+\b")
_COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\S*/)?outboxd ([\w-].*)")


def read(readme: str) -> str:
    """One of the READMEs."""
    return (CHECKOUT / readme).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    for link in _LINK.findall(read(readme)):
        if link.startswith(("https:", "http:")):
            continue
        path, _, anchor = link.partition("#")
        target = (CHECKOUT / readme).parent / path if path else CHECKOUT / readme
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("readme", READMES)
def test_tables_routines_and_indexes_that_are_named_are_there(readme: str) -> None:
    known = {name for path in (CHECKOUT / "sql").glob("*/V*.sql") for name in _NAME.findall(path.read_text("utf-8"))}
    known |= set(_NAME.findall((CHECKOUT / "sql" / "grants.sql").read_text("utf-8")))
    assert set(_NAME.findall(read(readme))) <= known


def commands(readme: str) -> Iterator[list[str]]:
    """The words after `outboxd` of every command that is shown, in a block or between backticks."""
    text = re.sub(r"^```.*?^```", "", read(readme), flags=re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^ {4}(?:\$ )?(.+)$", text, re.MULTILINE)
    for paragraph in text.split("\n\n"):
        shown += re.findall(r"`([^`]+)`", paragraph.replace("\n", " "))
    for line in shown:
        command = _COMMAND.match(line)
        if command:
            yield shlex.split(command[1], comments=True)


@pytest.mark.parametrize("readme", READMES)
def test_commands_that_are_shown_exist_with_their_options(readme: str) -> None:
    for words in commands(readme):
        command: click.Command = cli
        for word in words:
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif word.startswith("--") and word != "--help":
                options = {name for option in command.params for name in option.opts}
                assert word.partition("=")[0] in options, words
        assert command is not cli or words[0] in {"COMMAND", "--help"}, words


def test_settings_that_are_named_in_capitals_exist() -> None:
    known = {f"OUTBOXD_{name.upper()}" for name in Settings.model_fields} | {"OUTBOXD_CONFIG", "OUTBOXD_MYSQLD"}
    assert {name for readme in READMES for name in re.findall(r"\bOUTBOXD_[A-Z_]+\b", read(readme))} <= known


def test_alert_that_the_runbook_does_not_answer_is_refused() -> None:
    readme = read("driver/README.md")
    with pytest.raises(ValueError, match=r"OutboxdFenced"):
        reference_tables.alerts(readme.replace("Alerts: OutboxdFenced", ""))
    with pytest.raises(ValueError, match=r"not in alerts\.yaml: OutboxdGone"):
        reference_tables.alerts(readme.replace("Alerts: OutboxdFenced", "Alerts: OutboxdFenced, OutboxdGone"))
