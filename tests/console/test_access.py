"""Who cannot see, use a mouse or a wide screen: axe on each page, light and dark, at 360 and 1600 pixels."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.console import letters
from tests.console.conftest import As
from tests.console.people import ADA, MONA
from tests.kit.session import Session

_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page: Page) -> list[str]:
    """What axe finds wrong."""
    found = Axe().run(page, options=_RULES).response["violations"]
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in found]


def paths(there: letters.Letters) -> list[str]:
    """Each page."""
    return [
        *("/", "/stuck", "/dead", "/search", "/types", "/audit"),
        *(f"/message/{there.failing}", f"/message/{there.hostile}", "/lane?topic=chat&key=lane"),
        *("/ask?action=give-up&all=1", f"/ask?action=requeue&id={there.dead[0]}", "/pause?kind=topic&name=chat"),
        "/message/4711",
    ]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1600, "dark")])
def test_pages_are_accessible_and_as_wide_as_the_screen(as_person: As, db: Session, scheme: str, width: int) -> None:
    there = letters.put(db)
    db.call("outbox_pause_v1", "chat", None)
    page = as_person(ADA, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for path in paths(there):
        page.goto(path)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_login_and_refusals_are_accessible(as_somebody: As, as_person: As) -> None:
    page = as_somebody(viewport={"width": 360, "height": 800})
    page.goto("/login")
    assert violations(page) == []
    page = as_person(MONA)
    page.goto("/audit")
    assert violations(page) == []


def test_everything_can_be_reached_by_the_keyboard(as_person: As, db: Session) -> None:
    letters.put(db)
    page = as_person(ADA)
    page.goto("/dead")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 120)"))
    every = page.evaluate(
        "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary')]"
        ".filter(one => one.checkVisibility()).map(one => one.outerHTML.slice(0, 120))"
    )
    assert set(every) - reached <= {page.evaluate("document.querySelector('.skip').outerHTML.slice(0, 120)")}
    assert len(every) > 30
