"""How values stand in a page: times, spans, numbers and payloads. Texts are escaped by the templates."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from outboxd.mysql.views import in_short

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s"\[\]{},:]+')
_SPANS = (("d", 86_400), ("h", 3600), ("min", 60))


def time_of(value: datetime | None) -> Markup:
    """A time of the server's; the script puts the reader's own time before it."""
    if value is None:
        return Markup("")
    iso = value.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}"><span class="utc">{:%Y-%m-%d %H:%M:%S} UTC</span></time>').format(iso, value)


def number(value: Any) -> str:
    """A count; the spaces between thousands are narrow ones that do not break."""
    return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def span(seconds: Any) -> str:
    """A span of time in its largest unit, such as 3 min."""
    value = float(seconds)
    for unit, size in _SPANS:
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def rate(value: float | None) -> str:
    """Messages a second."""
    if value is None:
        return ""
    return f"{value:.1f}" if value < 100 else number(value)


def shown(text: str) -> str:
    """A user's text, with a replacement character for each that is not printed but does something to what is.

    Line breaks and tabs stay. The payload as a file, CSV and JSON have the text as it is.
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def times(count: int, one: str, many: str = "") -> str:
    """A number of things."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def formatted(payload: str) -> str:
    """A JSON text with line breaks: the same tokens in their order, so that no digit or repeated key is lost."""
    out: list[str] = []
    depth, before = 0, ""
    for token in _TOKEN.findall(payload):
        if token in "}]" and len(token) == 1:
            depth -= 1
            if before not in ("{", "["):
                out.append("\n" + "  " * depth)
            out.append(token)
        else:
            if before in ("{", "[", ",") and before:
                out.append("\n" + "  " * depth)
            out.append(": " if token == ":" else token)
            if token in "{[" and len(token) == 1:
                depth += 1
        before = token
    return "".join(out)


def dumped(body: bytes, most: int = 4096) -> str:
    """Bytes as a dump: offset, hexadecimal digits, and what of it is text."""
    lines = []
    for start in range(0, min(len(body), most), 16):
        part = body[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):47}  {text}")
    return "\n".join(lines)


def as_json(row: Any) -> str:
    """A value as JSON text."""
    return json.dumps(row, ensure_ascii=False, indent=2, default=str)


FILTERS = {
    "time": time_of,
    "number": number,
    "span": span,
    "rate": rate,
    "times": times,
    "shown": shown,
    "in_short": in_short,
    "as_json": as_json,
}
