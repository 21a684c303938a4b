"""Order per key under chaos, and that a bad key is in nobody's way. ``python -m tests.faults`` does more of each."""

import pytest

from tests.faults.keys import delays, order
from tests.faults.stage import Stage

pytestmark = pytest.mark.kafka

SEED = 3


def test_every_message_takes_effect_once_and_in_order_while_everything_fails(stage: Stage) -> None:
    verdict, report = order.run(stage, SEED, order.Size(500, applications=4))
    assert report.is_well, report
    assert verdict.messages > 400


def test_the_same_run_without_ordering_shows_messages_out_of_order(stage: Stage) -> None:
    verdict, report = order.run(stage, SEED, order.Size(200, applications=4), ordering="none")
    assert report.is_well, report
    assert verdict.out_of_order > 0
    assert (verdict.lost, verdict.duplicated, verdict.strangers) == (0, 0, 0)


def test_stuck_keys_do_not_delay_others_of_their_slot_and_partition(stage: Stage) -> None:
    report = delays.stuck_keys(stage, messages=150)
    assert report.is_well, report


def test_a_slow_key_does_not_delay_others_of_its_partition(stage: Stage) -> None:
    report = delays.slow_key(stage, messages=50, seconds=0.3)
    assert report.is_well, report
