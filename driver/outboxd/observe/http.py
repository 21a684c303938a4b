"""The daemon's HTTP pages: /metrics for Prometheus, /healthz and /readyz for a supervisor."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app

from outboxd.observe import metrics
from outboxd.observe.health import Health
from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()

_Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a client that keeps its connection open does not keep the daemon

    def handle_error(self, *_: Any) -> None:
        """Log only at debug level: a client that hangs up is nothing to act on."""
        log.debug("request failed", exc_info=True)

    def server_bind(self) -> None:
        """Bind without asking a name server for this host's name, as the base class does: that may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Silent(WSGIRequestHandler):
    timeout = 10

    def log_message(self, *_: Any) -> None:
        """Log nothing: there is a request every few seconds."""


@dataclass(frozen=True, slots=True)
class Served:
    """The address of the pages, or the reason why there are none although they are wanted."""

    address: str | None = None
    problem: str | None = None


@contextmanager
def serving(settings: Settings, health: Health) -> Iterator[Served]:
    """Serve the pages on metrics_address while the block runs; serve none if it is empty.

    Raises SettingsError if a metrics_address that was given cannot be listened on. If the default cannot be, that is
    only a `problem` to be logged, so that a second daemon on the host starts without a setting of its own.
    """
    if not settings.metrics_address:
        yield Served()
        return
    try:
        server = _listen(settings)
    except OSError as error:
        reason = f"{settings.metrics_address} cannot be listened on: {error.strerror or error}"
        if "metrics_address" in settings.model_fields_set:
            raise SettingsError(f"setting metrics_address: {reason}") from error
        yield Served(problem=f"{reason}; give another metrics_address, or an empty one")
        return
    server.set_app(_application(health))
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    host, port = server.server_address[:2]
    try:
        yield Served(f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}")
    finally:
        server.shutdown()
        server.server_close()


def _listen(settings: Settings) -> _Server:
    host, port = settings.metrics_host_and_port
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]

    class Server(_Server):
        address_family = family

    return Server((str(address[0]), port), _Silent)


def _application(health: Health) -> _Application:
    pages: dict[str, _Application] = {
        "/metrics": make_wsgi_app(metrics.registry),
        "/healthz": _verdict(health.why_not_alive),
        "/readyz": _verdict(health.why_not_ready),
    }

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        page = pages.get(environ["PATH_INFO"])
        if page is not None:
            return page(environ, start_response)
        start_response("404 Not Found", [_PLAIN])
        return [f"here are {', '.join(pages)}\n".encode()]

    return application


_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


def _verdict(why_not: Callable[[], list[str]]) -> _Application:
    def page(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        reasons = why_not()
        start_response("503 Service Unavailable" if reasons else "200 OK", [_PLAIN, ("Cache-Control", "no-store")])
        return ["".join(f"{reason}\n" for reason in reasons or ["ok"]).encode()]

    return page
