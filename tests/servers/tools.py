"""Programs that only check something: from PATH, or fetched from the distribution's packages without root."""

import os
import shutil
from pathlib import Path

from . import apt

_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "docker-compose": "docker-compose",
    "systemd-analyze": "systemd",
}
_ON_UBUNTU = {"docker-compose": "docker-compose-v2"}
_FOLDERS = ("usr/bin", "usr/libexec/docker/cli-plugins")


def find(program: str, *, fetch: bool = False) -> tuple[str, ...]:
    """Return the first words of the program's command line: that in PATH, else one under ``.cache``.

    What is missing is downloaded the first time; fetch asks for that even where PATH has it.
    Raises ServerError if this is neither Debian nor Ubuntu, or if the download fails.
    """
    found = shutil.which(program)
    if found and not fetch:
        return (found,)
    source = apt.source()
    package = _PACKAGES[program]
    if source.vendor == "ubuntu":
        package = _ON_UBUNTU.get(package, package)
    return _through_loader(apt.fetched(package, [package], package) / "root", program)


def _through_loader(root: Path, program: str) -> tuple[str, ...]:
    """Started through the unpacked dynamic loader, as the machine's own C library may be older."""
    folders = [folder for pattern in ("lib/*-linux-gnu*", "usr/lib/*-linux-gnu*") for folder in root.glob(pattern)]
    loader = next(file for folder in folders for file in sorted(folder.glob("ld*.so.*")))
    folders += [folder / "systemd" for folder in folders if (folder / "systemd").is_dir()]
    path = next(root / folder / program for folder in _FOLDERS if os.access(root / folder / program, os.X_OK))
    return str(loader), "--library-path", ":".join(map(str, folders)), str(path)
