"""Fixtures of the security tests: certificates, and servers that speak TLS."""

from collections.abc import Iterator

import pytest

from tests.security import certificates as making
from tests.security import servers
from tests.security.certificates import Certificates
from tests.servers import kafka_install
from tests.servers.missing import skip_or_fail
from tests.servers.mysql_install import MySQLInstall


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The authorities' and the servers' certificates."""
    return making.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def secure_mysql(
    mysql_programs: MySQLInstall, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.SecureMySQL]:
    """A MySQL that takes no connection without TLS."""
    made = servers.start_mysql(mysql_programs, tmp_path_factory.mktemp("secure-mysql") / "data", certificates)
    yield made
    made.running.stop()


@pytest.fixture(scope="session")
def secure_kafka(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.SecureKafka]:
    """A Kafka with listeners for TLS; not to be had by Docker, which publishes one port only."""
    reason = kafka_install.available()
    if reason is not None:
        skip_or_fail(reason)
    install = kafka_install.find()
    if install.docker is not None:
        skip_or_fail("Kafka's listeners for TLS need its jars: Java 17 or newer and Maven")
    made = servers.start_kafka(install, tmp_path_factory.mktemp("secure-kafka"), certificates)
    yield made
    made.running.stop()
