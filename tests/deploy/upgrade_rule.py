"""The rule of an upgrade, as a check of the files of a release: pre files only add, post files leave a trace."""

import re
from collections.abc import Iterator, Sequence

from outboxd.schema.files import Migration

_COMMENT_OR_TEXT = re.compile(r"--[ \t][^\n]*|'(?:''|\\.|[^'\\])*'")
_CREATE = re.compile(
    r"\bCREATE (?:OR REPLACE )?(?:SQL SECURITY DEFINER )?(?:PROCEDURE|VIEW|EVENT|TABLE) (?:IF NOT EXISTS )?(\w+)"
)
_DROP = re.compile(r"\bDROP (?:PROCEDURE|VIEW|EVENT|TABLE) IF EXISTS (\w+)")
_ALTER_TABLE = re.compile(r"\bALTER TABLE [^;]*;")
_CALL = re.compile(r"\bCALL (\w+)")
_TRACE = re.compile(r"UPDATE outbox_migrations SET dropped_by = '([^']*)' WHERE version (?:= (\d+)|IN \(([\d, ]+)\));")


def offences(before: Sequence[Migration], release: Sequence[Migration]) -> list[str]:
    """What breaks the rule in the files that a release adds to the ones before it, each with the file's name."""
    makers = {name: file for file in before for name in _CREATE.findall(_code(file))}
    found: list[str] = []
    for file in release:
        rule = _of_post(file, makers) if file.is_post else _of_pre(file, makers)
        found += [f"{file.file}: {what}" for what in rule]
        makers |= dict.fromkeys(_CREATE.findall(_code(file)), file)
    dropped = {name for file in [*before, *release] if file.is_post for name in _DROP.findall(_code(file))}
    left = {name: file for name, file in makers.items() if name not in dropped}
    for caller, file in left.items():
        called = sorted(dropped & set(_CALL.findall(_code(file))))
        found += [f"{file.file}: {caller} calls {name}, which is dropped" for name in called]
    return found


def _of_pre(file: Migration, makers: dict[str, Migration]) -> Iterator[str]:
    code = _code(file)
    for name in _CREATE.findall(code):
        if name in makers:
            yield f"replaces {name} of {makers[name].file}"
    for name in set(_DROP.findall(code)) - set(_CREATE.findall(code)):
        yield f"drops {name}"
    for statement in _ALTER_TABLE.findall(code):
        if word := re.search(r"\b(?:DROP|MODIFY|CHANGE|RENAME)\b", statement):
            yield f"changes a table by {word[0]}"
        if re.search(r"\bADD COLUMN [^,]*\bNOT NULL\b(?![^,]*\bDEFAULT\b)", statement):
            yield "adds a column that has to be given a value"
        if not re.search(r"\bALGORITHM = (?:INSTANT|INPLACE)\b", statement):
            yield "changes a table and does not name an online algorithm"
        yield from _patience(code)


def _of_post(file: Migration, makers: dict[str, Migration]) -> Iterator[str]:
    code, text = _code(file), file.text
    for name in _CREATE.findall(code):
        yield f"creates {name}"
    yield from _patience(code)
    traced = {
        int(version)
        for said_by, one, several in _TRACE.findall(text.partition("\nDROP ")[0])
        for version in re.findall(r"\d+", one or several)
        if said_by == file.file
    }
    for name in _DROP.findall(code):
        if name not in makers:
            yield f"drops {name}, which no file has made"
        elif makers[name].version not in traced:
            yield f"drops {name} before it has put its own name into dropped_by of version {makers[name].version}"


def _patience(code: str) -> Iterator[str]:
    if not re.search(r"\bSET SESSION lock_wait_timeout = [1-5];", code):
        yield "does not set lock_wait_timeout to 5 seconds or less"


def _code(file: Migration) -> str:
    """Without comments, and with empty texts."""
    return _COMMENT_OR_TEXT.sub(lambda found: "''" if found[0].startswith("'") else "", file.text)
