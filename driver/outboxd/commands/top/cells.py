"""Tables of `outboxd top`, and the cells that views of one database and of many share."""

from collections.abc import Iterator

from rich.table import Table

from outboxd.commands.output import console
from outboxd.commands.top.sample import Sample
from outboxd.mysql.views import Stream

NUMBERS = (">pending", ">overdue", ">in flight", ">lag", ">consumed", ">dead", ">in/s", ">out/s")
"""The titles of what numbers() and rates() give."""
_WIDE = 110
_TEXT_WIDTH = {"relay": 40, "last error": 24, "database": 18}
_OTHER_WIDTH = 9


def numbers(stream: Stream) -> Iterator[str]:
    """The cells of a stream, or of all together."""
    count = stream.counts.get
    yield str(count("pending", 0))
    yield in_words(stream.overdue_seconds)
    yield str(count("published", 0))
    yield in_words(stream.oldest_seconds)
    yield str(count("consumed", 0))
    yield f"[red]{count('dead')}[/]" if count("dead") else "0"


def rates(sample: Sample, now: Stream, before: Sample | None, earlier: Stream | None) -> tuple[str, str]:
    """Messages a second that came in, and that became final; does not see what was purged meanwhile."""
    if before is None or earlier is None:
        return "", ""
    seconds = sample.at - before.at
    came = sum(now.counts.values()) - sum(earlier.counts.values())
    went = sum(now.counts.get(status, 0) - earlier.counts.get(status, 0) for status in ("consumed", "dead"))
    return f"{max(came, 0) / seconds:.1f}", f"{max(went, 0) / seconds:.1f}"


def table(*titles: str) -> Table:
    """Numbers (their titles begin with >) are never broken; texts are cut where the terminal is narrow."""
    made = Table(box=None, expand=False, padding=(0, 1 if _is_narrow() else 2, 0, 0), title_justify="left")
    for title in titles:
        is_number = title.startswith(">")
        made.add_column(
            title.removeprefix(">"),
            justify="right" if is_number else "left",
            no_wrap=is_number or _is_narrow(),
            overflow="ellipsis" if _is_narrow() else "fold",
            max_width=None if is_number or not _is_narrow() else _TEXT_WIDTH.get(title, _OTHER_WIDTH),
        )
    return made


def _is_narrow() -> bool:
    return console.width < _WIDE


def in_words(value: float) -> str:
    """A span of seconds."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.1f} s"
