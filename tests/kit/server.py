"""The MySQL server that is tested on: sessions, databases, and the schema in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.session import Session
from tests.servers.paths import CHECKOUT

SQL_FOLDER = CHECKOUT / "sql"


def migration_files() -> list[Path]:
    """Every migration, by ascending version, whatever its folder."""
    return sorted(SQL_FOLDER.glob("*/V*.sql"), key=lambda path: path.name)


Connect = Callable[[], Session]


@dataclass(frozen=True, slots=True)
class Server:
    """Where the test server listens."""

    host: str
    port: int
    user: str

    def connect(self, database: str, user: str | None = None, password: str = "") -> Session:
        """Open a session on a database."""
        # A password may need encryption; without one, a session is made in 1 ms instead of 25.
        return Session(
            host=self.host,
            port=self.port,
            user=user or self.user,
            password=password,
            database=database,
            ssl_disabled=not password,
        )

    def create_database(self, name: str) -> None:
        """Make an empty database; one that is there is dropped first."""
        with self.connect("mysql") as session:
            session.execute(f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")

    def migrate(self, database: str) -> None:
        """Apply every migration through the connector, which understands DELIMITER."""
        with self.connect(database) as session:
            for path in migration_files():
                session.execute(path.read_text(encoding="utf-8"))


@contextmanager
def closing_all(open_one: Connect) -> Iterator[Connect]:
    """Lend a function that opens sessions, and close them all at the end."""
    opened: list[Session] = []

    def connect() -> Session:
        opened.append(open_one())
        return opened[-1]

    try:
        yield connect
    finally:
        for session in opened:
            session.close()
