"""MySQL goes and comes back under load, or is another one. ``python -m tests.faults mysql`` does more, for longer."""

import pytest

from tests.faults import under_load
from tests.faults.mysql import group
from tests.faults.mysql.faults import dies, drops_connections, is_read_only, together
from tests.faults.stage import Stage
from tests.faults.under_load import Load

pytestmark = pytest.mark.kafka


def test_messages_survive_a_mysql_that_is_killed_drops_connections_and_turns_read_only(stage: Stage) -> None:
    faults = together([dies(stage.mysql, 1), drops_connections(10), is_read_only(1)])
    report = under_load.run(stage, 5, "MySQL goes and comes back", faults, Load(applications=2))
    assert report.is_well, report


def test_messages_survive_a_group_whose_primary_is_killed_and_sent_off(stage: Stage) -> None:
    report = group.run(stage, 5, ways=[group.killed, group.sent_off], applications=1)
    assert report.is_well, report
