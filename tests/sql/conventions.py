"""Checks what every file under sql/ must keep to: ``python -m tests.sql.conventions [FOLDER]``.

Prints each offence with its file, and exits 1 if there is any.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.server import SQL_FOLDER

_FILE_NAME = re.compile(r"V(?P<version>\d{4})__(?P<name>[a-z0-9_]+)\.sql")
_COMMENT_OR_TEXT = re.compile(
    r"(?P<comment>--(?:[ \t][^\n]*)?$|/\*.*?\*/)|'(?:''|\\.|[^'\\])*'", re.DOTALL | re.MULTILINE
)
_CREATE = re.compile(r"\bCREATE\s+(?:DEFINER\s*=\s*\S+\s+)?(PROCEDURE|FUNCTION|TRIGGER)\s+(\w+)")
_TEXT_TYPE = re.compile(r"\b(?:(?:VAR)?CHAR|(?:TINY|MEDIUM|LONG)?TEXT|ENUM|SET)\b")
_DECLARE = re.compile(r"\bDECLARE\s+(?P<names>\w+(?:\s*,\s*\w+)*)\s+(?P<type>\w+[^;]*);")
_COLUMN = re.compile(r"^\s+(?:ADD COLUMN )?(?P<name>[a-z_]+) +(?P<type>[A-Z].*)$", re.MULTILINE)
_TABLE = re.compile(r"^(?:CREATE|ALTER) TABLE .*?;$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Routine:
    """A procedure, taken to pieces."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    comment: str
    characteristics: str


def check(folder: Path) -> list[str]:
    """Return every offence of every SQL file below the folder that is a migration, or looks like one."""
    files = sorted(folder.glob("*/*.sql"))
    found = [f"{path.relative_to(folder)}: {what}" for path in files for what in offences(path)]
    versions = Counter(match["version"] for path in files if (match := _FILE_NAME.fullmatch(path.name)))
    return found + [f"version {version} is used {n} times" for version, n in versions.items() if n > 1]


def offences(path: Path) -> Iterator[str]:
    """Yield what is wrong with one file."""
    text = path.read_text(encoding="utf-8")
    code = _COMMENT_OR_TEXT.sub(lambda found: "" if found["comment"] else "''", text)
    name = _FILE_NAME.fullmatch(path.name)
    if name is None:
        yield "its name is not V<nnnn>__<name>.sql"
        return
    yield from _frame(path, int(name["version"]), text)
    if re.search(r"\bDEFINER\s*=", code):
        yield "has a DEFINER clause"
    if re.search(r"\bVIEW\s+\w+\s", code) and not re.search(r"\bSQL SECURITY DEFINER\s+VIEW\b", code):
        yield "its view is not SQL SECURITY DEFINER"
    if re.search(r"^\s+(?:COMMIT|ROLLBACK);", code, re.MULTILINE):
        yield "ends a transaction without AND NO CHAIN NO RELEASE, as the caller's completion_type says"
    if re.search(r"\bCEIL(?:ING)?\(.* / ", code):
        yield "rounds a quotient, whose digits are the caller's div_precision_increment: use DIV"
    yield from _tables(code)
    created = _CREATE.findall(code)
    if len(created) > 1:
        yield f"creates {len(created)} routines"
    for kind, routine in created:
        if kind != "PROCEDURE":
            yield f"{routine} is a {kind}, not a procedure"
        elif routine != f"outbox_{name['name']}":
            yield f"creates {routine}, the file's name says outbox_{name['name']}"
    if [kind for kind, _ in created] == ["PROCEDURE"]:
        yield from _routine(text, code)


def _frame(path: Path, version: int, text: str) -> Iterator[str]:
    file, hundred = path.name, path.parent.name[0]
    if path.name[2] != hundred:
        yield f"its version is not in the hundred of its folder: V.{hundred}.."
    lines = text.splitlines()
    if not lines or not re.fullmatch(r"SET NAMES utf8mb4( COLLATE \w+)?;", lines[0]):
        yield "does not begin with SET NAMES utf8mb4"
    if len(lines) < 2 or not lines[1].startswith("SET SESSION sql_mode = '"):
        yield "does not set sql_mode in its second line"
    if len(lines) < 3 or not re.fullmatch(r"SET SESSION lock_wait_timeout = [1-5];", lines[2]):
        yield "does not set lock_wait_timeout to 5 seconds or less in its third line"
    entry = f"INSERT INTO outbox_migrations (version, file) VALUES ({version}, '{file}');"
    if not lines or lines[-1] != entry:
        yield f"does not end with {entry}"
    if text.count("INSERT INTO outbox_migrations ") > 1:
        yield "enters itself twice"


def _tables(code: str) -> Iterator[str]:
    if re.search(r"\bCREATE (?:TEMPORARY )?TABLE\b(?![^;]*\) ENGINE = InnoDB ROW_FORMAT = DYNAMIC\b)", code):
        yield "creates a table without ENGINE = InnoDB ROW_FORMAT = DYNAMIC"
    for table in _TABLE.findall(code):
        for column in _COLUMN.finditer(table):
            if _lacks_character_set(column["type"]):
                yield f"column {column['name']} does not name its character set"


def _routine(text: str, code: str) -> Iterator[str]:
    routine = _parse(text)
    if not re.fullmatch(r"\w+_v[1-9]\d*", routine.name):
        yield f"{routine.name} does not end in _v<n>"
    if not re.search(r"\bSQL SECURITY DEFINER\b", routine.characteristics):
        yield "is not SQL SECURITY DEFINER"
    for name, kind in routine.parameters:
        if _lacks_character_set(kind):
            yield f"parameter {name} does not name its character set"
    for declared in _DECLARE.finditer(code):
        if _lacks_character_set(declared["type"]):
            yield f"DECLARE {declared['names']} does not name its character set"
    if not routine.comment:
        yield "has no COMMENT"
    else:
        yield from _manual(routine)


def _manual(routine: Routine) -> Iterator[str]:
    description, *_ = routine.comment.split("\n\n")
    if not re.match(r"\n(?!Parameters\b|Example\b)\S", description):
        yield "COMMENT does not begin with a description"
    explained = routine.comment.partition("\nParameters\n")[2]
    if routine.parameters and not explained:
        yield "COMMENT has no Parameters"
    for name, _ in routine.parameters:
        if explained and not re.search(rf"^  (?:OUT |INOUT )?{name}\b", explained, re.MULTILINE):
            yield f"COMMENT does not explain {name}"
    example = routine.comment.partition("\nExample\n")[2]
    if f"CALL {routine.name}(" not in example:
        yield "COMMENT has no Example that calls it"
    touches_data = not re.search(r"^NO SQL$", routine.characteristics, re.MULTILINE)
    if touches_data and "transaction" not in routine.comment.partition("\nExample\n")[0].lower():
        yield "COMMENT does not say whose transaction it is"


def _parse(text: str) -> Routine:
    begin = re.search(r"\bCREATE\s+(?:DEFINER\s*=\s*\S+\s+)?PROCEDURE\s+(\w+)\s*\(", text)
    assert begin is not None
    end = _closing(text, begin.end())
    declared = (
        re.fullmatch(r"\s*(?:(?:IN|OUT|INOUT)\s+)?(\w+)\s+(.*?)\s*", part, re.DOTALL)
        for part in re.split(r",(?![^(]*\))", text[begin.end() : end])
    )
    comment = re.match(r"\s*COMMENT\s+'((?:''|\\.|[^'\\])*)'", text[end + 1 :], re.DOTALL)
    rest = text[end + 1 + (comment.end() if comment else 0) :]
    return Routine(
        name=begin[1],
        parameters=tuple((found[1], found[2]) for found in declared if found),
        comment=comment[1] if comment else "",
        characteristics=re.split(r"^(?:\w+: )?BEGIN\b", rest, maxsplit=1, flags=re.MULTILINE)[0],
    )


def _closing(text: str, start: int) -> int:
    """Return where the parenthesis closes that was opened before the start."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise ValueError("a parenthesis is not closed")


def _lacks_character_set(kind: str) -> bool:
    return bool(_TEXT_TYPE.match(kind)) and "CHARACTER SET " not in kind


def main(arguments: Sequence[str]) -> int:
    """Check a folder, sql/ by default; return the exit code."""
    found = check(Path(arguments[0]) if arguments else SQL_FOLDER)
    for offence in found:
        print(offence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
