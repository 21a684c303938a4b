"""The wheel: it holds all that is needed, and runs away from the checkout."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.command import Setting, environment
from tests.kit.server import SQL_FOLDER, Server, migration_files
from tests.servers.paths import CHECKOUT


def other_pythons() -> list[str]:
    """The newer interpreters that this machine has, one of each version."""
    found: dict[int, str] = {}
    for folder in (Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/*/bin")):
        for path in folder.glob("python3.*"):
            version = re.fullmatch(r"python3\.(\d+)", path.name)
            if version and int(version[1]) > sys.version_info.minor:
                found.setdefault(int(version[1]), str(path))
    return [found[minor] for minor in sorted(found)]


def pip(*arguments: str | Path) -> None:
    """Run pip, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, CHECKOUT)
    (made,) = folder.glob("*.whl")
    return made


def install(venv: Path, wheel: Path) -> None:
    """Install it with its dependencies; what is imported is compiled then."""
    pip("--python", venv / "bin" / "python", "install", "--no-compile", wheel)


def test_wheel_brings_the_schema_and_runs_away_from_the_checkout(
    tmp_path: Path, mysql_server: Server, fresh_database: str, wheel: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    install(venv, wheel)

    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}"
    settings: dict[str, Setting] = {"mysql_url": url}

    def outboxd(*arguments: str) -> str:
        command = [str(venv / "bin" / "outboxd"), *arguments]
        done = subprocess.run(
            command, env=environment(settings), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    # Without the extra.
    done = subprocess.run(
        [str(venv / "bin" / "outboxd"), "console"],
        env=environment(settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "outboxd: uvicorn is missing: pip install 'outboxd[console]'\n")
    (console,) = venv.glob("lib/*/site-packages/outboxd/console")
    for file in ("static/htmx.min.js", "static/htmx.LICENSE.txt", "static/console.css", "templates/base.html"):
        assert (console / file).is_file()

    before = outboxd("migrate", "--status").splitlines()[1:]
    assert [line.split()[1:] for line in before] == [[path.name, "missing"] for path in migration_files()]
    outboxd("migrate")
    after = outboxd("migrate", "--status").splitlines()[1:]
    assert [(line.split()[1], line.split()[-1]) for line in after] == [(path.name, "ok") for path in migration_files()]
    bundle = [str(venv / "bin" / "python"), "-m", "outboxd.schema.bundle", str(tmp_path / "build")]
    subprocess.run(bundle, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    (installed,) = venv.glob("lib/*/site-packages/outboxd/sql")
    there = {path.relative_to(installed) for path in installed.rglob("*.sql")}
    assert there == {path.relative_to(SQL_FOLDER) for path in SQL_FOLDER.rglob("*.sql")}


@pytest.mark.parametrize("python", other_pythons(), ids=lambda path: Path(path).name)
def test_daemon_runs_on_a_newer_python(
    tmp_path: Path, mysql_server: Server, fresh_database: str, wheel: Path, python: str
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    install(venv, wheel)
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}"
    done = subprocess.run(
        [str(venv / "bin" / "outboxd"), "demo", "--metrics-address", ""],
        env=environment({"mysql_url": url}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 duplicated, 0 out of order, 0 dead" in done.stdout.splitlines()[-1]
