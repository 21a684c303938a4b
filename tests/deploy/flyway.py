"""Flyway: its jars by Maven, once, and its command line."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from tests.kit.server import SQL_FOLDER, Server
from tests.servers import download
from tests.servers.errors import ServerError
from tests.servers.kafka_install import _find_java
from tests.servers.paths import cache_dir
from tests.servers.progress import step

_POM = Path(__file__).with_name("pom.xml")
_SMALL = ("-Xmx256m", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True, slots=True)
class Flyway:
    """Flyway, on sql/ if nothing else is said."""

    java: Path
    jars: Path

    def run(self, command: str, server: Server, database: str, *options: str, location: Path = SQL_FOLDER) -> str:
        """Run a command of Flyway's, which must succeed; returns what it prints."""
        done = subprocess.run(
            [
                *(self.java, *_SMALL, "-cp", f"{self.jars}/*", "org.flywaydb.commandline.Main", "-skipCheckForUpdate"),
                *(f"-url=jdbc:mysql://{server.host}:{server.port}/{database}", f"-user={server.user}", "-password="),
                *(f"-locations=filesystem:{location}", *options, command),
            ],
            cwd=self.jars,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def available() -> str | None:
    """Why Flyway cannot be had on this machine, in one line, or None if it can. Downloads nothing."""
    try:
        _find_java()
    except ServerError as error:
        return str(error)
    if not _jars().is_dir() and shutil.which("mvn") is None:
        return "mvn is not in PATH: install Maven, which downloads Flyway"
    return None


def find() -> Flyway:
    """Return Flyway; its jars are downloaded into ``.cache`` the first time. Raises ServerError if that fails."""
    version = _version()
    download.once(_jars(), partial(_build, version))
    return Flyway(_find_java(), _jars())


def _version() -> str:
    node = ElementTree.parse(_POM).find("{*}properties/{*}flyway.version")
    assert node is not None
    assert node.text
    return node.text


def _jars() -> Path:
    return cache_dir() / f"flyway-{_version()}"


def _build(version: str, target: Path) -> None:
    log = cache_dir() / f"flyway-{version}.log"
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    with step(f"downloading Flyway {version} with Maven (about 10 MB)"), log.open("w") as output:
        done = subprocess.run(["mvn", "-B", "-f", _POM, *goal], stdin=subprocess.DEVNULL, stdout=output, check=False)
    if done.returncode:
        raise ServerError(f"Maven could not download Flyway; its log is {log}")
