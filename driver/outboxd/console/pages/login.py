"""Logging in and out: an account is one of MySQL's."""

import math
import secrets
from typing import Any

import mysql.connector
import structlog
from mysql.connector import errorcode
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from outboxd.console.attempts import Attempts
from outboxd.console.visit import Console, Visit, Wrong, cookie_of, is_same, local, read_form, render
from outboxd.mysql import roles, views
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.observe.scope import working_for
from outboxd.retry import Unavailable
from outboxd.settings import SettingsError

log = structlog.get_logger()

MOST = {"address": 20, "account": 10}
"""How often, for all databases together: some may be on one server."""
_LONGEST = 128
_OVER = "MySQL does not take the password any more that you logged in with: log in again."


class Login:
    """The login page, and how often it may be tried."""

    def __init__(self, console: Console, attempts: Attempts) -> None:
        self._console = console
        self._attempts = attempts
        self._cookie = f"{console.cookie}_login"

    async def show(self, request: Request) -> Response:
        """The form."""
        is_over = "over" in request.query_params
        return self._form(request, request.query_params.get("next", ""), _OVER if is_over else "")

    async def log_in(self, request: Request) -> Response:
        """Try the account; then to the page that was asked for."""
        try:
            form = dict(await read_form(request))
        except Wrong as wrong:
            return self._form(request, "", str(wrong), wrong.status)
        with working_for(self._console.name if self._console.siblings else ""):
            return await run_in_threadpool(self._log_in, request, form)

    def _log_in(self, request: Request, form: dict[str, str]) -> Response:
        account, password, wanted = form.get("account", ""), form.get("password", ""), form.get("next", "")
        known = request.cookies.get(self._cookie, "")
        if not known or not is_same(form.get("csrf", ""), known):
            return self._form(request, wanted, "The form was too old, or the browser keeps no cookies: try again.", 403)
        if not account or len(account) > _LONGEST or len(password) > _LONGEST:
            return self._form(request, wanted, "Give the name and the password of a MySQL account.", 400)
        names = {"address": request.client.host if request.client else "", "account": account}
        wait = self._attempts.begin(**names)
        if wait:
            log.warning("login refused", account=account, address=names["address"], reason="too many attempts")
            refused = self._form(
                request, wanted, f"Too many attempts: try again in {math.ceil(wait / 60)} min.", 429, account
            )
            refused.headers["Retry-After"] = f"{math.ceil(wait)}"
            return refused
        try:
            key, session = self._console.sessions.log_in(account, password, _is_operator)
        except (SettingsError, Unavailable, mysql.connector.Error) as error:
            said, status = _why_not(error)
            if status != 401:
                self._attempts.take_back(**names)
            log.warning("login refused", account=account, address=names["address"], reason=str(error))
            return self._form(request, wanted, said, status, account)
        self._attempts.take_back(**names)
        log.info("login", account=account, address=names["address"], operator=session.is_operator)
        response = RedirectResponse(self._local(wanted), 303)
        self._set(response, self._console.cookie, cookie_of(key))
        _forget(response, self._console, self._cookie)
        return response

    def _form(self, request: Request, wanted: str, said: str, status: int = 200, account: str = "") -> Response:
        # Two windows with the form share its cookie.
        token = request.cookies.get(self._cookie) or secrets.token_urlsafe(24)
        values = {"csrf": token, "wanted": self._local(wanted), "said": said, "account": account}
        response = render(self._console, "login.html", status, visit=None, **values)
        self._set(response, self._cookie, token)
        return response

    def _set(self, response: Response, cookie: str, value: str) -> None:
        response.set_cookie(cookie, value, **_attributes(self._console))

    def _local(self, wanted: str) -> str:
        """A page of this database; anything else is the first page."""
        base = self._console.base
        is_page = wanted.startswith(f"{base}/") and not wanted.startswith(f"{base}/login")
        return (local(wanted) if is_page else "") or f"{base}/"


def _forget(response: Response, console: Console, cookie: str) -> None:
    """Let the browser forget a cookie."""
    response.delete_cookie(cookie, **_attributes(console))


def _attributes(console: Console) -> Any:
    """Scripts do not see a cookie, nor do the pages of other sites and of other databases."""
    return {"path": f"{console.base}/", "httponly": True, "samesite": "strict", "secure": console.is_secure}


def log_out(visit: Visit) -> Response:
    """End the session."""
    visit.console.sessions.log_out(visit.key)
    log.info("logout", account=visit.session.account)
    response = RedirectResponse(visit.console.at("/login"), 303)
    _forget(response, visit.console, visit.console.cookie)
    return response


def _is_operator(database: OperatorProcedures) -> bool:
    """Raises where the account may not even read what monitoring reads."""
    views.pauses(database)
    try:
        views.audit(database, action=None, everything=True, limit=1)
    except mysql.connector.Error as error:
        if roles.refusal(error) is None:
            raise
        return False
    return True


def _why_not(error: SettingsError | Unavailable | mysql.connector.Error) -> tuple[str, int]:
    if isinstance(error, Unavailable):
        return f"MySQL cannot be reached: {error}", 503
    if isinstance(error, SettingsError):
        return str(error), 400
    if error.errno == errorcode.ER_ACCESS_DENIED_ERROR:
        return "MySQL does not take this account and password.", 401
    refused = roles.refusal(error)
    if refused:
        return refused.in_words, 403
    return f"MySQL: {error.msg or error}", 403
