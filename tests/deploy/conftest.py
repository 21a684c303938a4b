"""Fixtures of the tests of deploying."""

import pytest

from tests.kit.installing import Client, client_of
from tests.kit.server import Server
from tests.servers.mysql_install import MySQLInstall


@pytest.fixture(scope="session")
def client(mysql_programs: MySQLInstall, mysql_server: Server) -> Client:
    """The mysql client, on the test server."""
    return client_of(mysql_programs, mysql_server)
