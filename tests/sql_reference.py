"""Writes those parts of the READMEs that have a source: what a COMMENT, a setting or a metric says of itself.

``python -m tests.sql_reference`` rewrites them between their markers; ``--check`` changes nothing and exits 1 if one
differs.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests import reference_tables
from tests.reference_tables import plain, table

_CHECKOUT = Path(__file__).resolve().parents[1]
_SQL = Path("sql")
_DRIVER = Path("driver")
_COMMAND = "python -m tests.sql_reference"
_PROCEDURE = re.compile(
    r"^CREATE PROCEDURE (?P<name>\w+) \((?P<parameters>.*?)\)\nCOMMENT '\n(?P<comment>.*?)\n'\n",
    re.DOTALL | re.MULTILINE,
)
_VIEW = re.compile(r"^CREATE [A-Z ]*\bVIEW (?P<name>\w+)", re.MULTILINE)
_HEAD_COMMENT = re.compile(r"(?:^--.*\n)+", re.MULTILINE)
_CHARACTER_SET = re.compile(r" CHARACTER SET \w+(?: COLLATE \w+)?")
_ERROR = re.compile(r"^ +(300\d\d) (.+)$", re.MULTILINE)
_LEADING_NAME = re.compile(r"((?:OUT |INOUT )?p_\w+(?= [A-Z])|\w+(?:, \w+)*(?= {2,}))")
_RAISE = "outbox_internal_raise_v1"


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
        return self.name.startswith("outbox_internal_")

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
    for path in sorted((_CHECKOUT / _SQL).glob("*/V*.sql"), key=lambda path: path.name):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(_CHECKOUT / _SQL)
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


def sections() -> dict[tuple[Path, str], str]:
    """The text of each part, by its README and the name in its markers."""
    found = routines()
    return {
        (_SQL, "errors"): _errors(found),
        (_SQL, "routines"): _reference(found),
        (_DRIVER, "commands"): reference_tables.commands(),
        (_DRIVER, "settings"): reference_tables.settings(),
        (_DRIVER, "metrics"): reference_tables.metrics(),
        (_DRIVER, "alerts"): reference_tables.alerts(_readme(_DRIVER).read_text(encoding="utf-8")),
    }


def _errors(found: Iterable[Routine]) -> str:
    (comment,) = (routine.comment for routine in found if routine.name == _RAISE)
    return table(("number", "meaning"), _ERROR.findall(comment))


def _reference(found: Sequence[Routine]) -> str:
    public = sorted((routine for routine in found if not routine.is_internal), key=lambda routine: routine.path.parent)
    internal = [routine for routine in found if routine.is_internal]
    parts = [table(("routine", "in short"), ((f"[{r.name}](#{r.name})", r.summary) for r in public))]
    for audience, group in groupby(public, key=lambda routine: routine.audience):
        parts.append(f"### {audience.capitalize()}")
        parts += [_entry(routine) for routine in group]
    parts.append("### Internal routines")
    parts.append("Called by the routines above; nobody needs a right on them. Their files say more.")
    parts.append("\n".join(f"- [{routine.name}]({routine.path}): {routine.summary}" for routine in internal))
    return "\n\n".join(parts)


def _entry(routine: Routine) -> str:
    parts = [f"#### {routine.name}"]
    if routine.parameters is not None:
        names = [re.sub(r"(p_\w+) .*", r"\1", parameter) for parameter in routine.parameters]
        parts.append(f"`{routine.name}({', '.join(names)})`")
    parts += [_block(block.splitlines()) for block in routine.comment.split("\n\n")]
    parts.append(f"[{routine.path.name}]({routine.path})")
    return "\n\n".join(parts)


def _block(lines: Sequence[str]) -> str:
    """One paragraph of a comment as Markdown: an example, a heading with a list, or prose."""
    if lines[0] == "Example":
        return "\n".join(["```text", *(line[2:] for line in lines[1:]), "```"])
    head = plain(" ".join(line for line in lines if not line.startswith(" ")))
    items = list(_items(lines))
    if not items:
        return head
    label, *rest = re.split(r"(?= \()", head, maxsplit=1) if " " in head else [head]
    title = f"**{label}**{''.join(rest)}" if label in {"Parameters", "Errors", "Columns"} else head
    return "\n".join([title, "", *items])


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


def _readme(folder: Path) -> Path:
    return _CHECKOUT / folder / "README.md"


def _with_section(readme: str, name: str, text: str) -> str:
    """The README with this text between the markers of the section. Raises ValueError where there are none."""
    begin, end = f"<!-- {name}: made by {_COMMAND} -->\n", f"<!-- {name}: end -->"
    before, begin_found, rest = readme.partition(begin)
    _, end_found, after = rest.partition(end)
    if not (begin_found and end_found):
        raise ValueError(f"no {begin.strip()} ... {end.strip()} in it")
    return f"{before}{begin}\n{text}\n\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the sections, or with --check say which differ; returns the exit code."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a section differs")
    only_check = parser.parse_args(arguments).check
    outdated = False
    try:
        made = sections()
    except ValueError as error:
        raise SystemExit(str(error)) from None
    for (folder, name), text in made.items():
        path = _readme(folder)
        before = path.read_text(encoding="utf-8")
        try:
            after = _with_section(before, name, text)
        except ValueError as error:
            raise SystemExit(f"{path}: {error}") from None
        if before != after and only_check:
            outdated = True
            print(f"{folder}/README.md: the section {name} is outdated: run {_COMMAND}", file=sys.stderr)
        elif before != after:
            path.write_text(after, encoding="utf-8")
            print(f"{folder}/README.md: {name}")
    return int(outdated)


if __name__ == "__main__":
    sys.exit(main())
