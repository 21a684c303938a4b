"""Lists as files: CSV for spreadsheets, JSON for programs, with the filters of the page."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from starlette.responses import Response

from outboxd.mysql.connection import Row

MOST = 10_000
"""Rows of a file at most; the page's parameter for the next page goes on behind the last."""
_PAGE = 1_000
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
    file = io.StringIO()
    if form == "csv":
        _write_csv(file, islice(rows, MOST))
    else:
        _write_json(file, islice(rows, MOST))
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    disposition = f'attachment; filename="outboxd-{name}.{form}"'
    return Response(file.getvalue(), media_type=kind, headers={"Content-Disposition": disposition})


def _write_csv(file: io.StringIO, rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.writer(file)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in _plain(row).values()])


def _write_json(file: io.StringIO, rows: Iterable[Mapping[str, Any]]) -> None:
    separator = "["
    for row in rows:
        file.write(separator)
        file.write(json.dumps(_plain(row), ensure_ascii=False))
        separator = ",\n"
    file.write("[]" if separator == "[" else "]")


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
