"""The contracts of import-linter in pyproject.toml: what they find, planted into a copy of the package."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.paths import CHECKOUT


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in this folder, as `make lint` does."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, with the contracts beside it."""
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    shutil.copytree(CHECKOUT / "driver" / "outboxd", tmp_path / "outboxd")
    return tmp_path / "outboxd"


def plant(module: Path, line: str) -> None:
    """Put a line at the end of a module."""
    with module.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


def test_package_keeps_its_layers(package: Path) -> None:
    done = lint(package.parent)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("messages.py", "from outboxd.mysql import procedures", "outboxd.messages is not allowed to import"),
        ("schema/files.py", "import outboxd.daemon.relay", "outboxd.schema is not allowed to import outboxd.daemon"),
        ("kafka/client.py", "import outboxd.mysql.errors", "outboxd.kafka is not allowed to import outboxd.mysql"),
        (
            "observe/metrics.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from outboxd.daemon.publisher import Publisher",
            "outboxd.observe is not allowed to import outboxd.daemon",
        ),
    ],
    ids=["upwards", "upwards over two layers", "sideways", "upwards for a type only"],
)
def test_import_that_does_not_go_down_is_found(package: Path, module: str, line: str, found: str) -> None:
    plant(package / module, line)
    done = lint(package.parent)
    assert done.returncode == 1
    assert found in done.stdout


def test_circle_inside_a_package_is_found(package: Path) -> None:
    plant(package / "daemon" / "publisher.py", "import outboxd.daemon.relay")
    done = lint(package.parent)
    assert done.returncode == 1
    assert "no circles inside a package BROKEN" in done.stdout


def test_new_package_without_a_layer_is_found(package: Path) -> None:
    (package / "helpers.py").touch()
    done = lint(package.parent)
    assert done.returncode == 1
    assert "helpers" in done.stdout
