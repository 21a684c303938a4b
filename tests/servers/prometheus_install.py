"""Finds Prometheus and promtool, or fetches them from the distribution's packages, to check metrics and alerts."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.servers import apt, download
from tests.servers.paths import cache_dir
from tests.servers.progress import step


@dataclass(frozen=True)
class PrometheusInstall:
    """The first words of the programs' command lines."""

    prometheus: tuple[str, ...]
    promtool: tuple[str, ...]


def find() -> PrometheusInstall:
    """Return those in PATH, else those under ``.cache``, downloaded the first time.

    Raises ServerError if this is neither Debian nor Ubuntu, or if the download fails.
    """
    found = shutil.which("prometheus"), shutil.which("promtool")
    if found[0] and found[1]:
        return PrometheusInstall((found[0],), (found[1],))
    target = cache_dir() / f"prometheus-{apt.source().name}-{apt.architecture()}"
    download.once(target, _build)
    return PrometheusInstall(_command(target / "root", "prometheus"), _command(target / "root", "promtool"))


def _build(target: Path) -> None:
    """Fill `target` with unpacked packages under ``root``."""
    work = target / "apt"
    with step("reading the package archive's index"):
        config = apt.prepare(work, apt.source())
    with step("downloading Prometheus (about 45 MB)") as percent:
        apt.unpack(config, ["prometheus"], target / "root", percent)
    shutil.rmtree(work)


def _command(root: Path, program: str) -> tuple[str, ...]:
    """Started through the unpacked dynamic loader, as the machine's own C library may be older."""
    folders = [*root.glob("lib/*-linux-gnu*"), *root.glob("usr/lib/*-linux-gnu*")]
    loader = next(file for folder in folders for file in sorted(folder.glob("ld*.so.*")))
    return str(loader), "--library-path", ":".join(map(str, folders)), str(root / "usr/bin" / program)
