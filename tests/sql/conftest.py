"""Fixtures of the SQL tests."""

from collections.abc import Iterator

import pytest

from tests.sql.application import Application
from tests.sql.support import Database


@pytest.fixture
def app(db: Database) -> Iterator[Application]:
    """An application in the same database, with its own table; its handlers are dropped after the test."""
    application = Application(db)
    yield application
    application.remove()
