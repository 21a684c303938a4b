"""`outboxd console` as a process: where it listens, with which certificate, and how it ends."""

import ipaddress
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
import uvicorn
from starlette.applications import Starlette

from outboxd import signals
from outboxd.console import app, memory, sessions
from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()

_STOP_SECONDS = 3
_MOST_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the console is served.

    certificate, key: PEM files for TLS, empty: plain HTTP. names: its host names. is_plain_allowed: plain HTTP also on
    an address that others reach. is_behind_tls: a proxy in front of it has the TLS.
    """

    host: str
    port: int
    certificate: str = ""
    key: str = ""
    names: Sequence[str] = ()
    is_plain_allowed: bool = False
    is_behind_tls: bool = False


def run(databases: Mapping[str, Settings], listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError where it may not, or cannot, be served so."""
    for settings in databases.values():
        sessions.check(settings)
    memory.keep_little()
    if not listening.certificate and not listening.is_plain_allowed and not _is_loopback(listening.host):
        raise SettingsError(
            f"--listen {listening.host}: passwords would cross the network in plain text: give --tls-certificate and"
            " --tls-key, or --plain-http if something else protects them"
        )
    if listening.certificate:
        _check_certificate(listening)
    with _listen(listening) as listener:
        port = listener.getsockname()[1]
        names = [*listening.names, *([] if _is_address(listening.host) else [listening.host])]
        console = app.make(
            databases,
            names=names,
            cookie=f"outboxd_{port}",
            is_secure=bool(listening.certificate) or listening.is_behind_tls,
        )
        server = uvicorn.Server(_config(console, listening))
        signals.call_on_ending(lambda _: setattr(server, "should_exit", True))
        scheme = "https" if listening.certificate else "http"
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        log.info("console", address=f"{scheme}://{host}:{port}/", databases=list(databases))
        server.run(sockets=[listener])


def _config(console: Starlette, listening: Listening) -> uvicorn.Config:
    return uvicorn.Config(
        console,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=listening.is_behind_tls,  # of a proxy on this host: whose address it is that tries to log in
        limit_concurrency=_MOST_REQUESTS,
        http="h11",
        ws="none",
        ssl_certfile=listening.certificate or None,
        ssl_keyfile=listening.key or None,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _check_certificate(listening: Listening) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(listening.certificate, listening.key)
    except OSError as error:  # as errors of TLS are, too
        raise SettingsError(f"--tls-certificate, --tls-key: {error.strerror or error}") from error


def _listen(listening: Listening) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            listening.host, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family)
        # asyncio does so only where it has made the socket; without, an answer waits 40 ms for its second packet.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise SettingsError(f"--listen {listening.host}:{listening.port}: {error.strerror or error}") from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
