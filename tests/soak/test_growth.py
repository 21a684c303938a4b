"""The judgement of a soak: it sees a leak, and takes no peak for one."""

from dataclasses import replace

import pytest

from tests.soak import growth
from tests.soak.samples import Sample

_FLAT = Sample(at_s=0, memory_mib=90, open_files=30, threads=9, sessions=3, orphans=1, table_mib=40, lag_s=0.1)
_LEAKS = {
    "memory_mib": 0.2,
    "open_files": 0.1,
    "threads": 0.03,
    "sessions": 0.03,
    "orphans": 0.1,
    "table_mib": 0.8,
    "lag_s": 0.1,
}


def _growing(samples: list[Sample]) -> list[str]:
    return [finding.name for finding in growth.find(samples) if finding.grows]


def _with(sample: Sample, **values: float) -> Sample:
    return replace(sample, **values)  # type: ignore[arg-type]


def test_flat_values_are_no_growth() -> None:
    assert _growing([_FLAT] * 100) == []


@pytest.mark.parametrize("name", _LEAKS)
def test_a_value_that_rises_steadily_is_growth(name: str) -> None:
    samples = [_with(_FLAT, **{name: getattr(_FLAT, name) + number * _LEAKS[name]}) for number in range(100)]
    assert _growing(samples) == [name]


@pytest.mark.parametrize("name", _LEAKS)
def test_what_rises_in_the_first_quarter_and_then_stays_is_no_growth(name: str) -> None:
    samples = [_with(_FLAT, **{name: getattr(_FLAT, name) * min(number, 25) / 25}) for number in range(100)]
    assert _growing(samples) == []


def test_a_peak_in_the_end_is_no_growth() -> None:
    peak = _with(_FLAT, memory_mib=500, lag_s=60, orphans=80)
    assert _growing([*[_FLAT] * 90, *[peak] * 5, *[_FLAT] * 5]) == []


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="11 samples are too few"):
        growth.find([_FLAT] * 11)
