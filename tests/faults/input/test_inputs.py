"""Input that is wrong stops nothing behind it. ``python -m tests.faults`` does more."""

from collections.abc import Callable

import pytest

from tests.faults.input import bad_handlers, foreign, inputs
from tests.faults.report import Report
from tests.faults.stage import Stage

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(
    "fault",
    [inputs.payloads, inputs.names, foreign.foreign_records, bad_handlers.handlers],
    ids=lambda fault: fault.__name__,
)
def test_what_is_wrong_ends_with_its_reason_and_stops_nothing_behind_it(
    stage: Stage, fault: Callable[[Stage], Report]
) -> None:
    report = fault(stage)
    assert report.is_well, report
