"""What the pages say by hand is still so, as far as it can be told without running it."""

import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest

from tests.docs import tables
from tests.docs.driver import Settings, cli
from tests.docs.markdown import anchor
from tests.kit.command import subcommands
from tests.servers.paths import CHECKOUT

_FOLDERS = ("sql", "driver", "tests")
PAGES = sorted(
    str(path.relative_to(CHECKOUT))
    for path in [*CHECKOUT.glob("*.md"), *(page for folder in _FOLDERS for page in (CHECKOUT / folder).rglob("*.md"))]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAME = re.compile(r"\b(?:outbox|idx_outbox)_[a-z0-9_]+\b")
_COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\S*/)?outboxd ([\w-].*)")
# Words that were given up, each with the one that stands for it now.
_GIVEN_UP = {
    r"\blineage\b": "the legacy Go service",
    r"\btak(?:e|es|en|ing)[ _]back\b": "requeue the followers",
    r"\bwho applies them is it\b": "the account that applies the files becomes the definer",
    r"\bdear\b": "cost more",
    r"\bsisters?\b": "name them",
    r"\btold of\b": "described",
    r"\bstrangers?\b": "foreign records",
}


def read(page: str) -> str:
    """One of the pages."""
    return (CHECKOUT / page).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    return {anchor(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(read(page)):
        if link.startswith(("https:", "http:")):
            continue
        path, _, title = link.partition("#")
        target = (CHECKOUT / page).parent / path if path else CHECKOUT / page
        assert target.exists(), link
        assert not title or title in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_tables_routines_and_indexes_that_are_named_are_there(page: str) -> None:
    known = {name for path in (CHECKOUT / "sql").glob("*/V*.sql") for name in _NAME.findall(path.read_text("utf-8"))}
    known |= set(_NAME.findall((CHECKOUT / "sql" / "grants.sql").read_text("utf-8")))
    assert set(_NAME.findall(read(page))) <= known


def test_migrations_that_are_named_exist() -> None:
    next_release = CHECKOUT / "tests" / "deploy" / "next_release"
    known = {path.name for folder in (CHECKOUT / "sql", next_release) for path in folder.glob("*/V*.sql")}
    assert {name for page in PAGES for name in re.findall(r"\bV\d+__\w+\.sql\b", read(page))} <= known


def test_make_targets_that_are_named_exist() -> None:
    known = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?:`|^ {4})make ([a-z]+)", read(page), re.MULTILINE)}
    assert named <= known


@pytest.mark.parametrize("page", PAGES)
def test_words_that_were_given_up_stay_away(page: str) -> None:
    for word, instead in _GIVEN_UP.items():
        assert not re.search(word, read(page)), f"{word}: {instead}"


def test_command_that_installs_takes_the_files_in_the_order_of_their_versions() -> None:
    listing = "ls sql/*/V*.sql | sort -t/ -k3"
    assert listing.replace("|", r"\|") in read("sql/README.md")
    assert listing in read("sql/README.md")
    listed = subprocess.run(
        listing, shell=True, cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    versions = [int(re.findall(r"V(\d+)__", path)[0]) for path in listed]
    assert versions == sorted(versions) != []


def test_readme_of_sql_has_every_section_in_its_contents() -> None:
    text = read("sql/README.md")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    contents = re.findall(r"^- \[(.+?)\]\(#", text, re.MULTILINE)
    assert contents == sections
    assert len(text.splitlines()) < 400


def commands(page: str) -> Iterator[list[str]]:
    """The words after `outboxd` of every command that is shown, in a block or between backticks."""
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^ {4}(?:\$ )?(.+)$", text, re.MULTILINE)
    for paragraph in text.split("\n\n"):
        shown += re.findall(r"`([^`]+)`", paragraph.replace("\n", " "))
    for line in shown:
        command = _COMMAND.match(line)
        if command:
            yield shlex.split(command[1], comments=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_shown_exist_with_their_options(page: str) -> None:
    for words in commands(page):
        command: click.Command = cli
        for word in words:
            if isinstance(command, click.Group) and word in subcommands(command):
                command = subcommands(command)[word]
            elif word.startswith("--") and word != "--help":
                options = {name for option in command.params for name in option.opts}
                assert word.partition("=")[0] in options, words
        assert command is not cli or words[0] in {"COMMAND", "--help"}, words


def test_settings_that_are_named_in_capitals_exist() -> None:
    known = {f"OUTBOXD_{name.upper()}" for name in [*Settings.model_fields, "config", "mysqld", "chromium"]}
    named = {name for page in PAGES for name in re.findall(r"\bOUTBOXD_[A-Z_]+\b", read(page))}
    assert {name.removesuffix("_FILE") for name in named} <= known


def test_alert_that_the_runbook_does_not_answer_is_refused() -> None:
    readme = read("driver/README.md")
    with pytest.raises(ValueError, match=r"OutboxdFenced"):
        tables.alerts(readme.replace("Alerts: OutboxdFenced", ""))
    with pytest.raises(ValueError, match=r"not in alerts\.yaml: OutboxdGone"):
        tables.alerts(readme.replace("Alerts: OutboxdFenced", "Alerts: OutboxdFenced, OutboxdGone"))
