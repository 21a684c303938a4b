"""What a run leaves behind: a table, bench.json and bench.png."""

import importlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.targets import Judgement, Verdict

_RATES = {
    "row_at_a_time_per_s": "row at a time\n(the legacy way)",
    "end_to_end_per_s": "end to end\n(daemon and Kafka)",
    "floor_per_s": "the floor\n(plain SQL, no Kafka)",
    "floor_in_server_per_s": "the floor\n(inside the server)",
}
_QUIET_CORES = 0.1
_STYLES = {Verdict.OK: "green", Verdict.MISSED: "bold red", Verdict.NOT_JUDGED: "dim"}


def table(values: Mapping[str, Any], notes: Mapping[str, str], judgements: Mapping[str, Judgement]) -> Table:
    """A row a key: value, target, verdict, and what was measured."""
    made = Table("key", "measured", "target", "", "what")
    for key, value in values.items():
        judgement = judgements.get(key)
        measured = [_text(key, value)] + ([judgement.compared] if judgement and judgement.compared else [])
        made.add_row(
            key,
            "\n".join(measured).replace(", ", "\n"),
            judgement.target.replace(", ", ",\n") if judgement else "-",
            f"[{_STYLES[judgement.verdict]}]{judgement.verdict}[/]" if judgement else "",
            notes.get(key, ""),
        )
    return made


def footnotes(about: Mapping[str, Any], folder: Path) -> list[str]:
    """What the run was made with, in lines for people."""
    machine, versions, variables = about["machine"], about["versions"], about["mysql"]
    lines = [
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB; MySQL {versions['mysql']}, "
        f"innodb_flush_log_at_trx_commit={variables['innodb_flush_log_at_trx_commit']}, "
        f"sync_binlog={variables['sync_binlog']}, log_bin={variables['log_bin']}, a commit takes "
        f"{machine['commit_ms']} ms; Kafka {versions['kafka']}; Python {versions['python']}; "
        f"chat from {about['chat']}",
        f"bench.json and bench.png are in {folder}",
    ]
    others = machine["cores_busy_with_others"]
    if others > _QUIET_CORES:
        lines.append(f"[bold red]other programs kept {others} cores busy: on a quiet machine these figures differ[/]")
    return lines


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write bench.json."""
    path.write_text(json.dumps(content, indent=2, default=float) + "\n", encoding="utf-8")


def draw(path: Path, values: Mapping[str, Any], console: Console) -> None:
    """Draw the rates as bars and the scale as a line; says so where matplotlib is not there to do it."""
    if find_spec("matplotlib") is None:
        console.print("no bench.png: install matplotlib (dependency group bench)")
        return
    importlib.import_module("matplotlib").use("Agg")
    figure, (left, right) = importlib.import_module("matplotlib.pyplot").subplots(
        1, 2, figsize=(11, 3.6), width_ratios=(3, 2), layout="constrained"
    )
    figure.suptitle("messages per second")
    rates = {label: values[key] for key, label in _RATES.items() if key in values}
    colors = ["#2f6fde" if key == "end_to_end_per_s" else "#9aa5b1" for key in _RATES if key in values]
    bars = left.barh(list(rates), list(rates.values()), color=colors)
    left.bar_label(bars, fmt="{:,.0f}", padding=4)
    left.margins(x=0.15)
    scale = {int(processes): per_s for processes, per_s in values.get("scale", {}).items()}
    right.plot(list(scale), list(scale.values()), marker="o", color="#2f6fde")
    for processes, per_s in scale.items():
        right.annotate(f"{per_s:,.0f}", (processes, per_s), textcoords="offset points", xytext=(0, 8), ha="center")
    right.set_xticks(list(scale))
    right.margins(x=0.15)
    right.set_ylim(bottom=0, top=max(scale.values(), default=1) * 1.2)
    right.set_xlabel("daemon processes, end to end")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _text(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(key, item)}" for name, item in value.items())
    if key.endswith("_per_s") or key == "scale":
        return f"{value:,.0f}/s"
    return f"{value:.4f}" if key == "idle_cpu" else f"{value:.2f}"
