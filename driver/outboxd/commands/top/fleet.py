"""The view of many databases: a line for each, and what keeps the messages of some from moving."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from outboxd.commands.output import cell
from outboxd.commands.top import one
from outboxd.commands.top.cells import NUMBERS, numbers, rates, table
from outboxd.commands.top.watched import Watched


def view(databases: Sequence[Watched]) -> Group:
    """All databases, in the order of the configuration; one that never answered has no numbers."""
    return Group(
        one.title(f"{len(databases)} databases"),
        _lines(databases),
        *(
            Text.assemble((f"{watched.name}: ", "bold"), remark)
            for watched in databases
            for remark in one.remarks(watched.sample, watched.away)
        ),
    )


def _lines(databases: Sequence[Watched]) -> Table:
    rows = table("database", *NUMBERS)
    for watched in databases:
        sample, before = watched.sample, watched.before
        if sample is None:
            rows.add_row(cell(watched.name), "?", style="dim")
        else:
            earlier = before.total if before else None
            told = (*numbers(sample.total), *rates(sample, sample.total, before, earlier))
            rows.add_row(cell(watched.name), *told, style="dim" if watched.away else None)
    return rows
