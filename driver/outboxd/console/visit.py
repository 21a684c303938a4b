"""One request of somebody who is logged in, and what becomes of errors: a page that says what is wrong."""

import base64
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import mysql.connector
import structlog
from jinja2 import Environment
from mysql.connector import errorcode
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from outboxd.console.consumers import Consumers
from outboxd.console.sampler import Sampler
from outboxd.console.sessions import Session, Sessions
from outboxd.mysql import roles, views
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.observe.scope import working_for
from outboxd.retry import Unavailable

log = structlog.get_logger()

LEAST_LOOK_SECONDS = 5
"""How often a page that is looked at is renewed, at most."""
_COST_SHARE = 150
_LATEST = 5
_MOST_PAGES = 1000
_LONGEST_FORM = 1 << 18
_TOGETHER = ThreadPoolExecutor(8, "together")
Found = TypeVar("Found")
FoundToo = TypeVar("FoundToo")
_NOT_ANY_MORE = {
    errorcode.ER_ACCESS_DENIED_ERROR,
    errorcode.ER_ACCOUNT_HAS_BEEN_LOCKED,
    errorcode.ER_MUST_CHANGE_PASSWORD,
}


class Wrong(Exception):
    """What was asked for is not to be had; the page says the text."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Console:
    """What all requests about a database share."""

    name: str
    """Of the database, in the configuration."""
    siblings: Mapping[str, str]
    """The bases of all databases by name, where there are several."""
    sessions: Sessions
    sampler: Sampler
    consumers: Consumers
    templates: Environment
    cookie: str
    is_secure: bool
    took: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    """For how many seconds pages have asked MySQL, the latest times, by their address and what is seen there."""

    @property
    def base(self) -> str:
        """What the path of each page begins with, and cookies are for."""
        return self.siblings.get(self.name, "")

    def at(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """The address of a page of this database."""
        return address(self.base + path, query or {})


@dataclass(slots=True)
class Visit:
    """A request of a session."""

    console: Console
    request: Request
    session: Session
    key: bytes
    form: list[tuple[str, str]] = field(default_factory=list)
    took_seconds: float = 0

    @property
    def query(self) -> QueryParams:
        """What stands behind the question mark."""
        return self.request.query_params

    @contextmanager
    def database(self) -> Iterator[OperatorProcedures]:
        """Lend a connection of the person's account."""
        with self.session.database(self.key) as database:
            if not database.is_connected:
                views.now(database)  # connects, which is not what the page costs each time
            began = time.monotonic()
            try:
                yield database
            finally:
                self.took_seconds += time.monotonic() - began

    def both(
        self, one: Callable[[OperatorProcedures], Found], other: Callable[[OperatorProcedures], FoundToo]
    ) -> tuple[Found, FoundToo]:
        """What two looks find, each on a connection of its own, at the same time."""

        def look() -> Found:
            with self.database() as database:
                return one(database)

        found = _TOGETHER.submit(look)
        with self.database() as database:
            found_too = other(database)
        return found.result(), found_too

    def next_look(self) -> int:
        """After how many seconds the page is to be renewed: so that it costs the server well under 1 % of a core."""
        # The quickest of the last few: what the page costs, without what it has waited for others.
        page = f"{self.request.url.path}?{self.request.url.query} {self.session.is_operator}"
        took = self.console.took.setdefault(page, deque(maxlen=_LATEST))
        took.append(self.took_seconds)
        while len(self.console.took) > _MOST_PAGES:
            self.console.took.popitem(last=False)
        return max(LEAST_LOOK_SECONDS, math.ceil(_COST_SHARE * min(took)))

    def value(self, name: str) -> str:
        """A field of the form that was sent; empty: it has none."""
        return next((value for given, value in self.form if given == name), "")

    def values(self, name: str) -> list[str]:
        """All fields of this name."""
        return [value for given, value in self.form if given == name]

    def page(self, template: str, status: int = 200, **variables: Any) -> Response:
        """A page."""
        done = self.session.jobs.find(self.query.get("done", ""))
        return render(self.console, template, status, visit=self, done=done, **variables)

    def here(self, **changes: object) -> str:
        """The address of this page, with other values in its query; None: without."""
        return address(self.request.url.path, {**dict(self.query), "done": None, **changes})


def key_of(cookie: str) -> bytes:
    """The session's key, which is in the cookie; empty where that is no key."""
    try:
        return base64.urlsafe_b64decode(cookie.encode())
    except ValueError:
        return b""


def cookie_of(key: bytes) -> str:
    """The cookie for a key."""
    return base64.urlsafe_b64encode(key).decode()


def is_same(given: str, token: str) -> bool:
    """Whether a token that was sent is this one; takes the same time whatever was sent."""
    return secrets.compare_digest(given.encode(), token.encode())


def address(path: str, query: Mapping[str, object]) -> str:
    """A path with a query; what is None or empty is left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def local(wanted: str) -> str:
    """The address, if it is one of this console; else empty."""
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_local else ""


Page = Callable[[Visit], Response]


def render(console: Console, template: str, status: int = 200, **variables: Any) -> Response:
    """A page for somebody who may not be logged in."""
    html = console.templates.get_template(template).render(console=console, **variables)
    return HTMLResponse(html, status)


def endpoint(console: Console, page: Page) -> Callable[[Request], Any]:
    """Make an endpoint of a page: for those who are logged in, and with forms of their own alone."""

    async def answer(request: Request) -> Response:
        form: list[tuple[str, str]] = []
        if request.method == "POST":
            try:
                form = await read_form(request)
            except Wrong as wrong:
                return render(console, "wrong.html", wrong.status, visit=None, text=str(wrong))
        with working_for(console.name if console.siblings else ""):
            return await run_in_threadpool(_answer, console, page, request, form)

    return answer


async def read_form(request: Request) -> list[tuple[str, str]]:
    """The fields of a form that was sent; raises Wrong where it is none, or too long."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise Wrong("this is no form", 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            raise Wrong("the form is too long: select fewer messages", 413)
    return parse_qsl(body.decode(errors="replace"), keep_blank_values=True)


def _answer(console: Console, page: Page, request: Request, form: list[tuple[str, str]]) -> Response:
    key = key_of(request.cookies.get(console.cookie, ""))
    session = console.sessions.find(key)
    if session is None:
        return _not_logged_in(console, request)
    visit = Visit(console, request, session, key, form)
    if request.method == "POST" and not is_same(visit.value("csrf"), session.csrf):
        return visit.page("wrong.html", 403, text="this form is of another session, or too old: open its page again")
    return _answer_visit(page, visit)


def _answer_visit(page: Page, visit: Visit) -> Response:
    try:
        try:
            return page(visit)
        except Unavailable:
            # The connection may have been an old one: of a server that was away and is back.
            if visit.request.method != "GET":
                raise
            visit.session.close_idle()
            return page(visit)
    except Unavailable as error:
        return visit.page("away.html", 503, reason=str(error))
    except Wrong as wrong:
        return visit.page("wrong.html", wrong.status, text=str(wrong))
    except mysql.connector.Error as error:
        return _refused(visit, error)


def _not_logged_in(console: Console, request: Request) -> Response:
    site = request.headers.get("sec-fetch-site", "none")
    if request.method == "GET" and site in {"cross-site", "same-site"}:
        # A link in another site's page: the browser keeps the cookie back until it comes from a page of ours.
        return render(console, "again.html", visit=None, here=_here(request))
    login = console.at("/login", {"next": _here(request) if request.method == "GET" else None})
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": login})
    return RedirectResponse(login, 303)


def _here(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _refused(visit: Visit, error: mysql.connector.Error) -> Response:
    if error.errno in _NOT_ANY_MORE:
        visit.console.sessions.log_out(visit.key)
        return RedirectResponse(visit.console.at("/login", {"over": "1"}), 303)
    refusal = roles.refusal(error)
    if refusal:
        return visit.page("refused.html", 403, refusal=refusal)
    if error.sqlstate == "45000":
        return visit.page("wrong.html", 400, text=error.msg)
    log.error("page failed", path=visit.request.url.path, reason=str(error))
    return visit.page("wrong.html", 500, text=f"MySQL: {error}")
