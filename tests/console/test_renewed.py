"""A value that is looked up while somebody asks: when, and what becomes of trouble."""

import threading
import time

from outboxd.console.charts import curve
from outboxd.console.renewed import Renewed
from outboxd.console.sampler import Rate
from tests.kit.waiting import eventually


def test_value_is_looked_up_once_and_kept() -> None:
    calls = []
    value: Renewed[int] = Renewed(60, 0.01)
    assert value.get(lambda: calls.append(1) or 7, 10) == 7  # type: ignore[func-returns-value]
    assert [value.get(lambda: calls.append(2) or 8, 10) for _ in range(3)] == [7, 7, 7]  # type: ignore[func-returns-value]
    assert calls == [1]


def test_nobody_waits_longer_than_a_moment_and_it_is_looked_up_once_at_a_time() -> None:
    gate, calls = threading.Event(), []

    def look() -> int:
        calls.append(1)
        gate.wait(60)
        return 7

    value: Renewed[int] = Renewed(0, 1)
    assert [value.get(look, 0.01) for _ in range(5)] == [None] * 5
    assert calls == [1]
    gate.set()
    eventually(lambda: value.get(look, 1) == 7)


def test_what_takes_long_is_looked_up_seldom_by_the_quickest_of_the_last_times() -> None:
    value: Renewed[int] = Renewed(0.0, 0.01)
    for seconds in (0.2, 0.02):
        value._renew_at = 0

        def look(pause: float = seconds) -> int:
            time.sleep(pause)
            return 1

        before = value.seconds
        value.get(look, 0)
        eventually(lambda last=before: value.seconds != last)  # type: ignore[misc]
    assert 2 <= value.seconds < 20


def test_trouble_is_told_and_the_last_value_stays() -> None:
    value: Renewed[int] = Renewed(0, 1)
    assert value.get(lambda: 7, 10) == 7

    def fails() -> int:
        raise ValueError("MySQL is away")

    eventually(lambda: value.get(fails, 0) == 7 and value.problem == "MySQL is away")
    eventually(lambda: value.get(lambda: 8, 0) == 8 and value.problem == "")


def test_curve_has_a_gap_where_nobody_looked() -> None:
    rates = [Rate(0, 0, None, None), Rate(0, 5, 10.0, 0.0), Rate(5, 10, 20.0, 1.0), Rate(50, 50, None, None)]
    rates.append(Rate(50, 60, 0.0, 0.0))
    drawn = curve(rates, 60, 22)
    assert drawn is not None
    assert drawn.consumed == "M0.0 11.0 L5.0 11.0 L5.0 1.0 L10.0 1.0 M50.0 21.0 L60.0 21.0"
    assert (drawn.highest, drawn.seconds) == (20.0, 60)
    assert curve(rates[:1], 60, 22) is None
