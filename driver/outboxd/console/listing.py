"""Lists as files: CSV for spreadsheets, JSON for programs, with the filters of the page."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

MOST = 10_000
"""Rows of a file at most; the page's parameter for the next page goes on behind the last."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def asked_for(form: str, name: str, rows: Sequence[Mapping[str, Any]]) -> Response:
    """The rows as a file. form: csv or json."""
    text = _csv(rows) if form == "csv" else json.dumps([_plain(row) for row in rows], ensure_ascii=False)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    disposition = f'attachment; filename="outboxd-{name}.{form}"'
    return Response(text, media_type=kind, headers={"Content-Disposition": disposition})


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    if rows:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows([_cell(value) for value in _plain(row).values()] for row in rows)
    return file.getvalue()


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
