"""Fixtures of the SQL tests."""

from collections.abc import Iterator

import pytest

from tests.kit.application import Application
from tests.kit.session import Session


@pytest.fixture
def app(db: Session) -> Iterator[Application]:
    """An application in the same database, with its own table; its handlers are dropped after the test."""
    application = Application(db)
    yield application
    application.remove()
