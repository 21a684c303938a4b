"""The comparison's own tests: the counting, what is said where a toolchain is missing, and a small run."""

import io
import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.peers import toolchain
from tests.bench.peers.arrived import Arrived, count
from tests.bench.peers.legacy import Legacy
from tests.bench.peers.outboxd import Outboxd
from tests.bench.peers.run import Options, run
from tests.kit import chat
from tests.kit.kafka import Record
from tests.servers.throwaway import Servers

_KEYS = {1: "a", 2: "b", 3: "a", 4: "a", 5: "b", 6: "b"}


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], Arrived(6, 0, 0, 0)),
        ([1, 2, 5, 3, 6, 4], Arrived(6, 0, 0, 0)),  # between keys there is no order
        ([1, 2, 4, 3, 5, 6], Arrived(6, 0, 0, 1)),  # swapped
        ([1, 2, 3, 4, 3, 5, 6], Arrived(6, 0, 1, 0)),  # sent again, which is no disorder
        ([1, 2, 3, 5, 6], Arrived(6, 1, 0, 0)),  # missing
        ([2, 4, 4, 1, 6], Arrived(6, 2, 1, 1)),
        ([1, 2, 3, 4, 5, 6, 7], Arrived(6, 0, 0, 0)),  # not of these
        ([], Arrived(6, 6, 0, 0)),
    ],
)
def test_what_a_topic_has_wrong_is_counted(arrived: list[int], expected: Arrived) -> None:
    records = [(number, Record("topic", None, None, offset=offset)) for offset, number in enumerate(arrived)]
    assert count(_KEYS, records[::-1]) == expected


def test_a_message_in_another_partition_than_those_of_its_key_is_out_of_order() -> None:
    records = [(number, Record("topic", None, None, partition=number // 6)) for number in _KEYS]
    assert count(_KEYS, records) == Arrived(6, 0, 0, 1)


@pytest.mark.kafka
def test_a_peer_without_its_toolchain_is_said_in_a_line_and_the_others_are_measured(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain.go.cache_clear()
    monkeypatch.setattr("shutil.which", lambda _: None)
    printed = io.StringIO()
    options = Options((Outboxd(), Legacy()), 100, 1, chat.sample_file(), tmp_path)
    (tmp_path / "bench.json").write_text('{"floor_per_s": 1}')

    assert not run(options, Console(file=printed, width=80), lambda: nullcontext(servers))

    assert "legacy Go, row at a time was not measured (building): go is not in PATH" in printed.getvalue()
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["floor_per_s"] == 1
    measured = written["peers"]
    assert set(measured) == {"environment", "outboxd"}
    (sample,) = measured["outboxd"]["samples"]
    assert sample["arrived"] == {"messages": 100, "lost": 0, "duplicated": 0, "out_of_order": 0}
    assert sample["per_s"] > sample["cold_per_s"] > 10
    assert sample["cpu_ms"].keys() == {"mysqld", "broker", "relay"}
    live = measured["outboxd"]["live"]
    assert 0 < live["p50"] <= live["p99"] < 30_000
    for part in ("arrived", "concurrent"):
        assert live[part] == {"messages": 100, "lost": 0, "duplicated": 0, "out_of_order": 0}
    assert measured["outboxd"]["enqueue_us"]["in_1"] > 10
    assert "| outboxd, relay only | " in (tmp_path / "peers.md").read_text()
