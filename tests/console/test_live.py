"""Pages that are looked at: renewed while somebody looks, and while MySQL goes away and comes back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from tests.console import letters, people
from tests.console.conftest import As, enter
from tests.console.people import ADA
from tests.console.process import console
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.lasting import LastingMySQL
from tests.servers.mysql_install import MySQLInstall

_LOOKED_AT = "Object.defineProperty(document, 'visibilityState', { get: () => window.seen ?? 'visible' })"
_DATABASE = "outboxd"
_PATIENCE_MS = 30_000


def looks(page: Page) -> list[Request]:
    """The requests by which the page is renewed, from now on."""
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if "hx-request" in request.headers else None)
    return found


def test_page_is_renewed_while_somebody_looks_and_only_then(as_person: As, db: Session) -> None:
    letters.put(db)
    page = as_person(ADA)
    page.add_init_script(_LOOKED_AT)
    page.goto("/dead")
    expect(page.get_by_role("heading", level=1)).to_contain_text("5")
    asked = looks(page)
    page.evaluate("window.seen = 'hidden'")
    db.call("outbox_mark_dead_v1", db.enqueue("one more"), "new")
    page.wait_for_timeout(7000)
    assert not asked
    page.evaluate("window.seen = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("heading", level=1)).to_contain_text("6")
    assert asked


def test_rows_that_somebody_marks_stay_as_they_are(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/dead")
    asked = looks(page)
    page.get_by_label(f"Select message {there.dead[0]}").check()
    page.wait_for_timeout(6500)
    assert not asked
    expect(page.get_by_label(f"Select message {there.dead[0]}")).to_be_checked()
    page.get_by_label(f"Select message {there.dead[0]}").uncheck()
    box = page.get_by_label(f"Select message {there.dead[1]}")
    box.focus()
    with page.expect_response(lambda answer: "hx-request" in answer.request.headers, timeout=_PATIENCE_MS):
        pass
    expect(box).to_be_focused()


@pytest.fixture(scope="module")
def own_mysql(mysql_programs: MySQLInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingMySQL]:
    """A MySQL that may be stopped, with an outbox and the people's accounts."""
    own = LastingMySQL(
        mysql_programs,
        tmp_path_factory.mktemp("mysql") / "data",
        ["--innodb-buffer-pool-size=64M", "--innodb-fast-shutdown=2"],
    )
    own.start()
    server = Server(own.host, own.port, "root")
    server.create_database(_DATABASE)
    server.migrate(_DATABASE)
    people.create(server, _DATABASE)
    yield own
    own.end()


def test_mysql_may_go_away_and_come_back(own_mysql: LastingMySQL, tmp_path: Path, as_somebody: As) -> None:
    with Server(own_mysql.host, own_mysql.port, "root").connect(_DATABASE) as session:
        there = letters.put(session)
    url = f"mysql://{own_mysql.host}:{own_mysql.port}/{_DATABASE}"
    with console(tmp_path, {"mysql_url": url, "kafka_bootstrap": "127.0.0.1:1"}) as own:
        page = as_somebody(own.address)
        page.goto("/dead")
        enter(page, ADA)
        expect(page.get_by_role("heading", level=1)).to_contain_text("5")
        asking = page.context.new_page()
        asking.goto(f"/ask?action=requeue&id={there.dead[0]}")

        own_mysql.stop()
        expect(page.locator("#lost")).to_contain_text("MySQL cannot be reached", timeout=2 * _PATIENCE_MS)
        expect(page.locator(".picks tbody tr")).to_have_count(5)  # what was seen last stays
        other = page.context.new_page()
        other.goto("/stuck")
        expect(other.get_by_role("heading", level=1)).to_have_text("MySQL cannot be reached")
        asking.get_by_role("button", name="Requeue 1").click()
        expect(asking.locator("main")).to_contain_text(re.compile("cut off: MySQL|cannot be reached"))
        entering = as_somebody(own.address)
        entering.goto("/login")
        enter(entering, ADA)
        expect(entering.get_by_role("alert")).to_contain_text("MySQL cannot be reached", timeout=_PATIENCE_MS)

        own_mysql.start()
        # Nobody logs in again: neither pages that are open, nor those that come next.
        expect(page.locator("#lost")).to_be_hidden(timeout=2 * _PATIENCE_MS)
        expect(other.get_by_role("heading", level=1)).to_have_text("Stuck lanes", timeout=_PATIENCE_MS)
        asking.goto(f"/ask?action=requeue&id={there.dead[0]}")
        asking.get_by_role("button", name="Requeue 1").click()
        expect(asking.locator("main .note[role=status]")).to_contain_text("1 of 1 requeued")
        enter(entering, ADA)
        expect(entering.locator(".who")).to_contain_text("ada")
        assert own.stop() == 0
