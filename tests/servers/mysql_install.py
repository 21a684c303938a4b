"""Finds a usable MySQL, or fetches one from the distribution's packages."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import apt, download, wrappers
from .errors import ServerError
from .paths import cache_dir

OLDEST = (8, 0, 45)
_CLIENTS = ("mysqladmin", "mysql")


@dataclass(frozen=True)
class MySQLInstall:
    """MySQL's programs (all of them wrappers, see ``wrappers``) and its version."""

    mysqld: Path
    mysqld_safe: Path
    mysqladmin: Path
    mysql: Path
    version: tuple[int, int, int]


def find() -> MySQLInstall:
    """Return $OUTBOXD_MYSQLD, else the mysqld in PATH, else one fetched into ``.cache``.

    ``OUTBOXD_MYSQLD=fetch`` asks for the fetched one even where PATH has a mysqld, which may be
    MariaDB or, on Ubuntu, confined by AppArmor to the system's own data folder.
    Raises ServerError if what was found is no MySQL, is too old, or if nothing can be fetched.
    """
    wish = os.environ.get("OUTBOXD_MYSQLD", "")
    found = shutil.which("mysqld")
    if wish and wish != "fetch":
        return _use_installed(Path(wish).absolute(), "OUTBOXD_MYSQLD")
    if found and not wish:
        return _use_installed(Path(found).absolute(), "PATH")
    return fetch()


def fetch() -> MySQLInstall:
    """Return the MySQL under ``.cache``, downloading it the first time.

    Raises ServerError if this is neither Debian nor Ubuntu, or if the download fails.
    """
    packages = ["mysql-server-core", "mysql-client-core"]
    if apt.source().vendor == "ubuntu":
        packages = [rf"{name}-8\.\d" for name in packages]
    target = apt.fetched("mysql", packages, "MySQL (about 70 MB)", _write_wrappers)
    return _install_in(target / "bin", "the package archive")


def read_version(mysqld: Path, origin: str) -> tuple[int, int, int]:
    """Ask `mysqld` for its version; `origin` says in errors where it was found.

    Raises ServerError for a program that cannot run, for MariaDB and for versions before OLDEST.
    """
    try:
        command = [str(mysqld), "--no-defaults", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServerError(f"{mysqld} (from {origin}) cannot be run: {error.strerror}") from None
    advice = "set OUTBOXD_MYSQLD to a mysqld of MySQL >= 8.0.45, or to `fetch` for a private one"
    if "mariadb" in done.stdout.lower():
        raise ServerError(f"{mysqld} (from {origin}) is MariaDB, not MySQL; {advice}")
    match = re.search(r"\bVer (\d+)\.(\d+)\.(\d+)", done.stdout)
    if match is None:
        raise ServerError(f"{mysqld} (from {origin}) tells no MySQL version; {advice}")
    version = (int(match[1]), int(match[2]), int(match[3]))
    if version < OLDEST:
        raise ServerError(f"{mysqld} (from {origin}) is MySQL {'.'.join(match.groups())}, too old; {advice}")
    return version


def _use_installed(mysqld: Path, origin: str) -> MySQLInstall:
    """Wrap the programs of an installed MySQL; the wrappers lie in a folder named after its path."""
    read_version(mysqld, origin)
    clients = {name: _client(name, mysqld) for name in _CLIENTS}
    digest = hashlib.sha256(str(mysqld).encode()).hexdigest()[:8]
    folder = cache_dir() / f"mysql-installed-{digest}" / "bin"
    with download.locked(cache_dir() / f"mysql-installed-{digest}.lock"):
        wrappers.write(wrappers.installed(mysqld, clients), folder)
    return _install_in(folder, origin)


def _client(name: str, mysqld: Path) -> Path:
    """The client program that belongs to `mysqld`: beside it, or the one in PATH."""
    beside = mysqld.with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise ServerError(f"{name} is neither beside {mysqld} nor in PATH; install MySQL's client programs")
    return Path(found).absolute()


def _install_in(folder: Path, origin: str) -> MySQLInstall:
    mysqld = folder / "mysqld"
    version = read_version(mysqld, origin)
    return MySQLInstall(mysqld, folder / "mysqld_safe", folder / "mysqladmin", folder / "mysql", version)


def _write_wrappers(target: Path) -> None:
    wrappers.write(wrappers.unpacked(target / "root"), target / "bin")
