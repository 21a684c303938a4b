"""sql/REFERENCE.md: every procedure and view, from the COMMENT or the head comment of its file."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.docs.markdown import plain, table
from tests.servers.paths import CHECKOUT

_SQL = CHECKOUT / "sql"
_PROCEDURE = re.compile(
    r"^CREATE PROCEDURE (?P<name>\w+) \((?P<parameters>.*?)\)\nCOMMENT '\n(?P<comment>.*?)\n'\n",
    re.DOTALL | re.MULTILINE,
)
_VIEW = re.compile(r"^CREATE [A-Z ]*\bVIEW (?P<name>\w+)", re.MULTILINE)
_HEAD_COMMENT = re.compile(r"(?:^--.*\n)+", re.MULTILINE)
_CHARACTER_SET = re.compile(r" CHARACTER SET \w+(?: COLLATE \w+)?")
_ERROR = re.compile(r"^ +(300\d\d) (.+)$", re.MULTILINE)
_LEADING_NAME = re.compile(r"^((?:OUT |INOUT )?p_\w+(?= [A-Z])|\w+(?: \w+|, \w+)*(?= {2,}))")
_RAISE = "outbox_internal_raise_v1"

_HEAD = """\
# Reference: procedures and views

For the DBA and the application developer. Installing, upgrading and rights are in [README.md](README.md). Everything
here stands in the files under `sql/`, too; the server has the manual of each procedure in its COMMENT:

    mysql shop -Nre "SELECT routine_comment FROM information_schema.routines
                      WHERE routine_schema = DATABASE() AND routine_name = 'outbox_claim_v1'"
"""
_ERRORS = """\
Errors of outboxd have SQLSTATE 45000, one of these numbers, and a message that says what was wrong with which value. In
a stored procedure catch one with `DECLARE ... HANDLER FOR 30004`; other errors are MySQL's own."""
_INTERNAL = "Only the routines above call these; nobody needs a right on them, and they may change with any release."


@dataclass(frozen=True, slots=True)
class Routine:
    """One procedure or view as its file has it: a procedure's manual is its COMMENT, a view's stands before it."""

    name: str
    path: Path
    comment: str
    parameters: tuple[str, ...] | None

    @property
    def is_internal(self) -> bool:
        """Whether only other routines call it."""
        is_view_for_routines = self.parameters is None and "Read by:" not in self.comment
        return self.name.startswith("outbox_internal_") or is_view_for_routines

    @property
    def audience(self) -> str:
        """The folder, without its number."""
        return self.path.parent.name.partition("_")[2]

    @property
    def summary(self) -> str:
        """The first sentence of the comment, or what of it comes before a semicolon."""
        paragraph = " ".join(self.comment.partition("\n\n")[0].splitlines())
        return re.split(r"(?<=\.) |; ", paragraph)[0].rstrip(".")


def routines() -> list[Routine]:
    """Every procedure and view under sql/, in the order of the files.

    Raises ValueError naming a file of another form than the others, or a parameter that its COMMENT does not explain.
    """
    found = []
    for path in sorted(_SQL.glob("*/V*.sql"), key=lambda path: path.name):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(_SQL)
        if "CREATE PROCEDURE" in text:
            found.append(_procedure(where, text))
        elif view := _VIEW.search(text):
            found.append(_view(where, view["name"], text))
    return found


def _procedure(path: Path, text: str) -> Routine:
    match = _PROCEDURE.search(text)
    if match is None:
        raise ValueError(f"{path}: its procedure has not the form of the others, or no COMMENT")
    lines = _CHARACTER_SET.sub("", match["parameters"]).strip().splitlines()
    parameters = tuple(line.strip(" ,").removeprefix("IN ") for line in lines)
    comment = match["comment"].replace("''", "'").replace("\\\\", "\\")
    for parameter in parameters:
        if not re.search(rf"^  {re.escape(parameter)}[:,]", comment, re.MULTILINE):
            raise ValueError(f"{path}: its COMMENT has no line that begins `  {parameter}:`")
    return Routine(match["name"], path, comment, parameters)


def _view(path: Path, name: str, text: str) -> Routine:
    head = _HEAD_COMMENT.search(text)
    if head is None or not head[0].startswith(f"-- {name}: "):
        raise ValueError(f"{path}: before its view there is no comment that begins `-- {name}: `")
    comment = re.sub(r"^-- ?", "", head[0].strip(), flags=re.MULTILINE).removeprefix(f"{name}: ")
    manual, example, rest = comment.partition("\n\nExample\n")
    shown, _, _ = rest.partition("\n\n")  # below the example a view says why it is written as it is
    return Routine(name, path, manual[0].upper() + manual[1:] + example + shown, None)


def page(command: str) -> str:
    """The whole page; its first line says by which command it was made."""
    found = routines()
    return "\n".join([f"<!-- made by {command}: edit the files under sql/ instead -->", "", _HEAD, _body(found), ""])


def _body(found: Sequence[Routine]) -> str:
    public = sorted((routine for routine in found if not routine.is_internal), key=lambda routine: routine.path.parent)
    internal = [routine for routine in found if routine.is_internal]
    parts = [table(("routine", "in short"), ((f"[{r.name}](#{r.name})", r.summary) for r in public))]
    parts += ["## Errors", _ERRORS, _errors(internal)]
    for audience, group in groupby(public, key=lambda routine: routine.audience):
        parts.append(f"## {audience.capitalize()}")
        parts += [_entry(routine) for routine in group]
    parts += ["## Internal routines", _INTERNAL]
    parts.append("\n".join(f"- [{routine.name}]({routine.path}): {routine.summary}" for routine in internal))
    return "\n\n".join(parts)


def _errors(internal: Iterable[Routine]) -> str:
    (comment,) = (routine.comment for routine in internal if routine.name == _RAISE)
    return table(("number", "meaning"), _ERROR.findall(comment))


def _entry(routine: Routine) -> str:
    parts = [f"### {routine.name}"]
    if routine.parameters is not None:
        names = [re.sub(r"(p_\w+) .*", r"\1", parameter) for parameter in routine.parameters]
        parts.append(f"`{routine.name}({', '.join(names)})`")
    parts += [_block(block.splitlines()) for block in routine.comment.split("\n\n")]
    parts.append(f"[{routine.path.name}]({routine.path})")
    return "\n\n".join(parts)


def _block(lines: Sequence[str]) -> str:
    """One paragraph of a comment as Markdown: an example, or prose with a list somewhere in it."""
    if lines[0] == "Example":
        return "\n".join(["```text", *(line[2:] for line in lines[1:]), "```"])
    parts = []
    for is_list, group in groupby(lines, key=lambda line: line.startswith(" ")):
        together = list(group)
        parts.append("\n".join(_items(together)) if is_list else plain(" ".join(together)))
    label, *rest = re.split(r"(?= \()", parts[0], maxsplit=1)
    if label in {"Parameters", "Errors", "Columns"}:
        parts[0] = f"**{label}**{''.join(rest)}"
    return "\n\n".join(parts)


def _items(lines: Iterable[str]) -> Iterator[str]:
    """The indented lines of a paragraph as list items; deeper lines continue the item before them."""
    item = ""
    for line in lines:
        if line.startswith("    "):
            item += f" {plain(line.strip())}"
        elif line.startswith("  "):
            if item:
                yield item
            named = _LEADING_NAME.sub(r"`\1`", plain(line.strip()), count=1)
            item = "- " + re.sub(" +", " ", named)
    if item:
        yield item
