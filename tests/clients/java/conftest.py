"""The programs, compiled, and a schema registry."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.shop import CACHE, install, need
from tests.kit.waiting import eventually
from tests.servers.process import LOOPBACK, free_port

_FOLDER = Path(__file__).parent
# The newest that runs on Java 17, which Kafka needs as well.
_REGISTRY = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"


@pytest.fixture(scope="session")
def command() -> list[str | Path]:
    """How to run a program, but for its name; they are compiled, with their jars beside them."""
    need("mvn", "javac", "java")
    folder = CACHE / "java"
    jars = folder / "jars"
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    install(["mvn", "--batch-mode", "--quiet", "--file", _FOLDER / "pom.xml", *copy], folder)
    sources = sorted((_FOLDER / "src").glob("*.java"))
    install(["javac", "-encoding", "UTF-8", "-cp", f"{jars}/*", "-d", folder / "classes", *sources], folder)
    return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{folder / 'classes'}:{jars}/*"]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a schema registry, Apicurio's, that keeps its schemas in memory."""
    need("mvn", "java")
    folder = CACHE / "registry"
    programs = list(folder.glob("*-runner.jar"))
    if not programs:
        get = ["mvn", "--batch-mode", "--quiet", f"-Dartifact={_REGISTRY}"]
        install([*get, "-Dtransitive=false", "dependency:get"], folder)
        install([*get, f"-DoutputDirectory={folder}", "dependency:unpack"], folder)
        programs = list(folder.glob("*-runner.jar"))
    port = free_port()
    small = ["-Xmx384m", "-XX:TieredStopAtLevel=1"]
    where = [f"-Dquarkus.http.port={port}", f"-Dquarkus.http.host={LOOPBACK}"]
    log = tmp_path_factory.mktemp("registry") / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(["java", *small, *where, "-jar", programs[0]], stdout=output, stderr=output) as process,
    ):
        url = f"http://{LOOPBACK}:{port}/apis/registry/v3"

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"{url}/system/info", timeout=5):
                    return True
            except (urllib.error.URLError, ConnectionError):
                return False

        try:
            eventually(answers, 120, "the registry answers", pause=0.2)
            yield url
        finally:
            process.kill()
