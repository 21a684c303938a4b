"""pytest fixtures: ``pytest_plugins = ["tests.servers.fixtures"]`` in tests/conftest.py.

Nothing is looked for or downloaded before a test asks for a server.
"""

from collections.abc import Iterator

import pytest
from pytest_mysql import factories
from pytest_mysql.executor import MySQLExecutor

from . import kafka, kafka_install, mysql_install
from .errors import ServerError
from .missing import skip_or_fail

# Not durable: the server is thrown away, and this makes the tests faster.
_THROWAWAY = (
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--mysqlx=OFF",
    "--event-scheduler=OFF",
    "--innodb-buffer-pool-size=256M",
    "--innodb-redo-log-capacity=512M",
    "--innodb-doublewrite=OFF",
)

mysql_executor = factories.mysql_proc(params=" ".join(_THROWAWAY))


@pytest.fixture(scope="session")
def mysql_programs() -> mysql_install.MySQLInstall:
    """The MySQL to test with; the test fails in one line if none can be had."""
    try:
        return mysql_install.find()
    except ServerError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def mysql_proc(request: pytest.FixtureRequest, mysql_programs: mysql_install.MySQLInstall) -> MySQLExecutor:
    """pytest-mysql's server process, run with our programs.

    The factory wants to know the programs when it is called, which is when pytest loads this file.
    They are handed over as pytest-mysql's command line options instead, which it reads when the
    server is first needed.
    """
    option = request.config.option
    option.mysql_mysqld = str(mysql_programs.mysqld)
    option.mysql_mysqld_safe = str(mysql_programs.mysqld_safe)
    option.mysql_admin = str(mysql_programs.mysqladmin)
    executor: MySQLExecutor = request.getfixturevalue("mysql_executor")
    return executor


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.RunningKafka]:
    """A Kafka of its own for the test session; skipped where none can be had, but never in CI."""
    reason = kafka_install.available()
    if reason is not None:
        skip_or_fail(reason)
    broker = kafka.start(kafka_install.find(), tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()
