"""The application: which address is which page."""

import hashlib
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from outboxd import __version__
from outboxd.console import memory
from outboxd.console.attempts import Attempts
from outboxd.console.consumers import Consumers
from outboxd.console.guard import Guard
from outboxd.console.jobs import JOB
from outboxd.console.pages import dead, login, message, overview, registry, search, steering, stuck
from outboxd.console.renewed import LOOKS
from outboxd.console.sampler import Sampler
from outboxd.console.sessions import Sessions
from outboxd.console.visit import Console, Page, endpoint, render
from outboxd.console.words import FILTERS
from outboxd.settings import Settings

_FOLDER = Path(__file__).parent
_TIDY_SECONDS = 30
_THREADS = 12
_STOP_SECONDS = 5
_GET: dict[str, Page] = {
    "/": overview.overview,
    "/stuck": stuck.stuck,
    "/lane": stuck.lane,
    "/dead": dead.dead,
    "/message/{id}": message.message,
    "/message/{id}/payload": message.payload,
    "/go": message.go,
    "/search": search.search,
    "/types": registry.types,
    "/pause": registry.ask_pause,
    "/audit": registry.audit,
    "/ask": steering.ask,
    "/job/{name}": steering.progress,
}
_POST: dict[str, Page] = {
    "/logout": login.log_out,
    "/pause": registry.pause,
    "/act": steering.act,
    "/job/{name}/stop": steering.stop,
}


def _wait_for_threads() -> None:
    """Wait for what is under way: the process must not end, and free connections, while threads call MySQL."""
    deadline = time.monotonic() + _STOP_SECONDS
    for thread in threading.enumerate():
        if thread.name in {LOOKS, JOB}:
            thread.join(max(0, deadline - time.monotonic()))


def _version_of(folder: Path) -> str:
    """Changes with the files: their addresses have it, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def make(databases: Mapping[str, Settings], *, names: Sequence[str], cookie: str, is_secure: bool) -> Starlette:
    """The application; of several databases, each has its pages, and its logins, below a path of its own.

    names: its host names; cookie: the session's; is_secure: whether it is served by TLS.
    """
    templates = _templates()
    siblings = {name: f"/db/{name}" for name in databases} if len(databases) > 1 else {}
    consoles = [
        Console(name, siblings, Sessions(one), Sampler(), Consumers(one), templates, cookie, is_secure)
        for name, one in databases.items()
    ]
    attempts = Attempts(login.MOST)

    @asynccontextmanager
    async def tidying(_: Starlette) -> AsyncIterator[None]:
        ended = threading.Event()

        def tidy() -> None:
            while not ended.wait(_TIDY_SECONDS):
                for console in consoles:
                    console.sessions.tidy()
                memory.give_back()

        # Each thread costs memory, and more calls at once make MySQL no quicker.
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        threading.Thread(target=tidy, name="tidies", daemon=True).start()
        yield
        ended.set()
        for console in consoles:
            console.sessions.close()
        await run_in_threadpool(_wait_for_threads)

    async def first(_: Request) -> Response:
        return RedirectResponse(consoles[0].at("/"), 303)

    async def not_there(request: Request, _: Exception) -> Response:
        path = request.url.path
        console = next((one for one in consoles if path.startswith(f"{one.base}/")), consoles[0])
        return render(console, "wrong.html", 404, visit=None, text=f"there is no page {path}")

    async def failed(_request: Request, _: Exception) -> Response:
        return PlainTextResponse("the console has a fault: its log says which\n", 500)

    pages: list[BaseRoute] = [
        *([Route("/", first, methods=["GET"])] if siblings else []),
        *(Mount(console.base, routes=_routes(console, attempts)) for console in consoles if siblings),
        *(_routes(consoles[0], attempts) if not siblings else []),
    ]
    return Starlette(
        routes=[Mount("/static", StaticFiles(directory=_FOLDER / "static")), *pages],
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={404: not_there, 500: failed},
        lifespan=tidying,
    )


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(FILTERS)
    templates.globals["version"] = __version__
    templates.globals["files"] = _version_of(_FOLDER / "static")
    return templates


def _routes(console: Console, attempts: Attempts) -> list[Route]:
    """The pages of one database."""
    entering = login.Login(console, attempts)
    return [
        Route("/login", entering.show, methods=["GET"]),
        Route("/login", entering.log_in, methods=["POST"]),
        *(Route(path, endpoint(console, page), methods=["GET"]) for path, page in _GET.items()),
        *(Route(path, endpoint(console, page), methods=["POST"]) for path, page in _POST.items()),
    ]
