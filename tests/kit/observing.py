"""Helpers of the tests of metrics and health: what a daemon's pages say, and programs that check them."""

import functools
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.kit.application import Application
from tests.kit.command import Setting
from tests.kit.daemon import Daemon
from tests.kit.session import Session
from tests.servers import tools
from tests.servers.errors import ServerError
from tests.servers.missing import skip_or_fail

OBSERVED: dict[str, Setting] = {"metrics_address": "127.0.0.1:0", "sample_seconds": 1}
"""Settings of a daemon that is watched: its pages are on any free port."""


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP answer."""

    status: int
    text: str


def address_of(daemon: Daemon) -> str:
    """Where the daemon's pages are, once it has started."""
    daemon.says("started")
    (started,) = daemon.events("started")
    return str(started["metrics"])


def get(address: str, path: str) -> Page:
    """Fetch a page."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return Page(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.read().decode())


def samples(text: str) -> dict[str, float]:
    """What a /metrics page of one database has: 'name' or 'name{label="value"}' and the number."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(
                f'{name}="{value}"' for name, value in sorted(sample.labels.items()) if name != "database"
            )
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@dataclass(frozen=True, slots=True)
class Observed:
    """A daemon whose pages are read."""

    daemon: Daemon
    address: str

    def metrics(self) -> dict[str, float]:
        """The numbers at this moment; own ones only."""
        text = get(self.address, "/metrics").text
        return {name: value for name, value in samples(text).items() if name.startswith("outboxd_")}

    def text(self, path: str) -> str:
        """What a page says at this moment."""
        return get(self.address, path).text

    def eventually(self, condition: Callable[[dict[str, float]], bool], what: str, seconds: float = 45) -> None:
        """Wait until the metrics meet the condition."""
        self.daemon.eventually(lambda: condition(self.metrics()), what, seconds)

    def turns(self, path: str, status: int, reason: str, seconds: float = 45) -> None:
        """Wait until a page has this status and says this."""

        def answered() -> bool:
            page = get(self.address, path)
            return page.status == status and reason in page.text

        self.daemon.eventually(answered, f"{path} is {status} with {reason!r}", seconds)


def observe(daemon: Daemon) -> Observed:
    """The daemon, once it has started."""
    return Observed(daemon, address_of(daemon))


@contextmanager
def application(db: Session) -> Iterator[Application]:
    """Lend what an application adds; it is gone at the end."""
    made = Application(db)
    try:
        yield made
    finally:
        made.remove()


@functools.cache
def tool(program: str) -> tuple[str, ...]:
    """The command of a program that checks; the test is skipped where it cannot be had, but never in CI."""
    try:
        return tools.find(program)
    except ServerError as error:
        skip_or_fail(str(error))


def check(program: str, *arguments: str | Path, stdin: str = "") -> str:
    """Run a program that checks, which must find nothing to say on standard error; returns its output."""
    done = subprocess.run(
        [*tool(program), *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout
