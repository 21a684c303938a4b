"""Markdown: a table, plain text, and the anchor of a heading."""

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]*`)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(plain(cell) for cell in line)} |" for line in lines)


def plain(text: str) -> str:
    """Escape what Markdown would take for a tag or for the end of a cell; inside code only the latter."""
    return "".join(
        part.replace("|", r"\|") if part.startswith("`") else part.replace("<", "&lt;").replace("|", "&#124;")
        for part in _CODE.split(text)
    )


def anchor(title: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
