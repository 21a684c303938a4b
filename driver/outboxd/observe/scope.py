"""For which database a thread works: its log lines and its metrics have the name."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

_database: ContextVar[str] = ContextVar("database", default="")


def database() -> str:
    """The name of the database for which the calling thread works; empty: for none, or for all."""
    return _database.get()


@contextmanager
def working_for(name: str, **members: str) -> Iterator[None]:
    """While the block runs, the calling thread works for this database; `members` are further ones of its log lines."""
    before = _database.set(name)
    named = {"database": name} if name else {}
    try:
        with structlog.contextvars.bound_contextvars(**named, **members):
            yield
    finally:
        _database.reset(before)
