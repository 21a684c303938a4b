"""Peers' programs are built here once, into ``.cache/peers``, by Maven and javac or by Go."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.bench.peers.peer import Missing
from tests.bench.stage import BenchError
from tests.servers import process
from tests.servers.paths import cache_dir

_FOLDER = Path(__file__).parent
_JAVA = 17


@cache
def java(name: str) -> tuple[str | Path, ...]:
    """Build the folder's only program, in `java/<name>`; returns its command line but for the class.

    Raises Missing where Maven or a JDK is missing, BenchError where the build fails.
    """
    _need("mvn", "javac", "java")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < _JAVA:
        raise Missing(f"Java {_JAVA} or newer is needed, this is {said.splitlines()[0] if said else 'no Java'}")
    source, target = _FOLDER / "java" / name, _target(f"java-{name}")
    jars = target / "jars"
    if not (target / "pom.xml").exists() or (target / "pom.xml").read_bytes() != (source / "pom.xml").read_bytes():
        shutil.rmtree(jars, ignore_errors=True)
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        _run(["mvn", "--batch-mode", "--quiet", "--file", source / "pom.xml", *copy], target)
        shutil.copy(source / "pom.xml", target)
    sources = sorted(source.glob("*.java"))
    _run(["javac", "-encoding", "UTF-8", "-cp", f"{jars}/*", "-d", target / "classes", *sources], target)
    # Maven has no other way to say quietly that the log of a library is wanted on stderr only where it matters.
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ("java", "-Xmx512m", quiet, "-cp", f"{target / 'classes'}{os.pathsep}{jars}/*")


@cache
def go(name: str) -> Path:
    """Build the program in `go/<name>`; returns its path. Raises Missing without Go, BenchError where it fails."""
    _need("go")
    target = _target("go") / name
    _run(["go", "build", "-o", target, f"./{name}"], target.parent, _FOLDER / "go")
    return target


def java_version(name: str, artifact: str) -> str:
    """The version of an artifact that `java/<name>/pom.xml` asks for."""
    pom = (_FOLDER / "java" / name / "pom.xml").read_text(encoding="utf-8")
    return str(re.findall(rf"<artifactId>{artifact}</artifactId>\s*<version>([^<]+)", pom)[0])


def go_version(module: str) -> str:
    """The version of a module that go.mod asks for."""
    found = re.findall(rf"{re.escape(module)} v(\S+)", (_FOLDER / "go" / "go.mod").read_text(encoding="utf-8"))
    return str(found[0])


def _need(*programs: str) -> None:
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise Missing(f"{', '.join(missing)} is not in PATH")


def _target(name: str) -> Path:
    folder = cache_dir() / "peers" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(command: list[str | Path], log_folder: Path, folder: Path | None = None) -> None:
    log = log_folder / "build.log"
    with log.open("wb") as output:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    if done.returncode:
        raise BenchError(f"{command[0]} failed:\n{process.tail(log)}")
