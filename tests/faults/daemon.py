"""A daemon with faults inside, through the launcher; see ``kit.daemon`` for what else it does."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.faults.launcher import VARIABLE, Faults
from tests.kit.command import Setting
from tests.kit.daemon import Daemon

_COMMAND = (sys.executable, "-m", "tests.faults.launcher")


class FaultyDaemon(Daemon):
    """`outboxd run`, with --only where that is given, logging debug lines; it knows whether it was told to end."""

    def __init__(self, name: str, only: str, settings: Mapping[str, Setting], faults: Faults, folder: Path) -> None:
        halves = ["--only", only] if only else []
        super().__init__(folder, settings, [*halves, "--verbose"], command=_COMMAND, name=name)
        self.only = only
        self.faults = faults
        """Those of its next life."""
        self._lives = 0
        self._is_told_to_end = True

    @property
    def ended_by_itself(self) -> bool:
        """Whether it has ended, and neither was told to nor was killed at a step by its faults."""
        return not self._is_told_to_end and not self.is_alive and not self.killed_itself

    @property
    def killed_itself(self) -> bool:
        """Whether it is dead by its faults."""
        return self.faults.kill_one_in > 0 and self.process.poll() == -signal.SIGKILL

    def start(self) -> None:
        """Begin a new life; the chance of its faults is another one each time."""
        self._lives += 1
        faults = replace(self.faults, seed=f"{self.faults.seed} {self.name} {self._lives}")
        self._launch({VARIABLE: faults.to_json()})
        self._is_told_to_end = False

    def kill(self) -> None:
        """SIGKILL; harmless where it has ended."""
        self._is_told_to_end = True
        super().kill()

    def terminate(self) -> None:
        """SIGTERM, as a service manager stops it."""
        self._is_told_to_end = True
        super().terminate()
