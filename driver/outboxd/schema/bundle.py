"""The bundle: all migrations in one script for the mysql client, for a DBA who has nothing else.

    python -m outboxd.schema.bundle [FOLDER]     writes FOLDER/outboxd-<version>.sql; FOLDER is build by default
    mysql DATABASE < build/outboxd-<version>.sql

A release that drops what the one before needs comes with a second script, outboxd-<version>-post.sql, which does all
that and drops it.

The script installs or upgrades, may be run again at any time, and keeps outbox_migrations as `outboxd migrate` does. It
creates a routine that is missing and never replaces one: its body does not change under its name. It puts every other
statement into a procedure that first looks whether the migration is installed, because outside of procedures SQL has
no IF.
"""

import json
import re
import sys
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path

from outboxd import __version__
from outboxd.schema import files
from outboxd.schema.files import Migration

_LEADING = r"(?:\s|--\s[^\n]*)*"
_ROUTINE = r"DELIMITER \$\$\n.*?\nDELIMITER ;"
_PLAIN = r"(?:--\s[^\n]*|'(?:''|\\.|[^'\\])*'|[^;'])+;"
_STATEMENT = re.compile(rf"{_LEADING}(?P<bare>{_ROUTINE}|{_PLAIN})", re.DOTALL)
_CREATE = re.compile(r"^CREATE (PROCEDURE|EVENT) (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
_DROP = re.compile(r"DROP (?:PROCEDURE|EVENT) IF EXISTS (\w+);")
_ENTER = "INSERT INTO outbox_migrations (version, file) "


class BundleError(Exception):
    """A migration has a statement that the bundle cannot make repeatable; the message names the file."""


def bundle(migrations: Sequence[Migration]) -> str:
    """One repeatable script of all these migrations.

    Raises BundleError where a file's block of DELIMITER $$ is neither a procedure nor an event.
    """
    parts = [_Part(migration) for migration in migrations]
    gone = {name for part in parts for name in part.drops}
    return _template("bundle.sql").format(
        version=__version__,
        settings=parts[0].settings,
        files=",\n".join(json.dumps([one.version, one.file, one.checksum]) for one in migrations),
        migrations="".join(part.text(gone) for part in parts),
    )


def write(folder: Path, migrations: Sequence[Migration]) -> list[Path]:
    """Write the bundles of a release's migrations into the folder, which is made if missing; returns their paths."""
    scripts: dict[str, Sequence[Migration]] = {
        f"outboxd-{__version__}.sql": [migration for migration in migrations if not migration.is_post]
    }
    if any(migration.is_post for migration in migrations):
        scripts[f"outboxd-{__version__}-post.sql"] = migrations
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in scripts.items():
        (folder / name).write_text(bundle(contents), encoding="utf-8")
    return [folder / name for name in scripts]


class _Part:
    """One migration, taken to pieces: what it sets, what must run once, and what it creates or drops by name."""

    def __init__(self, migration: Migration) -> None:
        self.migration = migration
        self.settings = ""
        self.once = ""
        self.creates: dict[str, str] = {}
        drops: dict[str, str] = {}
        for match in _STATEMENT.finditer(migration.text):
            statement, bare = match[0].strip(), match["bare"]
            if bare.startswith(("DELIMITER", "CREATE PROCEDURE", "CREATE EVENT")):
                created = _CREATE.search(bare)
                if created is None:
                    raise BundleError(f"{migration.file} creates neither a procedure nor an event")
                self.creates[created[2]] = _CREATE.sub(r"CREATE \1 IF NOT EXISTS \2", statement, count=1) + "\n\n"
            elif drop := _DROP.match(bare):
                drops[drop[1]] = f"{drop[0]}\n\n"
            elif bare.startswith("SET "):
                self.settings += f"{statement}\n"
            elif not bare.startswith(_ENTER):
                self.once += f"{statement}\n\n"
        # A file drops what it is about to create, in case an earlier attempt was cut off; the bundle does not.
        self.drops = {name: text for name, text in drops.items() if name not in self.creates}

    def text(self, gone: Collection[str]) -> str:
        """The repeatable form, without the routines in `gone`, which a later migration drops."""
        one = self.migration
        step = ""
        if self.once:
            step = _template("bundle_step.sql").format(version=one.version, statements=self.once.rstrip())
        creates = "".join(text for name, text in self.creates.items() if name not in gone)
        drops = "".join(self.drops.values())
        enter = f"CALL outboxd_bundle_enter({one.version}, '{one.file}', '{one.checksum}');\n\n"
        return f"-- {one.file}\n{self.settings}\n{step}{creates}{drops}{enter}"


def _template(name: str) -> str:
    return (resources.files("outboxd.schema") / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    for script in write(Path(sys.argv[1] if len(sys.argv) > 1 else "build"), files.available()):
        print(script)
