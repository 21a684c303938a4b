"""One run: every measurement that was asked for, then the report."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.bench import (
    by_reference,
    claim_growth,
    cpu,
    drain,
    end_to_end,
    enqueue_batch,
    enqueue_overhead,
    environment,
    fleet,
    floor,
    growth,
    idle_cpu,
    inbox,
    isolation,
    latency,
    live,
    report,
    row_at_a_time,
    scale,
    size_growth,
    slow_lane,
)
from tests.bench.measurement import Measurement, Result
from tests.bench.sizes import Sizes
from tests.bench.stage import Stage, prepare, throwaway_servers
from tests.bench.targets import Judgement, Verdict, judge
from tests.kit import chat
from tests.servers.throwaway import Servers

MEASUREMENTS: tuple[Measurement, ...] = (
    floor.MEASUREMENT,
    floor.IN_SERVER,
    row_at_a_time.MEASUREMENT,
    end_to_end.MEASUREMENT,
    latency.MEASUREMENT,
    live.MEASUREMENT,
    claim_growth.MEASUREMENT,
    size_growth.MEASUREMENT,
    enqueue_overhead.MEASUREMENT,
    enqueue_batch.MEASUREMENT,
    by_reference.MEASUREMENT,
    inbox.MEASUREMENT,
    idle_cpu.MEASUREMENT,
    isolation.MEASUREMENT,
    scale.MEASUREMENT,
    growth.MEASUREMENT,
    slow_lane.MEASUREMENT,
    fleet.IDLE,
    fleet.SHARDS,
)


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, how, and where to put the report."""

    keys: Sequence[str]
    sizes: Sizes
    judged: bool
    settings: dict[str, str]
    chat_file: Path
    folder: Path


def run(
    options: Options, console: Console, servers: Callable[[], AbstractContextManager[Servers]] = throwaway_servers
) -> bool:
    """Measure, print the table, write bench.json and bench.png; returns whether no target was missed."""
    wanted = [measurement for measurement in MEASUREMENTS if set(measurement.keys) & set(options.keys)]
    sizes = options.sizes
    messages = chat.read(options.chat_file, sizes.chat)
    steps = sum(sizes.repeats if measurement.repeated else 1 for measurement in wanted) + 1
    with _progress(steps) as (say, advance):
        say("starting MySQL and Kafka")
        with servers() as running:
            say("installing the schema, loading the chat, warming up")
            stage = prepare(running, sizes, messages, options.settings)
            if sizes.warm_up:
                drain.run(stage, sizes.warm_up)
            about = environment.describe(stage, options.chat_file, options.keys)
            advance()
            pids = (stage.mysql.pid, stage.kafka.pid)
            before = cpu.ours(pids)
            results = _measure(stage, wanted, say, advance)
            about["machine"]["cores_busy_with_others"] = round(cpu.by_others(before, cpu.ours(pids)), 2)
    return _report(options, results, about, console)


def _report(options: Options, results: Sequence[Result], about: dict[str, Any], console: Console) -> bool:
    values = {key: value for result in results for key, value in result.values.items() if key in options.keys}
    notes = {key: note for result in results for key, note in result.notes.items()}
    details = {key: detail for result in results for key, detail in result.details.items()}
    judgements = _judge(values, details) if options.judged else {}
    verdicts = {key: asdict(judgement) for key, judgement in judgements.items()}
    options.folder.mkdir(parents=True, exist_ok=True)
    content = {**values, "verdicts": verdicts, "environment": about, "details": details}
    report.write_json(options.folder / "bench.json", content)
    report.draw(options.folder / "bench.png", values, console)
    console.print(report.table(values, notes, judgements))
    for line in report.footnotes(about, options.folder):
        console.print(line, soft_wrap=True, highlight=False)
    return all(judgement.verdict != Verdict.MISSED for judgement in judgements.values())


def _measure(
    stage: Stage, wanted: Sequence[Measurement], say: Callable[[str], None], advance: Callable[[], None]
) -> list[Result]:
    samples: dict[str, list[Any]] = {measurement.title: [] for measurement in wanted}
    for turn in range(stage.sizes.repeats):
        for measurement in wanted:
            if turn == 0 or measurement.repeated:
                say(f"{measurement.title}{f' ({turn + 1} of {stage.sizes.repeats})' if measurement.repeated else ''}")
                samples[measurement.title].append(measurement.sample(stage))
                advance()
    return [measurement.summarise(samples[measurement.title]) for measurement in wanted]


def _judge(values: dict[str, Any], details: dict[str, Any]) -> dict[str, Judgement]:
    judged = {key: judge(key, values, details) for key in values}
    return {key: judgement for key, judgement in judged.items() if judgement is not None}


@contextmanager
def _progress(steps: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Say what is under way: a moving line on a terminal, plain lines elsewhere; on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: print(f"bench: {text} ...", file=sys.stderr, flush=True), lambda: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Few refreshes: each takes CPU from what is being measured.
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        task = progress.add_task("", total=steps)
        yield lambda text: progress.update(task, description=text), lambda: progress.advance(task)
