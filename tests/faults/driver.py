"""One daemon as a process that can be killed, frozen and started again; its log is read as a collector would."""

import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from tests.driver.support import Event, Setting, environment
from tests.faults.launcher import VARIABLE, Faults
from tests.servers import process

_STOP_DEADLINE_S = 20


class Driver:
    """`outboxd run --only ...`, through the launcher; all its lives append to one log."""

    def __init__(self, name: str, only: str, settings: Mapping[str, Setting], faults: Faults, folder: Path) -> None:
        self.name = name
        self.only = only
        self.log = folder / f"{name}.log"
        self.faults = faults
        """Those of its next life."""
        self._environment = environment(settings)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0
        self._log_before = 0
        self._is_told_to_end = True

    @property
    def pid(self) -> int:
        """Of its present life."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether its process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_stopped(self) -> bool:
        """Whether its process is frozen."""
        return self.is_alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def ended_by_itself(self) -> bool:
        """Whether it has ended, and neither was told to nor was killed at a step by its faults."""
        return not self._is_told_to_end and not self.is_alive and not self.killed_itself

    @property
    def killed_itself(self) -> bool:
        """Whether it is dead by its faults."""
        return self.faults.kill_one_in > 0 and self._process is not None and self._process.poll() == -signal.SIGKILL

    @property
    def is_ready(self) -> bool:
        """Whether it has said in its present life that it has started: from then on SIGTERM ends it well."""
        return self.has_logged("started", self._log_before)

    @property
    def log_size(self) -> int:
        """How many bytes it has logged."""
        return self.log.stat().st_size if self.log.exists() else 0

    @property
    def log_end(self) -> str:
        """The last lines of its log."""
        return process.tail(self.log)

    def start(self) -> None:
        """Begin a new life; the chance of its faults is another one each time."""
        self._lives += 1
        self._log_before = self.log_size
        faults = replace(self.faults, seed=f"{self.faults.seed} {self.name} {self._lives}")
        command = [sys.executable, "-m", "tests.faults.launcher", "run", "--only", self.only, "--verbose"]
        with self.log.open("ab") as log:
            if self._log_before:
                log.write(b"\n")  # it may have been killed in the middle of a line
                log.flush()
            self._process = subprocess.Popen(
                command,
                env={**self._environment, VARIABLE: faults.to_json()},
                cwd=self._folder,  # where no outboxd.toml is
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._is_told_to_end = False

    def kill(self) -> None:
        """SIGKILL; harmless where it has ended."""
        self._is_told_to_end = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        self._send(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT; harmless where it is not frozen."""
        self._send(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, as a service manager stops it."""
        self._is_told_to_end = True
        self._send(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code, once it has ended; it is killed after a deadline."""
        assert self._process is not None
        try:
            return self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def events(self, name: str | None = None) -> list[Event]:
        """What it has logged: everything, or the events of one name."""
        with self.log.open(encoding="utf-8") as lines:
            finished = deque(line for line in lines if line.startswith("{") and line.endswith("}\n"))
        events = (json.loads(line) for line in finished)
        return [event for event in events if name is None or event["event"] == name]

    def has_logged(self, name: str, since: int) -> bool:
        """Whether it has logged an event of this name since its log had so many bytes."""
        with self.log.open("rb") as log:
            log.seek(since)
            return f'"event": "{name}"'.encode() in log.read()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
