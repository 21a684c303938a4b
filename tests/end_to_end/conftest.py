"""Fixtures of the end-to-end tests: real or mock Kafka, and servers that may be broken."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.brokers import Broker
from tests.end_to_end.own_servers import QUICK, SMALL, OwnMySQL
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.servers import kafka_install
from tests.servers.kafka import RunningKafka
from tests.servers.kafka_cluster import KafkaCluster
from tests.servers.mysql_install import MySQLInstall


@pytest.fixture(params=["mock cluster", pytest.param("Kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest, cluster: MockCluster) -> Broker:
    """A broker: the mock cluster, and then a real one."""
    if request.param == "mock cluster":
        return Broker(cluster.bootstrap, QUICK_GROUP, cluster)
    kafka: RunningKafka = request.getfixturevalue("kafka_broker")
    return Broker(kafka.bootstrap, {})


@pytest.fixture(scope="session")
def own_kafka(kafka_broker: RunningKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A Kafka that tests may stop and start; not to be had where the shared one is not."""
    assert kafka_broker.bootstrap
    own = KafkaCluster(kafka_install.find(), tmp_path_factory.mktemp("own-kafka"), properties=QUICK)
    own.start()
    yield own
    own.stop()


@pytest.fixture(scope="session")
def own_mysql(mysql_programs: MySQLInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMySQL]:
    """A MySQL with an outbox in it that tests may stop, kill and start."""
    own = OwnMySQL(mysql_programs, tmp_path_factory.mktemp("own-mysql") / "data", SMALL)
    own.start()
    own.prepare()
    yield own
    own.stop()
