"""Downloads that happen once, whole or not at all."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ServerError

DISK_NEEDED = 2 * 1024**3


@contextmanager
def locked(lock_file: Path) -> Iterator[None]:
    """Hold an exclusive lock on `lock_file`, waiting for whoever holds it; a dead holder holds nothing."""
    with lock_file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require_disk(folder: Path) -> None:
    """Raise ServerError if the disk under `folder` has less room than a first set-up needs."""
    free = shutil.disk_usage(folder).free
    if free < DISK_NEEDED:
        raise ServerError(f"only {free / 1024**3:.1f} GB are free on the disk of {folder}; 2 GB are needed")


def once(target: Path, build: Callable[[Path], None]) -> Path:
    """Return the folder `target`; if it is missing, let `build` fill an empty one that then takes its name.

    The rename comes last, so a download that was cut off is never taken for a whole one, and the
    lock makes a second process wait for the first instead of downloading as well.
    Raises ServerError if the disk is too full, and whatever `build` raises.
    """
    if target.is_dir():
        return target
    with locked(target.with_name(f"{target.name}.lock")):
        if target.is_dir():
            return target
        require_disk(target.parent)
        for leftover in target.parent.glob(f"{target.name}.part-*"):
            shutil.rmtree(leftover)
        part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=target.parent))
        part.chmod(0o755)
        try:
            build(part)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target
