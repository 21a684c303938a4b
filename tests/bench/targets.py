"""The targets: what each key of bench.json must reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """Whether a target was reached."""

    OK = "ok"
    MISSED = "missed"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A key's target in words, how the value compares, and the verdict."""

    target: str
    compared: str
    verdict: Verdict


_AT_MOST = {
    "claim_growth": 1.2,
    "enqueue_batch": 1.3,
    "enqueue_overhead": 1.15,
    "fleet_idle_cpu": 0.05,
    "fleet_idle_mb": 400,
    "idle_cpu": 0.01,
    "memory_growth": 1.25,
    "slow_lane_delay": 3,
    "time_growth": 1.2,
}
_BY_REFERENCE = 1.05
_AT_LEAST = {"slow_lane_share": 0.9}
_LEAST = {"floor_per_s": 0.6, "row_at_a_time_per_s": 10}
_NAMES = {
    "floor_per_s": "floor",
    "floor_in_server_per_s": "floor in the server",
    "row_at_a_time_per_s": "row at a time",
}
_INBOX = 1.6
_P50_MS, _P99_MS = 20, 100
_BESIDE_LIVE, _LIVE_CORES = 1.5, 0.25
_SIZE_GROWTH, _MANY_RELAYS = 1.2, 2
_BESIDE, _BESIDE_OPEN, _IDLE_BESIDE = 1.2, 1.5, 0.01


def judge(key: str, values: Mapping[str, Any], details: Mapping[str, Any]) -> Judgement | None:
    """Judge a measured key; None where it has no target. Ratios need the other key measured in the same run."""
    value, detail = values[key], details.get(key, {})
    if key in _AT_MOST:
        return Judgement(f"<= {_AT_MOST[key]}", "", _verdict(value <= _AT_MOST[key]))
    if key in _AT_LEAST:
        return Judgement(f">= {_AT_LEAST[key]}", "", _verdict(value >= _AT_LEAST[key]))
    if key == "latency_ms":
        reached: bool | None = value["p50"] <= _P50_MS and value["p99"] <= _P99_MS
        if reached and not detail["rate_was_kept"]:
            reached = None  # slower enqueuing makes it easier
        return Judgement(f"p50 <= {_P50_MS}, p99 <= {_P99_MS}", "", _verdict(reached))
    if key == "inbox_per_s":
        return Judgement(f"a message <= {_INBOX} x an own one", "", _verdict(detail["ratio"] <= _INBOX))
    if key == "scale":
        return Judgement("rising until the machine is the limit", "", _verdict(detail["rises_to_the_limit"]))
    more = {
        "by_reference": lambda: _judge_by_reference(value),
        "end_to_end_per_s": lambda: _judge_end_to_end(value, values),
        "isolation": lambda: _judge_isolation(value),
        "size_growth": lambda: _judge_size_growth(value),
        "latency_beside": lambda: _judge_latency_beside(value),
        "live_cores": lambda: _judge_live_cores(value),
    }
    return more[key]() if key in more else None


def _judge_end_to_end(value: float, values: Mapping[str, Any]) -> Judgement:
    ratios = {key: value / values[key] for key in _NAMES if values.get(key)}
    reached = [ratio >= _LEAST[key] for key, ratio in ratios.items() if key in _LEAST]
    return Judgement(
        f">= {_LEAST['floor_per_s']} x floor (aim: 0.8), >= {_LEAST['row_at_a_time_per_s']} x row at a time",
        ", ".join(f"{ratio:.2f} x {_NAMES[key]}" for key, ratio in ratios.items()),
        _verdict(all(reached) if reached else None),
    )


def _verdict(reached: bool | None) -> Verdict:
    return Verdict.NOT_JUDGED if reached is None else Verdict.OK if reached else Verdict.MISSED


def _judge_by_reference(value: Mapping[str, float]) -> Judgement:
    compared = ", ".join(f"{ratio} in calls of {size}" for size, ratio in value.items())
    return Judgement(f"<= {_BY_REFERENCE}", compared, _verdict(all(ratio <= _BY_REFERENCE for ratio in value.values())))


def _judge_isolation(value: Mapping[str, float]) -> Judgement:
    bounds = {
        "idle_cpu_added": _IDLE_BESIDE,
        "one_open_transaction": _BESIDE_OPEN,
        "open_transactions": _BESIDE_OPEN,
    }
    return Judgement(
        f"waiting <= {_BESIDE}, open transactions <= {_BESIDE_OPEN}, idle <= {_IDLE_BESIDE} of a core more",
        ", ".join(f"{name} {ratio}" for name, ratio in value.items()),
        _verdict(all(ratio <= bounds.get(name, _BESIDE) for name, ratio in value.items())),
    )


def _judge_size_growth(value: Mapping[str, float]) -> Judgement:
    """Relays that all work at once share the processor's caches, and the ends of the same indexes."""
    bounds = {name: _MANY_RELAYS if name.endswith("_many_relays") else _SIZE_GROWTH for name in value}
    over = ", ".join(f"{name} {ratio}" for name, ratio in value.items() if ratio > bounds[name])
    return Judgement(f"each <= {_SIZE_GROWTH}, many relays <= {_MANY_RELAYS}", over, _verdict(not over))


def _judge_latency_beside(value: Mapping[str, float]) -> Judgement:
    return Judgement(f"<= {_BESIDE_LIVE}", "", _verdict(all(ratio <= _BESIDE_LIVE for ratio in value.values())))


def _judge_live_cores(value: Mapping[str, float]) -> Judgement:
    outbox = value["mysqld"] - value["of_which_enqueues"]
    return Judgement(f"mysqld <= {_LIVE_CORES} without enqueues", f"{outbox:.2f}", _verdict(outbox <= _LIVE_CORES))
