"""Servers of one test session that are stopped, killed and started again on their ports."""

from outboxd.mysql.connection import Connection
from outboxd.schema import migrations
from tests.kit.command import settings
from tests.kit.session import Session
from tests.servers import process
from tests.servers.lasting import LastingMySQL

_NAME = "outboxd"
_PASSWORD = "secret"
SMALL = ("--innodb-buffer-pool-size=128M", "--innodb-fast-shutdown=2")
# As a mock cluster does: short sessions, so that a member that was killed is missed within a second. And small groups.
QUICK = {"group.min.session.timeout.ms": "500", "group.max.size": "2"}


class OwnMySQL(LastingMySQL):
    """A real MySQL with an account for the driver, and the outbox in its database."""

    @property
    def url(self) -> str:
        """As the driver's settings want it."""
        return f"mysql://{_NAME}:{_PASSWORD}@{self.host}:{self.port}/{_NAME}"

    def prepare(self) -> None:
        """Make the database and the account, and install the outbox."""
        self.running.create_database(_NAME, _NAME, _PASSWORD)
        with Connection(settings(self.url)) as driver:
            assert list(migrations.apply(driver))

    def connect(self) -> Session:
        """A session."""
        return Session(host=process.LOOPBACK, port=self.port, user=_NAME, password=_PASSWORD, database=_NAME)

    def connect_as_root(self) -> Session:
        """A session of root, in no database of the outbox's."""
        return Session(host=process.LOOPBACK, port=self.port, user="root", database="mysql")
