"""A console on the tests' database, a browser, and people who are logged in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.console import chromium, people
from tests.console.people import ADA, Person
from tests.console.process import ConsoleProcess, console
from tests.kit.server import Server

LogIn = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of all tests."""
    with chromium.browser() as started:
        yield started


@pytest.fixture(scope="session")
def console_process(
    mysql_server: Server, installed_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsoleProcess]:
    """A console on the tests' database. Its own account has no rights, and no password that is right."""
    people.create(mysql_server, installed_database)
    url = f"mysql://nobody:wrong@{mysql_server.host}:{mysql_server.port}/{installed_database}"
    with console(tmp_path_factory.mktemp("console"), {"mysql_url": url, "kafka_bootstrap": "127.0.0.1:1"}) as started:
        yield started


@pytest.fixture
def address(console_process: ConsoleProcess) -> str:
    """Of the console."""
    return console_process.address


@pytest.fixture
def log_in(browser: Browser, address: str) -> Iterator[LogIn]:
    """Open a browser of its own for a person, and log in there."""
    contexts = []

    def open_one(person: Person = ADA, where: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=where or address, **options)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.goto("/login")
        enter(page, person)
        return page

    yield open_one
    for context in contexts:
        context.close()


def enter(page: Page, person: Person) -> None:
    """Fill the login form in, and send it."""
    page.get_by_label("Account").fill(person.name)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Log in").click()
