"""What every answer says to the browser, and which requests are answered at all."""

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_FOREVER = "public, max-age=31536000, immutable"
"""For files whose address has their version."""
_LOCAL = "localhost"


class Guard:
    """Answers only to its own names, and only to its own pages' forms.

    A page of another site may make a browser send requests here: under a name of its own that it lets point here
    (DNS rebinding), which the Host header shows, or by a form, which Origin and Sec-Fetch-Site show.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        """names: host names of the console, besides localhost and any address."""
        self._app = app
        self._names = {_LOCAL, *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if scope["path"].startswith("/static/") and message["status"] == 200:
                    headers["cache-control"] = _FOREVER
            await send(message)

        refused = self._why_not(Headers(scope=scope), scope["method"])
        app = PlainTextResponse(f"{refused}\n", 421 if "Host" in refused else 403) if refused else self._app
        await app(scope, receive, send_guarded)

    def _why_not(self, headers: Headers, method: str) -> str:
        host = headers.get("host", "")
        if not self._is_own(host):
            return "Host is not a name of this console: give it --host NAME"
        if method in {"GET", "HEAD"}:
            return ""
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return "a form of another site"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return "a form of another site"
        return ""

    def _is_own(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True  # nobody lets an address point elsewhere
