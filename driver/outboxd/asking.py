"""What the operator's commands do alike: take a span of time, count what matches, ask, and work in parts."""

import re
from collections.abc import Callable
from datetime import datetime

import click

from outboxd.database import Database
from outboxd.options import progress

MOST = 1_000_000  # messages that one call takes at most
_PART = 10_000  # messages in one call where there are many, so that a progress bar moves
_LONGEST = 24_855 * 86_400  # 68 years: the procedures take seconds as an INT
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

topic_option = click.option("--topic", help="only this topic")
biz_type_option = click.option("--biz-type", help="only this business type")
all_option = click.option("--all", "everything", is_flag=True, help="all of them, without a filter")
yes_option = click.option("--yes", is_flag=True, help="do not ask")


def age(text: str) -> int:
    """Seconds of a span of time such as 90s, 15m, 12h, 7d, 2w or 1d12h; the type of an option."""
    if not re.fullmatch(r"(\d+[smhdw])+", text):
        raise click.BadParameter(f"{text!r} is no age: write 90s, 15m, 12h, 7d, 2w or 1d12h")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))
    if seconds > _LONGEST:
        raise click.BadParameter(f"{text!r} is longer than {_LONGEST // 86_400}d")
    return seconds


def count_messages(database: Database, status: str, *filters: object) -> int:
    """outbox_count_v1: topic, biz_type, error_like, before, from_id, to_id, as many as are wanted."""
    return int(database.call_out("outbox_count_v1", status, *filters, *[None] * (6 - len(filters))))


def ask(database: Database, verb: str, yes: bool, status: str, *filters: object) -> int:
    """Count what matches, say so where it is nothing, and ask where it is more than one; returns the number."""
    count = count_messages(database, status, *filters)
    if count == 0:
        click.echo(f"nothing to {verb}: no {_name(status)} matches")
    elif count > 1 and not yes:
        click.confirm(f"{verb} {in_words(count, status)}?", abort=True, err=True)
    return count


def in_parts(description: str, total: int, part: Callable[[int], int]) -> int:
    """Call part with a limit until total are done, or nothing more is found; returns how many were done.

    Where a part fails or Ctrl-C ends it, says how many were done before.
    """
    done = 0
    try:
        with progress() as bar:
            task = bar.add_task(description, total=total)
            while done < total and (changed := part(min(_PART, total - done))):
                done += changed
                bar.update(task, completed=done)
    except BaseException:
        click.echo(f"cut off: {done} of {total} {description}; how much of the next part, `outboxd audit` shows")
        raise
    return done


def ago(database: Database, seconds: int) -> datetime:
    """That long ago, by the server's clock, UTC."""
    time: datetime = database.query("SELECT UTC_TIMESTAMP(6) - INTERVAL %s SECOND", seconds)[0][0]
    return time


def in_words(count: int, status: str) -> str:
    """Such as: 3 dead letters."""
    return f"{count} {_name(status)}{'' if count == 1 else 's'}"


def _name(status: str) -> str:
    return "dead letter" if status == "dead" else f"{status} message"
