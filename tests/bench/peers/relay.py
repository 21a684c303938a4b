"""A peer's relay as a process."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.bench.stage import BenchError
from tests.servers import process

_STOP_DEADLINE_S = 30


class Relay:
    """A running relay, and the most memory that it was seen with. Where it takes commands, it answers on its stdout."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str],
        name: str = "relay",
        answers: bool = False,
    ) -> None:
        self._log = folder / f"{name}.log"
        self.peak_rss = 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else log,
                stderr=log,
                text=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def check(self) -> None:
        """Note how much memory it has. Raises BenchError, with the end of its log, where it has ended."""
        if self.process.poll() is not None:
            raise BenchError(f"a relay ended with {self.process.returncode}; its log:\n{process.tail(self._log)}")
        with suppress(psutil.NoSuchProcess):
            self.peak_rss = max(self.peak_rss, psutil.Process(self.pid).memory_info().rss)

    def ask(self, line: str) -> str:
        """Give it a line, and return the one that it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        if not (answer := self.process.stdout.readline()):
            raise BenchError(f"a relay has not answered; its log:\n{process.tail(self._log)}")
        return answer

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not end it in time."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()


@contextmanager
def running(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    name: str = "relay",
    answers: bool = False,
) -> Iterator[Relay]:
    """A relay for a block."""
    relay = Relay(command, folder, environment, name, answers)
    try:
        yield relay
    finally:
        relay.stop()
