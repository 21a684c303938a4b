"""Fixtures of all tests: a MySQL server, and one database with every migration applied."""

from collections.abc import Iterator

import pytest
from pytest_mysql.executor import MySQLExecutor

from tests.sql.support import Connect, Database, Server, closing_all

pytest_plugins = ["tests.servers.fixtures"]

_DATABASE = "outboxd_tests"


@pytest.fixture(scope="session")
def mysql_server(mysql_proc: MySQLExecutor) -> Server:
    """How to connect to the test server."""
    return Server(host=mysql_proc.host, port=mysql_proc.port, user=mysql_proc.user)


@pytest.fixture(scope="session")
def installed_database(mysql_server: Server) -> str:
    """The name of a database that has all migrations, made once per session."""
    mysql_server.create_database(_DATABASE)
    mysql_server.migrate(_DATABASE)
    return _DATABASE


@pytest.fixture
def connect(mysql_server: Server, installed_database: str) -> Iterator[Connect]:
    """Open further sessions on the database; all are closed after the test."""
    with closing_all(lambda: mysql_server.connect(installed_database)) as open_one:
        yield open_one


@pytest.fixture
def db(mysql_server: Server, installed_database: str) -> Iterator[Database]:
    """A session (autocommit) on an installed database without messages."""
    with mysql_server.connect(installed_database) as database:
        database.clean()
        yield database
