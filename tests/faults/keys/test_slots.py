"""Slots with relays as processes, and full batches. ``python -m tests.faults`` does more of each."""

import pytest

from tests.faults.keys import slots
from tests.faults.keys.slots import Change
from tests.faults.stage import Stage

pytestmark = pytest.mark.kafka


def test_slots_are_even_within_a_lease_after_relays_come_stop_and_are_killed(stage: Stage) -> None:
    gentle = [Change(starts=4), Change(stops=1)]
    rough = [Change(kills=2, starts=1)]
    report = slots.sharing(stage, 5, gentle, rough, messages=200)
    assert report.is_well, report


def test_a_relay_that_was_frozen_past_its_lease_in_any_step_of_its_round_changes_nothing(stage: Stage) -> None:
    report = slots.frozen(stage, messages=100)
    assert report.is_well, report


@pytest.mark.parametrize("keys", [1, 2000], ids=["a single hot key", "a key a message"])
def test_a_backlog_moves_in_full_batches(stage: Stage, keys: int) -> None:
    report = slots.batches(stage, 2000, keys)
    assert report.is_well, report
