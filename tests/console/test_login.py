"""Logging in with a MySQL account: who gets in, and what a session is."""

import re

import pytest
from playwright.sync_api import expect

from tests.console.conftest import As, enter
from tests.console.people import ADA, APP, MONA, NOBODY, OLGA, Person
from tests.kit.session import Session


@pytest.mark.parametrize(("person", "said"), [(ADA, "ada operator"), (OLGA, "olga operator"), (MONA, "mona monitor")])
def test_account_with_a_role_gets_in_and_its_name_is_shown(as_somebody: As, person: Person, said: str) -> None:
    page = as_somebody()
    page.goto("/")
    enter(page, person)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    expect(page.locator(".who")).to_contain_text(said)


@pytest.mark.parametrize(("person", "said"), [(APP, "role outbox_monitor"), (NOBODY, "has no right on database")])
def test_account_without_a_role_is_told_which_it_lacks(as_somebody: As, person: Person, said: str) -> None:
    page = as_somebody()
    page.goto("/login")
    enter(page, person)
    expect(page.get_by_role("alert")).to_contain_text(said)
    page.goto("/dead")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_page_that_was_wanted_comes_after_the_right_password(as_somebody: As) -> None:
    page = as_somebody()
    page.goto("/dead?topic=chat")
    enter(page, Person(MONA.name, "wrong", None))
    expect(page.get_by_role("alert")).to_have_text("MySQL does not take this account and password.")
    enter(page, MONA)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letters")
    expect(page.get_by_label("Topic")).to_have_value("chat")


def test_login_leads_to_no_other_site(as_somebody: As) -> None:
    for wanted in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        page = as_somebody()
        page.goto(f"/login?next={wanted}")
        enter(page, MONA)
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_cookie_is_out_of_reach_of_scripts_and_of_other_sites(as_person: As) -> None:
    page = as_person(MONA)
    page.goto("/dead")
    (cookie,) = [one for one in page.context.cookies() if not one["name"].endswith("_login")]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert page.evaluate("document.cookie") == ""


def test_after_logging_out_the_cookie_opens_nothing(as_somebody: As) -> None:
    page = as_somebody()
    page.goto("/audit")
    enter(page, ADA)
    cookies = page.context.cookies()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto("/audit")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_session_ends_where_the_password_was_changed(as_somebody: As, db: Session) -> None:
    db.execute("DROP USER IF EXISTS passing; CREATE USER passing IDENTIFIED BY 'one'")
    db.execute("GRANT console_outbox_monitor TO passing; SET DEFAULT ROLE ALL TO passing")
    page = as_somebody()
    page.goto("/")
    enter(page, Person("passing", "one", None))
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    db.execute("ALTER USER passing IDENTIFIED BY 'two'")
    db.kill_sessions("passing")
    page.goto("/dead")
    expect(page.get_by_role("alert")).to_contain_text("does not take the password any more")
    enter(page, Person("passing", "two", None))
    expect(page.locator(".who")).to_contain_text("passing")


def test_role_that_is_taken_away_is_missed_at_the_next_page(as_somebody: As, db: Session) -> None:
    db.execute("DROP USER IF EXISTS passing; CREATE USER passing IDENTIFIED BY 'one'")
    db.execute("GRANT console_outbox_monitor TO passing; SET DEFAULT ROLE ALL TO passing")
    page = as_somebody()
    page.goto("/dead")
    enter(page, Person("passing", "one", None))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letters")
    db.execute("REVOKE console_outbox_monitor FROM passing")
    page.goto("/dead")
    expect(page.get_by_role("alert")).to_contain_text("outbox_monitor")
    page.goto("/")  # whose numbers are shared, but not with everybody
    expect(page.get_by_role("alert")).to_contain_text(re.compile("outbox_monitor|has no right on database"))
