"""Finds what is needed to run Apache Kafka: Java and Kafka's jars, else a Docker engine."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from . import download
from .errors import ServerError
from .paths import cache_dir
from .progress import step

OLDEST_JAVA = 17
_POM = Path(__file__).with_name("pom.xml")


@dataclass(frozen=True)
class KafkaInstall:
    """How Kafka is run: by `java` with the jars in the folder `jars`, or by `docker`."""

    version: str
    java: Path | None = None
    jars: Path | None = None
    docker: Path | None = None

    @property
    def image(self) -> str:
        """The image that Docker runs."""
        return f"apache/kafka:{self.version}"


def available() -> str | None:
    """Why Kafka cannot be had on this machine, in one line, or None if it can. Downloads nothing."""
    try:
        _way()
    except ServerError as error:
        return str(error)
    return None


def find() -> KafkaInstall:
    """Return a usable Kafka; its jars are downloaded into ``.cache`` the first time.

    Raises ServerError if Java or Maven are missing and there is no Docker engine either.
    """
    way = _way()
    if way.jars is not None:
        download.once(way.jars, partial(_build, way.version))
    elif way.docker is not None:
        with step(f"pulling {way.image}"):
            if not _succeeds([str(way.docker), "pull", way.image], timeout_s=None):
                raise ServerError(f"docker could not pull {way.image}")
    return way


def kafka_version() -> str:
    """The version of Kafka that pom.xml asks for."""
    node = ElementTree.parse(_POM).find("{*}properties/{*}kafka.version")
    if node is None or not node.text:
        raise ServerError(f"{_POM.name} names no kafka.version")
    return node.text


def _way() -> KafkaInstall:
    """Choose Java if it will do, else Docker; raise ServerError with the reason against Java."""
    version = kafka_version()
    try:
        return _java_way(version)
    except ServerError as reason:
        docker = shutil.which("docker")
        if docker is not None and _succeeds([docker, "info"]):
            return KafkaInstall(version, docker=Path(docker))
        raise ServerError(f"{reason} (and no Docker engine answers)") from None


def _java_way(version: str) -> KafkaInstall:
    java = _find_java()
    jars = cache_dir() / f"kafka-{version}"
    if not jars.is_dir() and shutil.which("mvn") is None:
        raise ServerError("mvn is not in PATH: install Maven, which downloads Kafka")
    return KafkaInstall(version, java=java, jars=jars)


def _find_java() -> Path:
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = f"install Java >= {OLDEST_JAVA}, which Kafka needs"
    if found is None:
        raise ServerError(f"no java in PATH and no JAVA_HOME: {advice}")
    try:
        done = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServerError(f"{found} cannot be run ({error.strerror}): {advice}") from None
    match = re.search(r'version "(\d+)', done.stderr)  # Java 8 calls itself "1.8"
    if match is None:
        raise ServerError(f"{found} tells no version: {advice}")
    if int(match[1]) < OLDEST_JAVA:
        raise ServerError(f"{found} is Java {match[1]}, too old: {advice}")
    return Path(found)


def _succeeds(command: list[str], timeout_s: float | None = 20.0) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout_s, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _build(version: str, target: Path) -> None:
    """Copy Kafka's jars into `target` with Maven, whose output goes to a log under ``.cache``."""
    log = cache_dir() / f"kafka-{version}.log"
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    command = ["mvn", "-B", "-f", str(_POM), *goal]
    with step(f"downloading Kafka {version} with Maven (about 45 MB)"), log.open("w") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise ServerError(f"Maven could not download Kafka; its log is {log}")
