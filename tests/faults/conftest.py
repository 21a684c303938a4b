"""The servers of the fault tests, which are others than those of the other tests: durable, and of short patience."""

from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage, open_stage
from tests.servers import kafka_install
from tests.servers.missing import skip_or_fail


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """MySQL and Kafka; skipped where no Kafka can be had, but never in CI."""
    reason = kafka_install.available()
    if reason is not None:
        skip_or_fail(reason)
    with open_stage(tmp_path_factory.mktemp("faults"), print) as stage:
        yield stage
