"""The servers of the tests, for measurements that are tested."""

from pathlib import Path

import pytest
from pytest_mysql.executor import MySQLExecutor

from tests.servers import process
from tests.servers.kafka import RunningKafka
from tests.servers.mysql import RunningMySQL
from tests.servers.mysql_install import MySQLInstall
from tests.servers.throwaway import Servers


@pytest.fixture
def servers(
    mysql_proc: MySQLExecutor, mysql_programs: MySQLInstall, kafka_broker: RunningKafka, tmp_path: Path
) -> Servers:
    """The servers of the tests, as the benchmark wants them."""
    pid = int(mysql_proc.pidfile.read_text())
    identity = process.identity(pid)
    assert identity is not None
    mysql = RunningMySQL(
        pid=pid,
        host=mysql_proc.host,
        port=mysql_proc.port,
        socket=Path(mysql_proc.unixsocket),
        data_dir=mysql_proc.datadir,
        client=mysql_programs.mysql,
        identity=identity,
    )
    return Servers(mysql, kafka_broker, tmp_path)
