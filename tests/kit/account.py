"""The daemon's account in MySQL."""

from dataclasses import dataclass

from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import eventually


@dataclass(frozen=True, slots=True)
class Account:
    """A MySQL account that may only call outboxd's procedures, with a password that a URL has to quote."""

    server: Server
    database: str

    name = "outboxd_daemon"
    password = "p@ss:w/o#r?d %é"
    quoted = "p%40ss%3Aw%2Fo%23r%3Fd%20%25%C3%A9"

    @property
    def url(self) -> str:
        """mysql_url with this account."""
        return f"mysql://{self.name}:{self.quoted}@{self.server.host}:{self.server.port}/{self.database}"

    def create(self) -> None:
        """Make the account."""
        with self.server.connect(self.database) as session:
            session.execute(f"DROP USER IF EXISTS {self.name}")
            session.execute(f"CREATE USER {self.name} IDENTIFIED BY '{self.password}'")
            session.execute(f"GRANT EXECUTE ON {self.database}.* TO {self.name}")

    def settle(self, session: Session) -> None:
        """Wait until the server has noticed that the account's clients are gone: what they began may still commit."""
        eventually(
            lambda: not session.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = %s", self.name)
        )
