"""Lists as files: CSV for spreadsheets, JSON for programs, with the filters of the page."""

import csv
import io
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from outboxd.console import memory
from outboxd.mysql.connection import Row

MOST = 10_000
"""Rows of a file at most; the page's parameter for the next page goes on behind the last."""
_PAGE = 1_000
_TOGETHER = 100
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def paged(look: Callable[[int | None, int], Sequence[Row]], past: int | None) -> Iterator[Row]:
    """All rows, a page at a time, so that they are never in memory together.

    look: gets the id that the last page has ended with, None at first, and how many rows are wanted.
    """
    while True:
        rows = look(past, _PAGE)
        yield from rows
        if len(rows) < _PAGE:
            return
        past = rows[-1]["id"]


def asked_for(form: str, name: str, rows: Iterable[Mapping[str, Any]]) -> Response:
    """The first rows as a file. form: csv or json."""
    lines = _csv if form == "csv" else _json
    # All of it before any of it is sent: so it is sent with its length, and none that ends early looks complete.
    parts = deque("".join(some).encode() for some in _batched(lines(islice(rows, MOST))))
    return StreamingResponse(
        _in_turn(parts),
        media_type="text/csv; charset=utf-8" if form == "csv" else "application/json",
        headers={
            "Content-Disposition": f'attachment; filename="outboxd-{name}.{form}"',
            "Content-Length": str(sum(map(len, parts))),
        },
        background=BackgroundTask(memory.give_back),
    )


async def _in_turn(parts: deque[bytes]) -> AsyncIterator[bytes]:
    while parts:
        yield parts.popleft()


def _batched(lines: Iterator[str]) -> Iterator[list[str]]:
    while some := list(islice(lines, _TOGETHER)):
        yield some


def _csv(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in _plain(row).values()])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _json(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    separator = "["
    for row in rows:
        yield separator + json.dumps(_plain(row), ensure_ascii=False)
        separator = ",\n"
    yield "[]" if separator == "[" else "]"


def _cell(value: Any) -> Any:
    """A spreadsheet takes what begins so for a formula: an apostrophe makes it text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return value if value is None or isinstance(value, str | int | float | list | dict) else float(value)
