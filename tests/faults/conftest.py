"""The servers of the fault tests, which are others than those of the other tests: durable, and of short patience."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage, open_stage
from tests.servers import kafka_install


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """MySQL and Kafka; skipped where no Kafka can be had, but never in CI."""
    reason = kafka_install.available()
    if reason is not None and os.environ.get("CI") != "true":
        pytest.skip(reason)
    with open_stage(tmp_path_factory.mktemp("faults"), print) as stage:
        yield stage
