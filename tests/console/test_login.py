"""Logging in with a MySQL account: who gets in, what they see, and how often it may be tried."""

import pytest
from playwright.sync_api import Browser, expect

from tests.console.conftest import LogIn, enter
from tests.console.people import ADA, APP, MONA, NOBODY, OLGA, Person
from tests.kit.session import Session


@pytest.mark.parametrize(("person", "said"), [(ADA, "ada operator"), (OLGA, "olga operator"), (MONA, "mona monitor")])
def test_account_with_a_role_gets_in_and_its_name_is_shown(
    db: Session, log_in: LogIn, person: Person, said: str
) -> None:
    assert db.messages() == []
    page = log_in(person)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    expect(page.locator(".who")).to_contain_text(said)


@pytest.mark.parametrize(("person", "role"), [(APP, "outbox_monitor"), (NOBODY, "has no right on database")])
def test_account_without_a_role_is_told_which_it_lacks(log_in: LogIn, person: Person, role: str) -> None:
    page = log_in(person)
    expect(page.get_by_role("alert")).to_contain_text(role)
    page.goto("/dead")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_wrong_password_does_not_get_in_and_the_page_that_was_wanted_comes_after_the_right_one(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(base_url=address)
    page = context.new_page()
    page.goto("/dead?topic=chat")
    enter(page, Person(MONA.name, "wrong", None))
    expect(page.get_by_role("alert")).to_have_text("MySQL does not take this account and password.")
    enter(page, MONA)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letters")
    expect(page.get_by_label("Topic")).to_have_value("chat")
    context.close()
