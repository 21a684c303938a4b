"""The migration files that this outboxd brings: V<nnn>__<name>.sql below sql/, in the order of their numbers.

Files only add, so that daemons and applications of the release before go on while they are applied. What nobody calls
any more is dropped by V<nnn>__post_<name>.sql, which is applied on demand, and enters its name into the rows of those
files whose routines are gone.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_INSIDE_PACKAGE = Path(__file__).parents[1] / "sql"
_INSIDE_CHECKOUT = Path(__file__).parents[3] / "sql"
_NAME = re.compile(r"V(\d+)__\w+\.sql")
_CREATE = re.compile(r"^CREATE (?:OR REPLACE SQL SECURITY DEFINER )?(PROCEDURE|VIEW|EVENT) (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file below sql/."""

    version: int
    path: Path

    @property
    def file(self) -> str:
        """The file's name, as in outbox_migrations."""
        return self.path.name

    @property
    def is_post(self) -> bool:
        """Whether it drops what the release before needs."""
        return "__post_" in self.file

    @property
    def text(self) -> str:
        """The file's SQL."""
        return self.path.read_text(encoding="utf-8")

    @property
    def creates(self) -> list[tuple[str, str]]:
        """Kind (PROCEDURE, VIEW or EVENT) and name of what the file makes, tables excepted."""
        return _CREATE.findall(self.text)

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, hex."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def enter_checksum(self) -> str:
        """The statement that enters this file's checksum into outbox_migrations, where there is none yet."""
        return (
            f"UPDATE outbox_migrations SET checksum = '{self.checksum}'"
            f" WHERE version = {self.version} AND checksum IS NULL;"
        )

    @property
    def script(self) -> str:
        """What applying this file executes, for the mysql client: DELIMITER included."""
        return f"{self.text}{self.enter_checksum}\n"


def available() -> list[Migration]:
    """The migrations of this package, or of the checkout from which it runs, by number."""
    return in_folder(_INSIDE_PACKAGE if _INSIDE_PACKAGE.is_dir() else _INSIDE_CHECKOUT)


def in_folder(root: Path) -> list[Migration]:
    """The migrations in the folders below root, by number."""
    found = ((_NAME.fullmatch(path.name), path) for path in root.glob("*/V*.sql"))
    return sorted((Migration(int(name[1]), path) for name, path in found if name), key=lambda m: m.version)
