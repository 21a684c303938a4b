"""What a run leaves behind: a table, its Markdown for the README, bench.json and a picture."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.peers.arrived import Arrived
from tests.bench.peers.measure import Backlog, Live
from tests.bench.peers.peer import Peer

_GROUPS = ("mysqld", "broker", "relay")
_NOTHING = Arrived(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A peer, and what was measured of it; what was not is None or empty."""

    peer: Peer
    backlogs: Sequence[Backlog]
    live: Live | None
    enqueue: Mapping[str, float]
    effect: Backlog | None

    @property
    def backlog(self) -> Backlog | None:
        """The one with the median rate."""
        ordered = sorted(self.backlogs, key=lambda one: one.per_s)
        return ordered[len(ordered) // 2] if ordered else None

    @property
    def wrong(self) -> Arrived:
        """What all topics have got wrong."""
        found = [one.arrived or _NOTHING for one in self.backlogs]
        found += [self.live.arrived, self.live.concurrent] if self.live else []
        return sum(found, _NOTHING)

    def as_json(self) -> dict[str, Any]:
        """For bench.json."""
        return {
            "title": self.peer.title,
            "version": self.peer.version(),
            "settings": self.peer.settings,
            "backlog_per_s": median(one.per_s for one in self.backlogs) if self.backlogs else None,
            "samples": [asdict(one) for one in self.backlogs],
            "live": asdict(self.live) if self.live else None,
            "enqueue_us": {"client": self.peer.client, **self.enqueue},
            "effect": asdict(self.effect) if self.effect else None,
        }


_HEADS = (
    ("", "relay"),
    ("from the first record", "msg/s"),
    ("with start-up", "with start"),
    ("CPU ms per 1,000: MySQL + broker + relay", "CPU ms/1,000"),
    ("RSS, MB", "MB"),
    ("commit to topic at 200/s, p50 / p99 ms", "p50/p99 ms"),
    ("cores of mysqld / relay at 200/s", "cores"),
    ("enqueue, us: alone / of 100", "enq us"),
    ("to the effect, msg/s", "effect/s"),
    ("lost / twice / out of order", "wrong"),
)
_IN_TERMINAL = (0, 1, 2, 3, 4, 5, 9)


def _cells(row: Row) -> list[str]:
    """A row's texts, in the order of the heads."""
    backlog, live, wrong = row.backlog, row.live, row.wrong
    return [
        row.peer.title,
        f"{backlog.per_s:,.0f}" if backlog else "-",
        f"{backlog.cold_per_s:,.0f}" if backlog else "-",
        " + ".join(f"{backlog.cpu_ms[group]:,.0f}" for group in _GROUPS) if backlog else "-",
        f"{backlog.rss / 1e6:,.0f}" if backlog else "-",
        f"{live.p50:.1f} / {live.p99:.1f}" if live else "-",
        f"{live.cores['mysqld']:.2f} / {live.cores['relay']:.2f}" if live else "-",
        f"{row.enqueue['in_1']:,.0f} / {row.enqueue['in_100']:,.0f}" if row.enqueue else "-",
        f"{row.effect.per_s:,.0f}" if row.effect else "-",
        f"{wrong.lost} / {wrong.duplicated} / {wrong.out_of_order}" if wrong.messages else "-",
    ]


def table(rows: Sequence[Row]) -> Table:
    """What a terminal of 80 columns has room for."""
    made = Table(box=None, pad_edge=False, padding=(0, 1))
    for place in _IN_TERMINAL:
        made.add_column(_HEADS[place][1], justify="left" if place == 0 else "right", overflow="fold")
    for row in rows:
        cells = _cells(row)
        made.add_row(*(cells[place].replace(" + ", "+").replace(" / ", "/") for place in _IN_TERMINAL))
    return made


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The table for README.md, and what the run was made with."""
    lines = [
        "| " + " | ".join(head for head, _ in _HEADS) + " |",
        "| --- |" + " ---: |" * (len(_HEADS) - 1),
        *("| " + " | ".join(_cells(row)) + " |" for row in rows),
        "",
        footnote(about),
        "",
    ]
    versions = [f"{row.peer.title}: {row.peer.version()} ({row.peer.settings})" for row in rows]
    return "\n".join([*lines, *(f"- {line}" for line in versions), ""])


def footnote(about: Mapping[str, Any]) -> str:
    """What the run was made with."""
    machine, versions, variables = about["machine"], about["versions"], about["mysql"]
    return (
        f"{about['date']}; {about['messages']:,} messages of {about['chat']}, medians of {about['repeats']}; "
        f"{machine['cores']} cores of {machine['processor']}, {machine['cores_busy_with_others']} of them busy with "
        f"others; MySQL {versions['mysql']}, innodb_flush_log_at_trx_commit="
        f"{variables['innodb_flush_log_at_trx_commit']}, sync_binlog={variables['sync_binlog']}, a commit takes "
        f"{machine['commit_ms']} ms; Kafka {versions['kafka']}."
    )


def write(folder: Path, rows: Sequence[Row], about: Mapping[str, Any], console: Console) -> None:
    """Write peers.md, peers.png, and the key `peers` of bench.json, whose other keys stay; print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bench.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kept["peers"] = {"environment": about, **{row.peer.key: row.as_json() for row in rows}}
    file.write_text(json.dumps(kept, indent=2, default=float) + "\n", encoding="utf-8")
    (folder / "peers.md").write_text(markdown(rows, about), encoding="utf-8")
    _draw(folder / "peers.png", rows, console)
    console.print(table(rows))
    console.print("wrong: messages lost / records too many / messages out of order", highlight=False)
    console.print(footnote(about), soft_wrap=True, highlight=False)
    console.print(f"peers.md (with all columns), peers.png and bench.json are in {folder}", soft_wrap=True)


def today() -> str:
    """The date of a run."""
    return datetime.now(UTC).date().isoformat()


def _draw(path: Path, rows: Sequence[Row], console: Console) -> None:
    if find_spec("matplotlib") is None:
        console.print("no peers.png: install matplotlib (dependency group bench)")
        return
    importlib.import_module("matplotlib").use("Agg")
    figure, (left, right) = importlib.import_module("matplotlib.pyplot").subplots(
        1, 2, figsize=(11, 0.8 + 0.42 * max(len(rows), 3)), layout="constrained", sharey=True
    )
    titles = [row.peer.title for row in reversed(rows)]
    colors = ["#2f6fde" if row.peer.key.startswith("outboxd") else "#9aa5b1" for row in reversed(rows)]
    rates = [row.backlog.per_s if row.backlog else 0 for row in reversed(rows)]
    left.bar_label(left.barh(titles, rates, color=colors), fmt="{:,.0f}", padding=4)
    left.set_title("backlog to the topic, messages per second")
    p99 = [row.live.p99 if row.live else 0 for row in reversed(rows)]
    right.barh(titles, p99, color="#d5dae0")
    p50 = [row.live.p50 if row.live else 0 for row in reversed(rows)]
    labels = [f"{low:.1f} / {high:.1f}" for low, high in zip(p50, p99, strict=True)]
    right.barh(titles, p50, color=colors)
    right.bar_label(right.containers[0], labels=labels, padding=4)
    right.set_title("commit to topic at 200/s, p50 / p99 ms")
    for axes in (left, right):
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
