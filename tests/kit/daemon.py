"""The daemon, `outboxd run`, as a process that is started, watched by its log, stopped, killed and frozen."""

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.kit.command import OUTBOXD, Command, Setting, environment
from tests.kit.waiting import eventually
from tests.servers import process

QUICK = {"wait_ms": 200, "lease_seconds": 2, "stop_seconds": 3}
"""Settings of a daemon that notices soon what happens, and ends soon."""

_PATIENCE_S = 60.0
Event = dict[str, Any]


class Daemon:
    """One daemon. It may be started again: all its lives append to one log, which is read as a collector reads it."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Setting],
        arguments: Sequence[str] = (),
        *,
        command: Command = (OUTBOXD,),
        name: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """It works in the folder, where its log is; `variables` are further ones of its environment."""
        self.name = name or f"daemon-{uuid.uuid4().hex[:8]}"
        self.log_file = folder / f"{self.name}.log"
        self._folder = folder
        self._command = [*command, "run", *arguments]
        self._environment = environment(settings) | dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log_before = 0

    # The process

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """That of its present life, or of its last."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    @property
    def pid(self) -> int:
        """Of its present life."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether its process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_frozen(self) -> bool:
        """Whether its process is stopped by SIGSTOP."""
        return self.is_alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def start(self) -> None:
        """Begin a life."""
        self._launch({})

    def _launch(self, variables: Mapping[str, str]) -> None:
        self._log_before = self.log_size
        with self.log_file.open("ab") as log:
            if self._log_before:
                log.write(b"\n")  # it may have been killed in the middle of a line
                log.flush()
            self._process = subprocess.Popen(
                self._command,
                env={**self._environment, **variables},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM, as a service manager stops it."""
        self.send(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        self.send(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT; harmless where it is not frozen."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; harmless where it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float = _PATIENCE_S) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired where it does not end in time."""
        return self.process.wait(seconds)

    def wait_or_kill(self, seconds: float) -> int:
        """Its exit code, once it has ended; after so many seconds it is killed."""
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = _PATIENCE_S) -> int:
        """Send it a signal, and return its exit code, as wait() does."""
        self.send(number)
        return self.wait(seconds)

    # The log

    @property
    def log(self) -> str:
        """All that it has written."""
        return self.log_file.read_text(encoding="utf-8")

    @property
    def log_size(self) -> int:
        """How many bytes it has written."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    @property
    def log_end(self) -> str:
        """The last lines of its log."""
        return process.tail(self.log_file)

    def events(self, name: str | None = None, **members: object) -> list[Event]:
        """The log's events: all, or those of one name and with these members."""
        with self.log_file.open(encoding="utf-8", newline="\n") as lines:
            finished = [line for line in lines if line.startswith("{") and line.endswith("}\n")]
        events = (json.loads(line) for line in finished)
        return [
            event for event in events if (name is None or event["event"] == name) and members.items() <= event.items()
        ]

    def has_logged(self, name: str, since: int) -> bool:
        """Whether it has logged an event of this name since its log had so many bytes; cheaper than events()."""
        with self.log_file.open("rb") as log:
            log.seek(since)
            return f'"event": "{name}"'.encode() in log.read()

    @property
    def is_ready(self) -> bool:
        """Whether it has said in its present life that it has started: from then on SIGTERM ends it well."""
        return self.has_logged("started", self._log_before)

    # Waiting

    def eventually(self, condition: Callable[[], bool], what: str, seconds: float = _PATIENCE_S) -> None:
        """Wait until the condition holds; fail at once where the daemon has ended."""

        def must_live() -> None:
            ended = not self.is_alive
            if ended and not condition():
                raise AssertionError(f"the daemon ended with {self.process.returncode} before: {what}\n{self.log}")

        eventually(condition, seconds, what, check=must_live, pause=0.02)

    def says(self, name: str, count: int = 1, seconds: float = _PATIENCE_S, **members: object) -> None:
        """Wait until it has logged this event so many times."""
        self.eventually(lambda: len(self.events(name, **members)) >= count, f"{name} {members}", seconds)

    def outlives(self, seconds: float) -> None:
        """Let it run for so long, to see that something does not happen meanwhile."""
        try:
            code = self.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"the daemon ended with {code}\n{self.log}")


class StartDaemon(Protocol):
    """Starts a daemon with settings and arguments; it is gone when the test ends."""

    def __call__(self, *arguments: str, **settings: Setting) -> Daemon: ...


@contextmanager
def daemons(folder: Path, base: Mapping[str, Setting]) -> Iterator[StartDaemon]:
    """Lend a function that starts daemons with the base settings and further ones; all are gone at the end."""
    started: list[Daemon] = []

    def start(*arguments: str, **settings: Setting) -> Daemon:
        started.append(Daemon(folder, {**base, **settings}, arguments))
        started[-1].start()
        return started[-1]

    try:
        yield start
    finally:
        for daemon in started:
            daemon.kill()
            print(daemon.log)  # pytest shows it where the test has failed
