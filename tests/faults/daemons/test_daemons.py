"""Daemons that are killed at their steps under load. ``python -m tests.faults daemon`` does more."""

import pytest

from tests.faults.daemons import faults
from tests.faults.stage import Stage

pytestmark = pytest.mark.kafka


def test_daemons_that_are_killed_at_every_step_lose_and_double_and_swap_nothing(stage: Stage) -> None:
    report = faults.killed_at_steps(stage, 11, seconds=1, one_in=10)
    assert report.is_well, report
