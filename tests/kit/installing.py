"""Installing outboxd in a database: the rights of its owner, the mysql client, and `outboxd migrate`."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outboxd.mysql.connection import Connection
from outboxd.schema import migrations
from outboxd.settings import Settings
from tests.kit.server import SQL_FOLDER, Server
from tests.kit.session import Session
from tests.servers.mysql_install import MySQLInstall
from tests.servers.paths import CHECKOUT

GRANTS = SQL_FOLDER / "grants.sql"
ROLES = ("outbox_app", "outbox_relay", "outbox_consumer", "outbox_operator", "outbox_monitor")

# What the head of grants.sql asks for the account that applies the migrations.
OWNER_RIGHTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE,"
    " CREATE TEMPORARY TABLES, EVENT"
)


@dataclass(frozen=True, slots=True)
class Client:
    """The mysql client, as a DBA uses it: a script comes on its standard input."""

    program: Path
    server: Server

    def run(
        self, database: str, script: str, *options: str, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script, up to its first error."""
        where = [f"--host={self.server.host}", f"--port={self.server.port}", "--protocol=TCP"]
        return subprocess.run(
            [self.program, *where, f"--user={user or self.server.user}", *options, database],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def apply(self, database: str, script: str, *options: str, user: str | None = None) -> None:
        """Run a script that must go through, without a word."""
        done = self.run(database, script, *options, user=user)
        assert (done.returncode, done.stderr) == (0, "")


def client_of(install: MySQLInstall, server: Server) -> Client:
    """The mysql client that belongs to the server."""
    return Client(install.mysql, server)


@contextmanager
def empty_database(server: Server, name: str) -> Iterator[Session]:
    """A session on an empty database, which is dropped at the end."""
    server.create_database(name)
    with server.connect(name) as session:
        try:
            yield session
        finally:
            session.execute(f"DROP DATABASE {name}")


def create_account(session: Session, name: str, *statements: str) -> None:
    """Make an account anew, without password, and run what gives it its rights."""
    session.execute(f"DROP USER IF EXISTS {name}")
    session.execute(f"CREATE USER {name}")
    for statement in statements:
        session.execute(f"{statement} TO {name}")


def direct_grants(account: str) -> str:
    """The grants of one role for an account itself: what the command in the head of grants.sql prints for it."""
    found = re.search(r"^--   (sed -n .+) \| mysql DATABASE$", GRANTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    command = found[1].replace("'shop'@'%'", account)
    return subprocess.run(command, shell=True, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def mysql_url(server: Server, database: str, user: str | None = None) -> str:
    """The address of a database as outboxd's settings want it."""
    return f"mysql://{user or server.user}@{server.host}:{server.port}/{database}"


@contextmanager
def driver(server: Server, database: str, user: str | None = None) -> Iterator[Connection]:
    """The driver's own connection to a database."""
    with Connection(Settings(mysql_url=mysql_url(server, database, user))) as connection:
        yield connection


def migrate(server: Server, database: str, user: str | None = None) -> list[str]:
    """`outboxd migrate`; returns the names of the files that it applied."""
    with driver(server, database, user) as connection:
        return [migration.file for migration in migrations.apply(connection)]


def all_files() -> str:
    """What `cat sql/**/V*.sql` gives."""
    return together(sorted(SQL_FOLDER.glob("*/V*.sql"), key=lambda path: path.name))


def together(paths: Sequence[Path]) -> str:
    """The text of files, one after the other."""
    return "".join(path.read_text(encoding="utf-8") for path in paths)
