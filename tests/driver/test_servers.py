"""The servers for development: one clear line where they cannot be had; started once, and ended exactly."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from outboxd.mysql.procedures import Database as Driver
from tests.kit.command import settings
from tests.kit.server import Server
from tests.servers import paths
from tests.servers.command import main

Refusal = Callable[..., str]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own, which shares what was downloaded and nothing else."""
    downloads = [*paths.cache_dir().glob("mysql-*-*/"), *paths.cache_dir().glob("kafka-*/")]
    cache = tmp_path / ".cache"
    cache.mkdir()
    for download in downloads:
        (cache / download.name).symlink_to(download)
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)
    return cache


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """Call the command; returns its exit code and the lines it has written to standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments: str) -> tuple[int, list[str]]:
        capfd.readouterr()
        code = main(arguments)
        return code, capfd.readouterr().err.splitlines()

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def refusal(cache: Path, command: Callable[..., tuple[int, list[str]]]) -> Refusal:
    """Call the command, which is to fail before anything is downloaded or started, and return its one line."""

    def call(*arguments: str) -> str:
        before = sorted(cache.rglob("*"))
        code, lines = command(*arguments)
        assert code == 1
        assert len(lines) == 1, lines
        started = [path for path in cache.rglob("*") if path not in before and path.name not in {"servers", "lock"}]
        assert started == []
        return lines[0]

    return call


def program(folder: Path, name: str, script: str) -> Path:
    """A program that does what the shell script says."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_taken_port_is_refused_by_number(refusal: Refusal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"port {port} " in refusal("up", "--no-kafka", "--mysql-port", port)


@pytest.mark.parametrize("wrong", ["0", "65536", "http", "-1", "٣٣٠٦"])
def test_what_is_no_port_is_wrong_usage(cache: Path, wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["up", f"--mysql-port={wrong}"])
    assert ended.value.code == 2
    assert not (cache / "servers").exists()


def test_missing_java_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    line = refusal("up")
    assert "no java in PATH" in line
    assert "install Java" in line
    assert "--no-kafka" in line


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'java version \"1.8.0_402\"' >&2", "too old"),
        ("echo 'openjdk version \"11.0.22\" 2024-01-16' >&2", "too old"),
        ("exit 1", "tells no version"),
    ],
)
def test_java_that_will_not_do_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal, script: str, reason: str
) -> None:
    java = program(tmp_path, "java", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    line = refusal("up")
    assert str(java) in line
    assert reason in line


def test_java_home_without_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere" / "bin" / "java") in refusal("up")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)'", "MariaDB"),
        ("echo '/usr/sbin/mysqld  Ver 8.0.18 for Linux on x86_64 (MySQL Community Server - GPL)'", "8.0.18, too old"),
        ("echo '/usr/sbin/mysqld  Ver 5.7.44 for Linux on x86_64 (MySQL Community Server - GPL)'", "5.7.44, too old"),
        ("echo hello", "tells no MySQL version"),
    ],
)
@pytest.mark.parametrize("found_by", ["OUTBOXD_MYSQLD", "PATH"])
def test_mysqld_that_will_not_do_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal, script: str, reason: str, found_by: str
) -> None:
    mysqld = program(tmp_path, "mysqld", script)
    monkeypatch.delenv("OUTBOXD_MYSQLD", raising=False)
    monkeypatch.setenv(found_by, str(mysqld) if found_by == "OUTBOXD_MYSQLD" else str(tmp_path))
    line = refusal("up", "--no-kafka")
    assert f"{mysqld} (from {found_by})" in line
    assert reason in line
    assert "set OUTBOXD_MYSQLD" in line


def test_mysqld_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setenv("OUTBOXD_MYSQLD", "/nowhere/mysqld")
    assert "/nowhere/mysqld (from OUTBOXD_MYSQLD) cannot be run" in refusal("up", "--no-kafka")


def test_full_disk_is_one_line_with_the_folder(monkeypatch: pytest.MonkeyPatch, cache: Path, refusal: Refusal) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10 << 30, 9 << 30, 1 << 30))
    line = refusal("up", "--no-kafka")
    assert str(cache) in line
    assert "1.0 GB" in line


def test_damaged_state_is_refused_rather_than_guessed(cache: Path, refusal: Refusal) -> None:
    (cache / "servers").mkdir()
    (cache / "servers" / "state.json").write_text('{"mysql": {"pid": 1}')
    assert "state.json is damaged" in refusal("up", "--no-kafka")
    assert "state.json is damaged" in refusal("down")


def test_down_without_servers_is_harmless(cache: Path, command: Callable[..., tuple[int, list[str]]]) -> None:
    assert command("down") == (0, [])
    assert not (cache / "servers.env").exists()


def test_up_starts_mysql_once_and_down_ends_exactly_that_process(
    cache: Path,
    command: Callable[..., tuple[int, list[str]]],
    mysql_server: Server,
) -> None:
    """With a second MySQL beside it, the one of the tests, which must live on."""
    env_file, state_file = cache / "servers.env", cache / "servers" / "state.json"
    try:
        assert command("up", "--no-kafka")[0] == 0
        first = json.loads(state_file.read_text())["mysql"]
        written = env_file.read_text()
        assert processes_of(cache) == {first["pid"]}
        url = dict(line.split("=", 1) for line in written.splitlines())["OUTBOXD_MYSQL_URL"]
        with Driver(settings(url)) as driver:
            assert driver.query("SELECT @@port") == [(first["port"],)]

        assert command("up", "--no-kafka")[0] == 0
        assert json.loads(state_file.read_text())["mysql"] == first
        assert env_file.read_text() == written
        assert processes_of(cache) == {first["pid"]}

        code, lines = command("up", "--no-kafka", "--mysql-port", str(first["port"] ^ 1))
        assert (code, len(lines)) == (1, 1)
        assert f"port {first['port']} already" in lines[0]
    finally:
        code, _ = command("down")
    assert code == 0
    assert processes_of(cache) == set()
    assert not env_file.exists()
    assert (cache / "servers" / "mysql").is_dir()
    assert command("down")[0] == 0
    with mysql_server.connect("mysql") as session:
        assert session.value("SELECT 1") == 1


def test_the_command_needs_neither_the_other_tests_nor_pytest() -> None:
    """`make demo` runs it: whoever tries the demo has not asked for the tests."""
    command = [sys.executable, "-X", "importtime", str(paths.CHECKOUT / "tests" / "servers"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "with-mysql" in done.stdout
    assert "servers" in imported
    assert not imported & {"tests", "pytest", "sql", "driver", "kit"}


def processes_of(cache: Path) -> set[int]:
    """The ids of all processes that were started on data in this cache."""
    of_cache = f"={cache}/servers/"
    processes = psutil.process_iter(["pid", "cmdline"])
    return {one.info["pid"] for one in processes if any(of_cache in word for word in one.info["cmdline"] or [])}
