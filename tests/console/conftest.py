"""A console on the tests' database, a browser, and people who are logged in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.console import chromium, people
from tests.console.people import ADA, Person
from tests.console.process import ConsoleProcess, console
from tests.kit.server import Server

As = Callable[..., Page]
_PATIENCE_MS = 30_000
expect.set_options(timeout=_PATIENCE_MS)  # that a busy machine meets
_REFUSALS = ("Failed to load resource", "Response Status Error Code", "htmx:")  # of the browser, and of htmx


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of all tests."""
    with chromium.browser() as started:
        yield started


@pytest.fixture(scope="session")
def console_process(
    mysql_server: Server, installed_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsoleProcess]:
    """A console on the tests' database. The account in its settings has no rights, and the password is wrong."""
    people.create(mysql_server, installed_database)
    url = f"mysql://nobody:wrong@{mysql_server.host}:{mysql_server.port}/{installed_database}"
    with console(tmp_path_factory.mktemp("console"), {"mysql_url": url, "kafka_bootstrap": "127.0.0.1:1"}) as started:
        yield started


@pytest.fixture
def address(console_process: ConsoleProcess) -> str:
    """Of the console."""
    return console_process.address


@pytest.fixture
def as_somebody(browser: Browser, address: str) -> Iterator[As]:
    """Open a browser of its own at the console; options are those of new_context.

    At the end, no page may have done what the Content-Security-Policy forbids, or run into an error of its script.
    """
    contexts = []
    faults: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_REFUSALS):
            faults.append(message.text)

    def open_one(where: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=where or address, **options)
        context.set_default_timeout(_PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: faults.append(str(error)))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture(scope="session")
def logins() -> dict[tuple[str, str], Any]:
    """Cookies of people who have logged in, by console and name."""
    return {}


@pytest.fixture
def as_person(as_somebody: As, address: str, logins: dict[tuple[str, str], Any]) -> As:
    """Open a browser in which a person is logged in."""

    def open_one(person: Person = ADA, where: str = "", **options: Any) -> Page:
        key = (where or address, person.name)
        page = as_somebody(where, storage_state=logins.get(key), **options)
        if key not in logins:
            page.goto("/login")
            enter(page, person)
            page.get_by_role("button", name="Log out").wait_for()
            logins[key] = page.context.storage_state()
        return page

    return open_one


def enter(page: Page, person: Person) -> None:
    """Fill the login form in, and send it."""
    page.get_by_label("Account").fill(person.name)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Log in").click()
