"""`outboxd top`: a live view of the outbox in the terminal; printed once where there is no terminal."""

import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from outboxd.commands import pauses
from outboxd.commands.options import OPERATOR, with_each
from outboxd.commands.output import cell, console, is_of_several, printable
from outboxd.mysql import views
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import MonitorProcedures
from outboxd.mysql.views import Stream
from outboxd.retry import Unavailable
from outboxd.settings import Settings

_ERRORS = 5
_ERROR_LENGTH = 200
_WIDE = 110
_TEXT_WIDTH = {"relay": 40, "last error": 24}
_OTHER_WIDTH = 9


@dataclass(slots=True)
class _Sample:
    """The rows of the views at one moment."""

    streams: dict[tuple[str, str], Stream]
    relays: list[Any]
    dead: list[Row]
    unavailable: list[Row]
    paused: list[views.Pause]
    lock_wait: tuple[str, int] | None
    failing: int
    failing_seconds: float
    now: datetime
    at: float


@click.command()
@click.option("--interval", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="seconds")
@click.option("--once", is_flag=True, help="print once, as where there is no terminal")
@with_each(*OPERATOR)
def top(settings: Settings, interval: float, once: bool) -> None:
    """Watch counts, rates, lag, relays and the last errors; q or Ctrl-C ends.

    Needs the role outbox_monitor or outbox_operator. While MySQL is away it shows what it saw last. Counting takes
    0.3 s for a million messages, so the view is renewed less often where the table is large. Of a fleet it prints all
    databases once, and is live with --database.
    """
    with MonitorProcedures(settings) as database:
        sample = _look(database)
        if once or is_of_several() or not (console.is_terminal and sys.stdin.isatty()):
            console.print(_view(settings.database, sample, None))
            return
        with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            before, away = None, ""
            while True:
                live.update(_view(settings.database, sample, before, away), refresh=True)
                took = 0 if away else time.monotonic() - sample.at
                if "q" in pressed(max(interval, 5 * took)):
                    return
                try:
                    before, sample, away = sample, _look(database), ""
                except Unavailable as error:
                    since = away.partition(":  ")[0] or f"away since {time.strftime('%H:%M:%S')}"
                    away = f"{since}:  {error}"


def _look(database: MonitorProcedures) -> _Sample:
    at = time.monotonic()
    streams = views.streams(database)
    lag = database.lag()
    return _Sample(
        streams,
        views.relays(database),
        views.latest_dead(database, _ERRORS),
        views.topics_unavailable(database),
        views.pauses(database),
        database.lock_wait(),
        lag["failing"],
        float(lag["failing_seconds"] or 0),
        views.now(database),
        at,
    )


def _view(name: str, sample: _Sample, before: _Sample | None, away: str = "") -> Group:
    return Group(
        Text.assemble(("outboxd", "bold"), f"  {name}  ", (time.strftime("%H:%M:%S"), "dim")),
        *([Text(f"MySQL is {printable(away)}", style="red")] if away else []),
        *_lock_wait(sample),
        *_unavailable(sample),
        *(Text(pauses.in_words(one), style="yellow") for one in sample.paused),
        *_failing(sample),
        _streams(sample, before),
        "",
        _relays(sample),
        "",
        _errors(sample),
    )


def _lock_wait(sample: _Sample) -> Iterator[Text]:
    if sample.lock_wait:
        state, seconds = sample.lock_wait
        yield Text(f"{state.lower()} for {seconds} s: outboxd doctor says who has it", style="red")


def _unavailable(sample: _Sample) -> Iterator[Text]:
    for row in sample.unavailable:
        what = f"Kafka takes no records for topic {printable(row['topic'])}: {printable(row['reason'])}"
        yield Text(f"{what} ({row['failures']} times in a row)", style="red")


def _failing(sample: _Sample) -> Iterator[Text]:
    if sample.failing:
        longest = f", the longest for {_seconds(sample.failing_seconds)}" if sample.failing_seconds else ""
        yield Text(f"failing: {sample.failing} wait for a retry{longest}; `outboxd failing` lists them", style="red")


def _streams(sample: _Sample, before: _Sample | None) -> Table:
    has_inbox = any(stream.origin_topic for stream in sample.streams.values())
    table = _table(
        "topic",
        *(["from"] if has_inbox else []),
        "biz_type",
        *(">pending", ">overdue", ">in flight", ">lag", ">consumed", ">dead"),
    )
    for title in ("in/s", "out/s"):
        table.add_column(title, justify="right")
    total = Stream()
    for (topic, biz_type), stream in sample.streams.items():
        earlier = before.streams.get((topic, biz_type), Stream()) if before else None
        names = [topic, *([stream.origin_topic or ""] if has_inbox else []), biz_type]
        table.add_row(*map(cell, names), *_numbers(stream), *_rates(sample, stream, before, earlier))
        total += stream
    if len(sample.streams) != 1:
        earlier = sum(before.streams.values(), Stream()) if before else None
        table.add_row(
            "all",
            *([""] if has_inbox else []),
            "",
            *_numbers(total),
            *_rates(sample, total, before, earlier),
            style="bold",
        )
    return table


def _numbers(stream: Stream) -> Iterator[str]:
    count = stream.counts.get
    yield str(count("pending", 0))
    yield _seconds(stream.overdue_seconds)
    yield str(count("published", 0))
    yield _seconds(stream.oldest_seconds)
    yield str(count("consumed", 0))
    yield f"[red]{count('dead')}[/]" if count("dead") else "0"


def _rates(sample: _Sample, now: Stream, before: _Sample | None, earlier: Stream | None) -> tuple[str, str]:
    """Messages a second that came in, and that became final; does not see what was purged meanwhile."""
    if before is None or earlier is None:
        return "", ""
    seconds = sample.at - before.at
    came = sum(now.counts.values()) - sum(earlier.counts.values())
    went = sum(now.counts.get(status, 0) - earlier.counts.get(status, 0) for status in ("consumed", "dead"))
    return f"{max(came, 0) / seconds:.1f}", f"{max(went, 0) / seconds:.1f}"


def _relays(sample: _Sample) -> Table:
    table = _table("relay", ">slots", "lease", ">backlog")
    for relay, slots, lease, backlog in sample.relays:
        ends = "" if lease is None else f"{lease:.1f} s" if lease > 0 else f"[red]ran out {_seconds(-lease)} ago[/]"
        table.add_row("[red]nobody[/]" if relay is None else cell(relay), str(slots), ends, str(backlog))
    return table


def _errors(sample: _Sample) -> Table:
    table = _table(">dead", "topic", "biz_type", "key", ">failures", "last error", ">ago")
    for row in sample.dead:
        texts = (row["topic"], row["biz_type"], row["message_key"], str(row["retry_count"]), row["last_error"] or "")
        ago = (sample.now - row["died_at"]).total_seconds()
        table.add_row(str(row["id"]), *(cell(text[:_ERROR_LENGTH]) for text in texts), _seconds(ago))
    if not sample.dead:
        table.add_row("none")
    return table


def _table(*titles: str) -> Table:
    """Numbers (their titles begin with >) are never broken; texts are cut where the terminal is narrow."""
    table = Table(box=None, expand=False, padding=(0, 1 if _is_narrow() else 2, 0, 0), title_justify="left")
    for title in titles:
        is_number = title.startswith(">")
        table.add_column(
            title.removeprefix(">"),
            justify="right" if is_number else "left",
            no_wrap=is_number or _is_narrow(),
            overflow="ellipsis" if _is_narrow() else "fold",
            max_width=None if is_number or not _is_narrow() else _TEXT_WIDTH.get(title, _OTHER_WIDTH),
        )
    return table


def _is_narrow() -> bool:
    return console.width < _WIDE


def _seconds(value: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.1f} s"


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits so many seconds for a key and returns it; restores the terminal at the end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed(seconds: float) -> str:
        return sys.stdin.read(1) if select.select([terminal], [], [], seconds)[0] else ""

    tty.setcbreak(terminal)
    try:
        yield pressed
    except KeyboardInterrupt:
        pass
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
