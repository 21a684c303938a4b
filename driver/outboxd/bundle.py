"""The bundle: all migrations in one script for the mysql client, for who has nothing else.

    python -m outboxd.bundle [FOLDER]     writes FOLDER/outboxd-<version>.sql; FOLDER is build by default
    mysql DATABASE < build/outboxd-<version>.sql

A release that drops what the one before needs comes with a second script, outboxd-<version>-post.sql, which does all
that and drops it.

It installs or upgrades, may be run again at any time, and keeps outbox_migrations as `outboxd migrate` does. A routine
is created where it is missing and never replaced: its body does not change under its name. Every other statement is
put into a procedure that first looks whether its migration is in, because outside of procedures SQL has no IF.
"""

import json
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from outboxd import __version__, migrations
from outboxd.migrations import Migration

_COMMENT = r"--\s[^\n]*"
_STATEMENT = re.compile(rf"(?:{_COMMENT}|'(?:''|\\.|[^'\\])*'|[^;'])+;", re.DOTALL)
_LEADING = re.compile(rf"(?:{_COMMENT}|\s)*")
_DELIMITED = re.compile(r"^DELIMITER \$\$\n(.*?)^DELIMITER ;\n", re.DOTALL | re.MULTILINE)
_SET = re.compile(r"SET (?:NAMES|SESSION) ")
_CREATE = re.compile(r"\bCREATE (PROCEDURE|EVENT) (?:IF NOT EXISTS )?(\w+)")
_DROP = re.compile(r"DROP (?:PROCEDURE|EVENT) IF EXISTS (\w+);")
_ENTER = re.compile(r"INSERT INTO outbox_migrations \(version, file\) ")

# IF NOT EXISTS for procedures came with MySQL 8.0.29, and what stands in a comment like /*!80029 runs from there on.
_BEGIN = """\
-- outboxd {version}: everything to install or upgrade it, for MySQL 8.0.29 or newer.
--   mysql DATABASE < outboxd-{version}.sql
-- It may be run again at any time. Afterwards sql/grants.sql gives the accounts their rights.

{settings}
DROP PROCEDURE IF EXISTS outboxd_bundle_begin;
DROP PROCEDURE IF EXISTS outboxd_bundle_misses;
DROP PROCEDURE IF EXISTS outboxd_bundle_step;
DROP PROCEDURE IF EXISTS outboxd_bundle_enter;

DELIMITER $$

CREATE PROCEDURE outboxd_bundle_begin (IN p_files JSON)
COMMENT 'Refuses to begin on a server that is too old, while another migration is at work, and where files do not fit.'
BEGIN
  DECLARE v_new_enough BOOLEAN DEFAULT FALSE;
  DECLARE v_edited, v_dropped TEXT;
  DECLARE CONTINUE HANDLER FOR 1146 BEGIN END; -- there is no outbox_migrations: nothing is installed
  /*!80029 SET v_new_enough = TRUE; */
  IF NOT v_new_enough THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this script needs MySQL 8.0.29 or newer: use outboxd migrate';
  END IF;
  IF NOT COALESCE(GET_LOCK(CONCAT('outboxd ', LEFT(DATABASE(), 56)), 30), FALSE) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'another migration is at work on this database: try again later';
  END IF;
  SELECT MIN(CONCAT(f.file, ' was edited after it was applied at ', m.installed_at, ' UTC'))
    INTO v_edited
    FROM JSON_TABLE(p_files, '$[*]' COLUMNS (
           version INT UNSIGNED PATH '$[0]',
           file VARCHAR(255) PATH '$[1]',
           checksum CHAR(64) PATH '$[2]')) AS f
    JOIN outbox_migrations AS m ON m.version = f.version
   WHERE m.checksum <> f.checksum;
  IF v_edited IS NOT NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_edited;
  END IF;
  SELECT MIN(CONCAT(m.file, ' is gone, dropped by ', m.dropped_by, ': use the script that holds that file'))
    INTO v_dropped
    FROM outbox_migrations AS m
   WHERE m.dropped_by IS NOT NULL
     AND JSON_SEARCH(p_files, 'one', m.dropped_by) IS NULL;
  IF v_dropped IS NOT NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_dropped;
  END IF;
END $$

CREATE PROCEDURE outboxd_bundle_misses (IN p_version INT UNSIGNED, OUT p_missing BOOLEAN)
COMMENT 'Whether a migration is missing.'
BEGIN
  DECLARE CONTINUE HANDLER FOR 1146 BEGIN END; -- there is no outbox_migrations: everything is missing
  SET p_missing = TRUE;
  SELECT COUNT(*) = 0 INTO p_missing FROM outbox_migrations WHERE version = p_version;
END $$

CREATE PROCEDURE outboxd_bundle_enter (IN p_version INT UNSIGNED, IN p_file VARCHAR(255), IN p_checksum CHAR(64))
COMMENT 'Enters a migration, or the checksum of one that another tool has applied.'
BEGIN
  IF NOT EXISTS (SELECT 1 FROM outbox_migrations WHERE version = p_version) THEN
    INSERT INTO outbox_migrations (version, file, checksum) VALUES (p_version, p_file, p_checksum);
  ELSE
    UPDATE outbox_migrations SET checksum = p_checksum WHERE version = p_version AND checksum IS NULL;
  END IF;
END $$

DELIMITER ;

CALL outboxd_bundle_begin('[
{files}
]');

"""
_STEP = """\
DELIMITER $$

CREATE PROCEDURE outboxd_bundle_step ()
BEGIN
  DECLARE v_missing BOOLEAN;
  CALL outboxd_bundle_misses({version}, v_missing);
  IF v_missing THEN
{statements}
  END IF;
END $$

DELIMITER ;

CALL outboxd_bundle_step();
DROP PROCEDURE outboxd_bundle_step;

"""
_END = """\
DROP PROCEDURE outboxd_bundle_begin;
DROP PROCEDURE outboxd_bundle_misses;
DROP PROCEDURE outboxd_bundle_enter;
DO RELEASE_LOCK(CONCAT('outboxd ', LEFT(DATABASE(), 56)));
"""


class BundleError(Exception):
    """A migration holds what the bundle cannot make repeatable; the message names the file."""


def bundle(files: Sequence[Migration]) -> str:
    """One repeatable script of all these migrations.

    Raises BundleError where a file's block of DELIMITER $$ is neither a procedure nor an event.
    """
    names = ",\n".join(json.dumps([file.version, file.file, file.checksum]) for file in files)
    parts = [_Part(file) for file in files]
    gone = {name for part in parts for name in part.drops}
    begin = _BEGIN.format(version=__version__, settings=parts[0].settings, files=names)
    return "".join([begin, *(part.text(gone) for part in parts), _END])


def write(folder: Path, files: Sequence[Migration]) -> list[Path]:
    """Write the bundles of a release's migrations into the folder, which is made if missing; returns their paths."""
    scripts: dict[str, Sequence[Migration]] = {
        f"outboxd-{__version__}.sql": [file for file in files if not file.is_post]
    }
    if any(file.is_post for file in files):
        scripts[f"outboxd-{__version__}-post.sql"] = files
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in scripts.items():
        (folder / name).write_text(bundle(contents), encoding="utf-8")
    return [folder / name for name in scripts]


class _Part:
    """One migration, taken to pieces: what it sets, what must run once, and what it creates or drops by name."""

    def __init__(self, file: Migration) -> None:
        self.file = file
        self.settings = ""
        self.once = ""
        self.creates: dict[str, str] = {}
        drops: dict[str, str] = {}
        for body in _DELIMITED.findall(file.text):
            self._create(body, f"DELIMITER $$\n{body}DELIMITER ;\n\n")
        for match in _STATEMENT.finditer(_DELIMITED.sub("", file.text)):
            statement = match[0].strip()
            bare = _LEADING.sub("", statement, count=1)
            if _SET.match(bare):
                self.settings += f"{statement}\n"
            elif _CREATE.match(bare):
                self._create(bare, f"{statement}\n\n")
            elif drop := _DROP.match(bare):
                drops[drop[1]] = f"{drop[0]}\n\n"
            elif not _ENTER.match(bare):
                self.once += f"{statement}\n\n"
        # A file drops what it is about to create, for the sake of an attempt that was cut off; the bundle does not.
        self.drops = {name: text for name, text in drops.items() if name not in self.creates}

    def _create(self, statement: str, text: str) -> None:
        found = _CREATE.search(statement)
        if found is None:
            raise BundleError(f"{self.file.file} creates neither a procedure nor an event")
        self.creates[found[2]] = _CREATE.sub(r"CREATE \1 IF NOT EXISTS \2", text, count=1)

    def text(self, gone: Collection[str]) -> str:
        """The repeatable form, without the routines in `gone`, which a later migration drops."""
        step = _STEP.format(version=self.file.version, statements=self.once.rstrip()) if self.once else ""
        creates = "".join(text for name, text in self.creates.items() if name not in gone)
        drops = "".join(self.drops.values())
        enter = f"CALL outboxd_bundle_enter({self.file.version}, '{self.file.file}', '{self.file.checksum}');\n\n"
        return f"-- {self.file.file}\n{self.settings}\n{step}{creates}{drops}{enter}"


if __name__ == "__main__":
    for script in write(Path(sys.argv[1] if len(sys.argv) > 1 else "build"), migrations.available()):
        print(script)
