"""The picture of a soak: every value over time."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from tests.soak.samples import Sample

_TITLES = {
    "memory_mib": "memory of a daemon (MiB resident)",
    "open_files": "open files of a daemon",
    "threads": "threads of a daemon",
    "sessions": "sessions of a daemon in MySQL",
    "orphans": "sessions in MySQL whose process is gone",
    "table_mib": "agent_outbox_messages (MiB)",
    "lag_s": "age of the oldest unfinished message (s)",
}


def draw(path: Path, samples: Sequence[Sample], title: str) -> None:
    """Write the PNG."""
    importlib.import_module("matplotlib").use("Agg")
    figure, axes = importlib.import_module("matplotlib.pyplot").subplots(
        2, 4, figsize=(16, 6), sharex=True, layout="constrained"
    )
    figure.suptitle(title)
    minutes = [sample.at_s / 60 for sample in samples]
    for panel, (name, text) in zip(axes.flat, _TITLES.items(), strict=False):
        panel.plot(minutes, [getattr(sample, name) for sample in samples], color="#2f6fde", linewidth=1)
        panel.set_title(text, fontsize=10)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes.flat[len(_TITLES) :]:
        panel.set_visible(False)
    for panel in axes[-1]:
        panel.set_xlabel("minutes")
    figure.savefig(path, dpi=130)
