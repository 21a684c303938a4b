"""The benchmark's own tests: a run with small sizes, and the judging of what a run measured."""

import io
import json
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.bench.__main__ import main
from tests.bench.run import Options, run
from tests.bench.sizes import QUICK
from tests.bench.targets import Verdict, judge
from tests.kit import chat
from tests.servers.throwaway import Servers

_KEYS = [
    "floor_per_s",
    "floor_in_server_per_s",
    "row_at_a_time_per_s",
    "end_to_end_per_s",
    "latency_ms",
    "sustained_per_s",
    "latency_at_half_ms",
    "latency_beside",
    "live_cores",
    "claim_growth",
    "size_growth",
    "enqueue_overhead",
    "enqueue_batch",
    "by_reference",
    "inbox_per_s",
    "isolation",
    "slow_lane_delay",
    "slow_lane_share",
    "fleet_idle_cpu",
    "fleet_idle_mb",
    "fleet_shards_per_s",
]


@pytest.mark.kafka
@pytest.mark.timeout(480)  # it starts many daemons
def test_a_small_run_measures_reports_and_judges_nothing(servers: Servers, tmp_path: Path) -> None:
    out, printed = tmp_path / "out", io.StringIO()
    options = Options(
        keys=_KEYS,
        sizes=QUICK,
        judged=False,
        settings={"wait_ms": "100"},
        chat_file=chat.sample_file(),
        folder=out,
    )
    assert run(options, Console(file=printed, width=150), lambda: nullcontext(servers))

    measured = json.loads((out / "bench.json").read_text())
    assert list(measured) == [*_KEYS, "verdicts", "environment", "details"]
    assert measured["floor_per_s"] > measured["end_to_end_per_s"] > 10
    assert measured["floor_per_s"] > measured["row_at_a_time_per_s"] > 1
    assert 0 < measured["latency_ms"]["p50"] <= measured["latency_ms"]["p99"] < 30_000
    assert 0.01 < measured["claim_growth"] < 100
    assert {"claim", "purge", "fail_of_one_lane", "mark_with_many_relays"} <= set(measured["size_growth"])
    assert all(0.01 < ratio < 100 for ratio in measured["size_growth"].values())
    assert 0.1 < measured["enqueue_overhead"] < 10
    assert 0.1 < measured["enqueue_batch"] < 20
    assert list(measured["by_reference"]) == ["10", "100", "1000"]
    assert all(0 < both[0] < 1 and 0 < both[1] < 1 for both in measured["details"]["by_reference"].values())
    assert measured["inbox_per_s"] > 10
    assert 0.1 < measured["details"]["inbox_per_s"]["ratio"] < 20
    assert set(measured["isolation"]) > {"delayed", "paused_topic", "one_open_transaction", "idle_cpu_added"}
    assert all(-2 < ratio < 100 for ratio in measured["isolation"].values())
    assert -1000 < measured["slow_lane_delay"] < 1000
    assert 0 < measured["slow_lane_share"] < 10
    assert -1 < measured["fleet_idle_cpu"] < 2
    assert 20 < measured["fleet_idle_mb"] < 1000
    assert list(measured["fleet_shards_per_s"]) == ["1", "2"]
    assert min(measured["fleet_shards_per_s"].values()) > 5
    assert measured["verdicts"] == {}
    assert measured["environment"]["sizes"]["messages"] == QUICK.messages
    assert measured["environment"]["daemon"]["wait_ms"] == "100"
    (drained,) = measured["details"]["end_to_end_per_s"]["samples"]
    assert drained["messages"] == QUICK.messages
    assert 0 < drained["first_published"] < drained["last_written"]
    assert drained["cores"]["mysqld"] > 0
    assert all(key in printed.getvalue() for key in _KEYS)
    assert (out / "bench.png").exists() == (find_spec("matplotlib") is not None)


@pytest.mark.parametrize(
    ("key", "value", "verdict"),
    [
        ("end_to_end_per_s", 6000, Verdict.OK),
        ("end_to_end_per_s", 5999, Verdict.MISSED),
        ("latency_ms", {"p50": 20, "p99": 100}, Verdict.OK),
        ("latency_ms", {"p50": 20.1, "p99": 100}, Verdict.MISSED),
        ("latency_ms", {"p50": 20, "p99": 100.1}, Verdict.MISSED),
        ("isolation", {"delayed": 1.2, "one_open_transaction": 1.5, "idle_cpu_added": 0.01}, Verdict.OK),
        ("isolation", {"delayed": 1.21, "one_open_transaction": 1.5, "idle_cpu_added": 0.01}, Verdict.MISSED),
        ("isolation", {"delayed": 1.2, "one_open_transaction": 1.51, "idle_cpu_added": 0.01}, Verdict.MISSED),
        ("claim_growth", 1.2, Verdict.OK),
        ("claim_growth", 1.21, Verdict.MISSED),
        ("by_reference", {"10": 1.05, "1000": 0.9}, Verdict.OK),
        ("by_reference", {"10": 1.06, "1000": 0.9}, Verdict.MISSED),
        ("size_growth", {"claim": 1.2, "mark": 0.9}, Verdict.OK),
        ("size_growth", {"claim": 1.2, "mark_with_many_relays": 2}, Verdict.OK),
        ("size_growth", {"claim": 1.21, "mark": 0.9}, Verdict.MISSED),
        ("enqueue_batch", 1.3, Verdict.OK),
        ("enqueue_batch", 1.31, Verdict.MISSED),
        ("enqueue_overhead", 1.15, Verdict.OK),
        ("enqueue_overhead", 1.16, Verdict.MISSED),
        ("idle_cpu", 0.01, Verdict.OK),
        ("idle_cpu", 0.011, Verdict.MISSED),
    ],
)
def test_a_value_is_judged_by_its_target(key: str, value: Any, verdict: Verdict) -> None:
    values = {"floor_per_s": 10_000, "row_at_a_time_per_s": 600, key: value}
    judgement = judge(key, values, {"latency_ms": {"rate_was_kept": True}})
    assert judgement is not None
    assert judgement.verdict == verdict


def test_a_ratio_to_what_was_not_measured_is_not_judged() -> None:
    judgement = judge("end_to_end_per_s", {"end_to_end_per_s": 6000}, {})
    assert judgement is not None
    assert judgement.verdict == Verdict.NOT_JUDGED


def test_a_good_latency_at_a_lower_rate_than_wanted_is_not_judged() -> None:
    values = {"latency_ms": {"p50": 10, "p99": 50}}
    judgement = judge("latency_ms", values, {"latency_ms": {"rate_was_kept": False}})
    assert judgement is not None
    assert judgement.verdict == Verdict.NOT_JUDGED


def test_an_unknown_key_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--only", "floor_per_s,speed"])
    assert left.value.code == 2
    message = capsys.readouterr().err
    assert "speed: no such key" in message
    assert "end_to_end_per_s" in message
