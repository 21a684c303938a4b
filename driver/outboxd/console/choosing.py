"""Which messages a page is about: the filters in its query, the same on all pages that list dead or failing ones."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from outboxd.console.visit import Wrong
from outboxd.mysql.procedures import Filter

NAMES = ("topic", "biz_type", "key", "error", "before")
"""The fields of a Filter in a query or a form."""
PAGE = 50
"""Rows of a page."""
_HIGHEST_ID = 2**64 - 1


def which(given: Mapping[str, str]) -> Filter:
    """The filter that was given; error is a part of the text, with the wildcards % and _. Raises Wrong."""
    error = given.get("error") or None
    return Filter(
        given.get("topic") or None,
        given.get("biz_type") or None,
        given.get("key") or None,
        None if error is None else f"%{error}%",
        time(given.get("before", ""), "before"),
    )


def time(text: str, name: str) -> datetime | None:
    """A time in UTC, such as 2026-01-01 12:00; empty: None. Raises Wrong."""
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise Wrong(f"{name} is no time: write 2026-01-31 or 2026-01-31 12:00, in UTC") from None
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def number(text: str, name: str) -> int | None:
    """A number, such as an id; empty: None. Raises Wrong."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST_ID):
        raise Wrong(f"{name} is no number: {text[:40]}")
    return int(text)


def like(folded: str) -> str:
    """What finds the errors that outbox_summarize_dead_v1, or a view, shows as this one.

    A number is N there, and what is quoted left out: both may be any text.
    """
    escaped = re.sub(r"([\\%_])", r"\\\1", folded)
    return re.sub(r"%(?:\\?%)*", "%", re.sub(r"'\.\.\.'|N|…", "%", escaped)).strip("%") if escaped else ""
