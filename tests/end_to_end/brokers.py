"""One name for both kinds of broker, mock and real, for tests that run on either."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.kit.kafka import create_topic
from tests.kit.mock_cluster import MockCluster
from tests.kit.names import unused


@dataclass(frozen=True)
class Broker:
    """Where it is, the kafka_options that make a group quick there, and the mock cluster if it is one."""

    bootstrap: str
    options: Mapping[str, Any]
    cluster: MockCluster | None = None

    def create_topic(self, partitions: int = 4, **config: str) -> str:
        """Make a topic of an unused name; config is that of a real topic."""
        if self.cluster is None:
            return create_topic(self.bootstrap, partitions, **config)
        name = unused("topic")
        self.cluster.create_topic(name, partitions)
        return name
