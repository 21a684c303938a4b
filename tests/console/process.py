"""`outboxd console` as a process, and what the system knows of it."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.kit.command import OUTBOXD, Setting, environment
from tests.kit.waiting import eventually


class ConsoleProcess:
    """One console."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def address(self) -> str:
        """Where it listens, as a URL without a path; waits until it does."""
        eventually(lambda: bool(self._started()), what="the console listens", check=self._check)
        return str(self._started()[0]["address"]).rstrip("/")

    @property
    def resident_mb(self) -> float:
        """Its memory."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    def stop(self) -> int:
        """End it by SIGTERM; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def _check(self) -> None:
        assert self._process.poll() is None, self.log.read_text()

    def _started(self) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "console"]


@contextmanager
def console(folder: Path, settings: Mapping[str, Setting], *arguments: str) -> Iterator[ConsoleProcess]:
    """A console on a free port, while the block runs."""
    log = folder / "console.log"
    listen = () if "--listen" in arguments else ("--listen", "127.0.0.1:0")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [OUTBOXD, "console", *listen, *arguments], env=environment(settings), cwd=folder, stdout=out, stderr=out
        )
    try:
        yield ConsoleProcess(process, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
