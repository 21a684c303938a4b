"""Kafka goes away, comes back, delivers all again, and refuses what it took. ``python -m tests.faults`` does more."""

import pytest

from tests.faults.kafka import faults, groups, limits
from tests.faults.stage import Stage
from tests.faults.under_load import Load

pytestmark = pytest.mark.kafka

SEED = 11
FEW = Load(applications=2, daemons_of_a_kind=1, applications_see_no_errors=True)


def test_nothing_is_published_failed_or_lost_while_no_broker_is_there(stage: Stage) -> None:
    report = faults.brokers_down(stage, SEED, seconds=2, load=FEW)
    assert report.is_well, report


def test_records_that_are_delivered_again_from_the_beginning_take_no_second_effect(stage: Stage) -> None:
    report = groups.redelivered(stage, SEED, FEW)
    assert report.is_well, report


def test_a_message_above_a_lowered_limit_is_in_nobodys_way_and_arrives_once_it_is_requeued(stage: Stage) -> None:
    report = limits.of_topic(stage, SEED, FEW)
    assert report.is_well, report
