"""Debian packages unpacked into a folder: apt with private state, so neither root nor an install.

apt itself checks the signature of the archive, with the keyring the machine came with.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import download
from .errors import ServerError
from .paths import cache_dir
from .progress import step

# Hooks and sandboxing of the machine's own apt configuration are meant for real installs. An empty
# dpkg status makes apt resolve every dependency, down to the C library.
_CONFIG = """\
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Etc::sourcelist "{work}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
#clear APT::Update;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear Binary::apt;
"""


@dataclass(frozen=True)
class Source:
    """What packages are taken from: some suites of the archive of a vendor (debian or ubuntu)."""

    vendor: str
    suites: tuple[str, ...]
    components: str

    @property
    def name(self) -> str:
        """A short name, for folders."""
        return f"{self.vendor}-{self.suites[0]}"


def source() -> Source:
    """What to take MySQL from: Debian's sid, or on Ubuntu the machine's own release.

    Debian's releases have only MariaDB; sid has MySQL. Raises ServerError on other systems.
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    vendor = release.get("ID", "")
    if vendor == "debian":
        return Source(vendor, ("sid",), "main")
    if vendor == "ubuntu":
        codename = release.get("VERSION_CODENAME", "")
        return Source(vendor, (codename, f"{codename}-updates"), "main universe")
    raise ServerError("no mysqld in PATH: install MySQL >= 8.0.45 or set OUTBOXD_MYSQLD to its mysqld")


def architecture() -> str:
    """This machine's architecture as dpkg calls it, such as amd64."""
    return _run(["dpkg", "--print-architecture"]).strip()


def prepare(work: Path, source: Source) -> Path:
    """Set up private apt state under `work` and fetch the package index; returns the apt configuration.

    The archive's host is the one in the machine's apt configuration: reachable and trusted already.
    Raises ServerError if the archive cannot be reached or its signature cannot be checked.
    """
    keyring = Path(f"/usr/share/keyrings/{source.vendor}-archive-keyring.gpg")
    if not keyring.is_file():
        raise ServerError(f"{keyring} is missing: install its package or set OUTBOXD_MYSQLD")
    uri = _archive_uri(source.vendor)
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    lines = [f"deb [signed-by={keyring}] {uri} {suite} {source.components}\n" for suite in source.suites]
    (work / "sources.list").write_text("".join(lines))
    config = work / "apt.conf"
    config.write_text(_CONFIG.format(work=work))
    _run(["apt-get", "-c", str(config), "-o", "APT::Update::Error-Mode=any", "update"])
    return config


def newest_package(config: Path, pattern: str) -> str:
    """The last in alphabetical order of the packages whose name matches `pattern`, or ServerError."""
    known = _run(["apt-cache", "-c", str(config), "pkgnames"]).split()
    names = [name for name in known if re.fullmatch(pattern, name)]
    if not names:
        raise ServerError(f"the machine's package archive has no {pattern}; set OUTBOXD_MYSQLD")
    return max(names)


def unpack(config: Path, packages: Sequence[str], root: Path, percent: Callable[[float], None]) -> None:
    """Download `packages` with all they depend on and unpack them under `root`.

    Raises ServerError if a package cannot be had.
    """
    read_end, write_end = os.pipe()
    arguments = ["-c", str(config), "-o", f"APT::Status-Fd={write_end}", "-y", "--download-only"]
    with subprocess.Popen(
        ["apt-get", *arguments, "install", *packages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=(write_end,),
    ) as process:
        os.close(write_end)
        with os.fdopen(read_end) as status:
            for line in status:
                if line.startswith("dlstatus:"):
                    percent(float(line.split(":")[2]))
        output = process.communicate()[0]
    if process.returncode:
        raise ServerError(f"apt-get could not download {' '.join(packages)}: {_reason(output)}")
    root.mkdir()
    for package in sorted((config.parent / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])


def fetched(name: str, packages: Sequence[str], what: str, finish: Callable[[Path], None] = lambda _: None) -> Path:
    """Return the folder of these packages under ``.cache``, unpacked in its ``root``, downloading them the first time.

    `what` names them to whoever waits, `finish` adds to the new folder. Raises ServerError where they cannot be had.
    """
    origin = source()
    target = cache_dir() / f"{name}-{origin.name}-{architecture()}"

    def build(folder: Path) -> None:
        work = folder / "apt"
        with step("reading the package archive's index"):
            config = prepare(work, origin)
        wanted = [newest_package(config, package) if "\\" in package else package for package in packages]
        with step(f"downloading {what}") as percent:
            unpack(config, wanted, folder / "root", percent)
        shutil.rmtree(work)
        finish(folder)

    return download.once(target, build)


def _archive_uri(vendor: str) -> str:
    """The address of the vendor's main archive in the machine's own apt configuration.

    The label in the archive's index decides. Where no index was ever fetched, as in a fresh
    container, the address itself has to tell.
    """
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(LABEL)"]
    for line in _run(command).splitlines():
        uri, _, label = line.partition("|")
        if label.lower() == vendor and "security" not in uri:
            return uri
    for line in _run([*command, "--no-release-info"]).splitlines():
        uri = line.partition("|")[0]
        if uri.rstrip("/").endswith((f"/{vendor}", f"/{vendor}-ports")) and "security" not in uri:
            return uri
    raise ServerError(f"apt on this machine has no {vendor} archive configured; set OUTBOXD_MYSQLD")


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ServerError(f"{command[0]} is not in PATH; set OUTBOXD_MYSQLD to a mysqld instead") from None
    if done.returncode:
        raise ServerError(f"{command[0]} failed: {_reason(done.stderr)}")
    return done.stdout


def _reason(output: str) -> str:
    """The most telling line of apt's output."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines or ["no reason given"])[0].strip()
