"""What keeps others out: headers, Host, forms of other sites, how often a login may be tried, TLS."""

import http.client
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import trustme
from playwright.sync_api import expect

from outboxd.console.attempts import WINDOW_SECONDS, Attempts
from tests.console.conftest import As, enter
from tests.console.people import ADA, MONA
from tests.console.process import console
from tests.kit.command import Run, the_one_line
from tests.kit.server import Server
from tests.kit.session import Session

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ask(
    address: str, path: str, method: str = "GET", body: str = "", **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    """Status, headers and text of an answer to a client that is no browser."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


@pytest.mark.parametrize("path", ["/login", "/", "/static/console.js", "/none"])
def test_every_answer_has_the_headers(address: str, path: str) -> None:
    _, headers, _ = ask(address, path)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == ("no-store" if "static" not in path else "public, max-age=31536000, immutable")
    assert headers["Server"] is None


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 421), ("", 421), ("a:b:c", 421)],
)
def test_console_answers_to_its_own_names_only(address: str, host: str, status: int) -> None:
    assert ask(address, "/login", Host=host)[0] == status


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
    ids=str,
)
def test_form_of_another_site_is_refused(address: str, headers: dict[str, str]) -> None:
    for path in ("/login", "/logout", "/act", "/pause"):
        assert ask(address, path, "POST", "a=b", **_FORM, **headers)[0] == 403


def test_form_needs_the_token_of_its_session(as_person: As, db: Session) -> None:
    message = db.enqueue()
    db.call("outbox_mark_dead_v1", message, "x")
    others = as_person(MONA)
    others.goto("/types")
    theirs = others.locator("input[name=csrf]").first.get_attribute("value") or ""
    page = as_person(ADA)
    page.goto("/types")
    form = {"action": "discard", "id": str(message)}
    for csrf in ({}, {"csrf": ""}, {"csrf": theirs}, {"csrf": "é"}):
        assert page.request.post("/act", form={**form, **csrf}).status == 403
    assert page.request.post("/act", data="{}", headers={"Content-Type": "application/json"}).status == 415
    assert page.request.post("/act", form={"csrf": "x" * 300_000}).status == 413
    assert db.statuses() == {message: "dead"}
    own = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    assert page.request.post("/act", form={**form, "csrf": own}).ok
    assert db.statuses() == {}


def test_nothing_is_changed_by_a_link(as_person: As, db: Session) -> None:
    message = db.enqueue()
    db.call("outbox_mark_dead_v1", message, "x")
    page = as_person(ADA)
    for path in (f"/act?action=discard&id={message}", "/pause?kind=topic&name=chat&action=pause", "/logout"):
        page.request.get(path)
    assert db.statuses() == {message: "dead"}
    assert db.value("SELECT COUNT(*) FROM outbox_pauses") == 0
    page.goto("/audit")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Audit")


def test_link_in_a_page_of_another_site_opens_for_who_is_logged_in(as_person: As, address: str) -> None:
    page = as_person(ADA)
    other = address.replace("127.0.0.1", "localhost")  # to the browser another site, with cookies of its own
    page.goto(f"{other}/login")
    script = "where => { const a = document.createElement('a'); a.href = where; document.body.append(a); a.click() }"
    page.evaluate(script, f"{address}/dead?topic=chat")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letters")
    expect(page.get_by_label("Topic")).to_have_value("chat")


def test_login_may_be_tried_so_often_and_no_oftener(
    tmp_path: Path, mysql_server: Server, installed_database: str, as_somebody: As, console_process: object
) -> None:
    assert console_process  # which has made the accounts
    url = f"mysql://{mysql_server.host}:{mysql_server.port}/{installed_database}"
    with console(tmp_path, {"mysql_url": url, "kafka_bootstrap": "127.0.0.1:1"}) as own:
        _, headers, text = ask(own.address, "/login")
        cookie = headers["Set-Cookie"].partition(";")[0]
        csrf = cookie.partition("=")[2]
        assert csrf in text

        def try_it(account: str, password: str) -> int:
            form = urlencode({"account": account, "password": password, "csrf": csrf})
            return ask(own.address, "/login", "POST", form, Cookie=cookie, **_FORM)[0]

        assert [try_it("olga", "wrong") for _ in range(11)] == [401] * 10 + [429]
        assert try_it("olga", 'olga\'s \\ "own"') == 429
        assert [try_it(f"nobody-{number}", "wrong") for number in range(11)] == [401] * 10 + [429]
        page = as_somebody(own.address)
        page.goto("/login")
        enter(page, ADA)
        expect(page.get_by_role("alert")).to_contain_text("Too many attempts: try again in 5 min.")
        assert "wrong" not in own.log.read_text().replace("wrong password", "")


def test_attempts_are_counted_for_a_while() -> None:
    now = 1000.0
    attempts = Attempts({"address": 3, "account": 2}, lambda: now)
    assert attempts.begin(address="a", account="ada") == 0
    assert attempts.begin(address="b", account="ada") == 0
    assert attempts.begin(address="c", account="ada") == WINDOW_SECONDS
    assert attempts.begin(address="a", account="olga") == 0
    attempts.take_back(address="a", account="olga")
    now += WINDOW_SECONDS - 1
    assert attempts.begin(address="c", account="ada") == 1
    now += 1
    assert attempts.begin(address="c", account="ada") == 0


def test_console_is_served_by_tls_and_its_cookies_are_for_tls_alone(
    tmp_path: Path, mysql_server: Server, installed_database: str, as_somebody: As, console_process: object
) -> None:
    assert console_process
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    own_pem = str(tmp_path / "own.pem")
    url = f"mysql://{mysql_server.host}:{mysql_server.port}/{installed_database}"
    options = ("--listen", "0.0.0.0:0", "--tls-certificate", own_pem, "--tls-key", own_pem)
    with console(tmp_path, {"mysql_url": url, "kafka_bootstrap": "127.0.0.1:1"}, *options) as own:
        port = urlsplit(own.address).port
        page = as_somebody(f"https://127.0.0.1:{port}", ignore_https_errors=True)
        page.goto("/")
        enter(page, MONA)
        expect(page.locator(".who")).to_contain_text("mona")
        assert [one["secure"] for one in page.context.cookies()] == [True]
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        connection.request("GET", "/login", headers={"Host": "console.example"})
        assert connection.getresponse().status == 421


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["--listen", "0.0.0.0:0"], {}, "give --tls-certificate and --tls-key, or --plain-http"),
        (["--listen", "console.example:0"], {}, "give --tls-certificate and --tls-key, or --plain-http"),
        (["--tls-certificate", "{here}", "--tls-key", "{here}"], {}, "--tls-certificate, --tls-key: "),
        (["--listen", "127.0.0.1:1", "--listen", "203.0.113.1:0", "--plain-http"], {}, "--listen 203.0.113.1:0: "),
        ([], {"mysql_options": {"unix_socket": "/tmp/mysql.sock"}}, "unix_socket is not for the console"),
    ],
)
def test_console_that_would_not_be_safe_or_cannot_listen_ends_with_one_line(
    outboxd: Run, tmp_path: Path, arguments: list[str], settings: dict[str, Any], said: str
) -> None:
    (tmp_path / "not.pem").write_text("no certificate")
    given = [one.replace("{here}", str(tmp_path / "not.pem")) for one in arguments]
    assert said in the_one_line(outboxd("console", *given, **settings))
