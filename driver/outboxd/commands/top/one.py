"""The view of one database: its streams, relays and last errors."""

import time
from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from outboxd.commands import pauses
from outboxd.commands.output import cell, printable
from outboxd.commands.top.cells import NUMBERS, in_words, numbers, rates, table
from outboxd.commands.top.sample import Sample
from outboxd.mysql.views import Stream

_ERROR_LENGTH = 200


def view(name: str, sample: Sample, before: Sample | None, away: str = "") -> Group:
    """Streams, relays and the last errors of a database; away: since when and why MySQL does not answer."""
    return Group(
        title(name),
        *remarks(sample, away),
        _streams(sample, before),
        "",
        _relays(sample),
        "",
        _errors(sample),
    )


def title(name: str) -> Text:
    """The first line."""
    return Text.assemble(("outboxd", "bold"), f"  {name}  ", (time.strftime("%H:%M:%S"), "dim"))


def remarks(sample: Sample | None, away: str) -> Iterator[Text]:
    """What keeps messages from moving."""
    if away:
        yield Text(f"MySQL is {printable(away)}", style="red")
    if sample:
        yield from _lock_wait(sample)
        yield from _unavailable(sample)
        yield from (Text(pauses.in_words(one), style="yellow") for one in sample.paused)
        yield from _failing(sample)


def _lock_wait(sample: Sample) -> Iterator[Text]:
    if sample.lock_wait:
        state, seconds = sample.lock_wait
        yield Text(f"{state.lower()} for {seconds} s: outboxd doctor says who has it", style="red")


def _unavailable(sample: Sample) -> Iterator[Text]:
    for row in sample.unavailable:
        what = f"Kafka takes no records for topic {printable(row['topic'])}: {printable(row['reason'])}"
        yield Text(f"{what} ({row['failures']} times in a row)", style="red")


def _failing(sample: Sample) -> Iterator[Text]:
    if sample.failing:
        longest = f", the longest for {in_words(sample.failing_seconds)}" if sample.failing_seconds else ""
        yield Text(f"failing: {sample.failing} wait for a retry{longest}; `outboxd failing` lists them", style="red")


def _streams(sample: Sample, before: Sample | None) -> Table:
    has_inbox = any(stream.origin_topic for stream in sample.streams.values())
    rows = table(
        "topic",
        *(["from"] if has_inbox else []),
        "biz_type",
        *NUMBERS,
    )
    for (topic, biz_type), stream in sample.streams.items():
        earlier = before.streams.get((topic, biz_type), Stream()) if before else None
        names = [topic, *([stream.origin_topic or ""] if has_inbox else []), biz_type]
        rows.add_row(*map(cell, names), *numbers(stream), *rates(sample, stream, before, earlier))
    if len(sample.streams) != 1:
        total, earlier = sample.total, before.total if before else None
        rows.add_row(
            "all",
            *([""] if has_inbox else []),
            "",
            *numbers(total),
            *rates(sample, total, before, earlier),
            style="bold",
        )
    return rows


def _relays(sample: Sample) -> Table:
    rows = table("relay", ">slots", "lease", ">backlog")
    for relay, slots, lease, backlog in sample.relays:
        ends = "" if lease is None else f"{lease:.1f} s" if lease > 0 else f"[red]ran out {in_words(-lease)} ago[/]"
        rows.add_row("[red]nobody[/]" if relay is None else cell(relay), str(slots), ends, str(backlog))
    return rows


def _errors(sample: Sample) -> Table:
    rows = table(">dead", "topic", "biz_type", "key", ">failures", "last error", ">ago")
    for row in sample.dead:
        texts = (row["topic"], row["biz_type"], row["message_key"], str(row["retry_count"]), row["last_error"] or "")
        ago = (sample.now - row["died_at"]).total_seconds()
        rows.add_row(str(row["id"]), *(cell(text[:_ERROR_LENGTH]) for text in texts), in_words(ago))
    if not sample.dead:
        rows.add_row("none")
    return rows
