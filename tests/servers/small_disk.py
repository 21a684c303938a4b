"""A small file system in memory that fills up like a disk; without root where the kernel lets users mount their own."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import ServerError
from .mysql_install import MySQLInstall

_MOUNT = 'mount -t tmpfs -o "size=$2m" outboxd "$1" && echo mounted && exec cat'
_CHUNK = bytes(1 << 16)
# How to make a mount namespace, and how to enter it: as anybody, else as root.
_WAYS = (
    (("--map-root-user", "--mount"), ("--user", "--preserve-credentials", "--mount")),
    (("--mount",), ("--mount",)),
)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """Where it is, as seen from outside, and the first words of a command line that works in it."""

    path: Path
    megabytes: int
    enter: Sequence[str]

    def for_mysql(self, install: MySQLInstall, folder: Path) -> MySQLInstall:
        """The same programs, with a mysqld that can have its data there; a script in the folder starts it."""
        script = folder / "mysqld"
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*self.enter, str(install.mysqld)])} "$@"\n')
        script.chmod(0o755)
        return replace(install, mysqld=script)

    def fill(self) -> Path:
        """Write a file until nothing more goes into it; removing it makes room again.

        Raises ServerError, before it writes anything, where the path leads to another and larger file system.
        """
        size = shutil.disk_usage(self.path).total
        if size > self.megabytes << 20:
            raise ServerError(f"{self.path} is on a file system of {size >> 20} MB, not of {self.megabytes}")
        filler = self.path / "filler"
        with filler.open("ab", buffering=0) as file:
            try:
                for _ in range(size // len(_CHUNK)):
                    file.write(_CHUNK)
            except OSError:  # no space left on device
                pass
        return filler


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount one over the empty folder, in a mount namespace that a process of its own holds; nothing is left of it.

    Raises ServerError where that is not allowed.
    """
    # An absolute link on the way would lead from outside to another place than inside.
    folder = folder.resolve()
    said = ""
    for options, way_in in _WAYS:
        command = ["unshare", *options, "sh", "-c", _MOUNT, "sh", str(folder), str(megabytes)]
        try:
            holder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except FileNotFoundError:
            raise ServerError("no small disk: unshare (of util-linux) is not in PATH") from None
        with holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            said = holder.stdout.readline().strip()
            if said == "mounted":
                enter = ["nsenter", f"--target={holder.pid}", *way_in, "--"]
                try:
                    yield SmallDisk(Path(f"/proc/{holder.pid}/root{folder}"), megabytes, enter)
                finally:
                    holder.stdin.close()
                return
    raise ServerError(f"no small disk: a file system may not be mounted here ({said})")
