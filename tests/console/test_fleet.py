"""A console of a fleet: each database below a path of its own, with logins of its own, and a switcher in the header."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console import people
from tests.console.conftest import As, enter
from tests.console.people import ADA, MONA
from tests.console.process import ConsoleProcess, console
from tests.console.test_access import violations
from tests.kit.installing import migrate
from tests.kit.server import Server
from tests.kit.session import Session

Open = Callable[..., Page]


@pytest.fixture
def second(mysql_server: Server, fresh_database: str, console_process: ConsoleProcess) -> Iterator[Session]:
    """A session on another database with the schema, on which the same people have their roles."""
    assert console_process.address  # which has made the people
    assert migrate(mysql_server, fresh_database)
    people.create(mysql_server, fresh_database)
    with mysql_server.connect(fresh_database) as session:
        yield session


@pytest.fixture
def fleet(
    mysql_server: Server, installed_database: str, fresh_database: str, second: Session, db: Session, tmp_path: Path
) -> Iterator[ConsoleProcess]:
    """A console of two databases, each with a dead letter that says which it is."""
    tables = []
    for name, database, session in (("shard-1", installed_database, db), ("shard-2", fresh_database, second)):
        url = f"mysql://nobody:wrong@{mysql_server.host}:{mysql_server.port}/{database}"
        tables.append(f'[databases.{name}]\nmysql_url = "{url}"\n')
        session.call("outbox_mark_dead_v1", session.enqueue("k"), f"of {name}")
    (tmp_path / "outboxd.toml").write_text("".join(tables), encoding="utf-8")
    with console(tmp_path, {"kafka_bootstrap": "127.0.0.1:1", "group": "shop"}) as started:
        yield started


def switch(page: Page, name: str) -> None:
    """Choose a database in the header."""
    page.locator(".switch summary").click()
    page.get_by_role("navigation", name="Databases").get_by_role("link", name=name).click()


def test_switcher_leads_to_the_same_page_of_the_other_database_behind_its_own_login(
    as_somebody: As, fleet: ConsoleProcess
) -> None:
    page = as_somebody(fleet.address)
    page.goto("/")
    expect(page).to_have_url(f"{fleet.address}/db/shard-1/login?next=%2Fdb%2Fshard-1%2F")
    enter(page, ADA)
    page.get_by_role("link", name="Dead letters").click()
    expect(page.get_by_role("main")).to_contain_text("of shard-1")
    expect(page).to_have_title("Dead letters · shard-1 · outboxd")
    switch(page, "shard-2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    enter(page, MONA)
    expect(page).to_have_url(f"{fleet.address}/db/shard-2/dead")
    expect(page.get_by_role("main")).to_contain_text("of shard-2")
    expect(page.get_by_role("main")).not_to_contain_text("of shard-1")
    expect(page.locator(".who")).to_contain_text("mona monitor")
    switch(page, "shard-1")
    expect(page.get_by_role("main")).to_contain_text("of shard-1")
    expect(page.locator(".who")).to_contain_text("ada operator")


def test_login_opens_one_database_and_what_is_done_is_done_there(
    as_somebody: As, fleet: ConsoleProcess, db: Session, second: Session
) -> None:
    page = as_somebody(fleet.address)
    page.goto("/db/shard-2/dead")
    enter(page, ADA)
    cookies = [cookie for cookie in page.context.cookies() if not cookie["name"].endswith("_login")]
    assert [cookie["path"] for cookie in cookies] == ["/db/shard-2/"]
    page.goto("/db/shard-1/dead")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")

    page.goto("/db/shard-2/dead")
    page.get_by_role("checkbox", name="1").check()
    page.get_by_role("button", name="Requeue").first.click()
    page.get_by_role("button", name="Requeue").click()
    expect(page.get_by_role("main")).to_contain_text("1 of 1 requeued")
    assert (list(db.statuses().values()), list(second.statuses().values())) == (["dead"], ["pending"])
    page.get_by_role("link", name="Audit").click()
    expect(page).to_have_url(f"{fleet.address}/db/shard-2/audit")
    expect(page.get_by_role("main")).to_contain_text("ada@")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{fleet.address}/db/shard-2/login")


def test_login_of_one_database_leads_to_no_page_of_another(as_somebody: As, fleet: ConsoleProcess) -> None:
    for wanted in ("/db/shard-1/dead", "/dead", "//evil.example", "/db/shard-2/login"):
        page = as_somebody(fleet.address)
        page.goto(f"/db/shard-2/login?next={wanted}")
        enter(page, MONA)
        expect(page).to_have_url(f"{fleet.address}/db/shard-2/")
        page.context.clear_cookies()


@pytest.mark.parametrize("width", [360, 1600])
def test_switcher_is_accessible_and_as_wide_as_the_screen(as_somebody: As, fleet: ConsoleProcess, width: int) -> None:
    page = as_somebody(fleet.address, viewport={"width": width, "height": 800})
    page.goto("/db/shard-1/")
    enter(page, MONA)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.locator(".switch summary").press("Enter")
    expect(page.get_by_role("link", name="shard-2")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_page_that_is_not_there_has_the_name_of_its_database(as_somebody: As, fleet: ConsoleProcess) -> None:
    page = as_somebody(fleet.address)
    for path, name in (("/db/shard-2/nothing", "shard-2"), ("/db/shard-3/", "shard-1"), ("/dead", "shard-1")):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404
        expect(page.locator(".switch summary")).to_have_text(name)
