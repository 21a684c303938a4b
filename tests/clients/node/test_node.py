"""JavaScript's drivers, as their users write them."""

import shutil
from pathlib import Path

import pytest

from tests.clients.shop import CACHE, Shop, install, need

PROGRAMS = ("mysql2.js", "knex.js", "typeorm.js", "prisma.js")
_FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def project() -> Path:
    """A copy of the programs, with their packages beside them."""
    need("node", "npm")
    folder = CACHE / "node"
    has_packages = _is_installed(folder)
    shutil.copytree(_FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True)
    if not has_packages:
        install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    # Which would otherwise be downloaded, and is for migrations alone.
    engine = shutil.which("true") or "/bin/true"
    install(["npx", "prisma", "generate", "--schema", "schema.prisma"], folder, PRISMA_SCHEMA_ENGINE_BINARY=engine)
    return folder


def _is_installed(folder: Path) -> bool:
    """Whether the packages of the lock file are there: npm writes its own note of them last."""
    lock = folder / "package-lock.json"
    is_same = lock.is_file() and lock.read_bytes() == (_FOLDER / lock.name).read_bytes()
    return is_same and (folder / "node_modules" / ".package-lock.json").is_file()


@pytest.mark.parametrize("program", PROGRAMS)
def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop, project: Path, program: str) -> None:
    shop.check(["node", program], project)
