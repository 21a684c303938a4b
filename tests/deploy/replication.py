"""Two servers of their own: a source with everything switched on that may complain, and its semisynchronous replica."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.server import Server
from tests.kit.session import Row, Session
from tests.kit.waiting import eventually
from tests.servers import mysql, process
from tests.servers.mysql import RunningMySQL
from tests.servers.mysql_install import MySQLInstall

# Small and not durable, as the tests' other server. The binary log's format is left to each session.
_SMALL = (
    "--innodb-buffer-pool-size=128M",
    "--innodb-redo-log-capacity=16M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
    "--sync-binlog=0",
    "--event-scheduler=OFF",
)
_GTID = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON")
_SOURCE = (
    "--sql-require-primary-key=ON",
    "--log-error-verbosity=3",
    "--plugin-load-add=semisync_source.so",
    "--plugin-load-add=group_replication.so",
    "--group-replication-start-on-boot=OFF",
    "--group-replication-communication-stack=MYSQL",
    "--group-replication-group-name=6f757462-6f78-4d65-8373-616765735f5f",
)
_REPLICA = (
    "--server-id=2",
    "--super-read-only=ON",
    "--plugin-load-add=semisync_replica.so",
    "--rpl-semi-sync-replica-enabled=ON",
)
_ACCOUNT = "replication"


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and its replica."""

    source: Server
    replica: Server
    error_log: Path

    def wait(self, session: Session) -> None:
        """Wait until the replica has what the session has committed."""
        done = session.value("SELECT @@GLOBAL.gtid_executed")
        with self.replica.connect("mysql") as there:
            late = there.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 20)", done)
            assert late == 0, there.row("SHOW REPLICA STATUS")

    def semisync(self) -> dict[str, str]:
        """The source's counters of transactions that the replica has acknowledged, or has not."""
        with self.source.connect("mysql") as there:
            rows = there.rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source%'")
        return {row["Variable_name"].removeprefix("Rpl_semi_sync_source_"): row["Value"] for row in rows}

    def start_group(self) -> None:
        """Make the source the first member of a group: the plugin of group replication judges every commit then."""
        with self.source.connect("mysql") as there:
            there.execute(
                f"SET GLOBAL group_replication_local_address = '{self.source.host}:{self.source.port}';"
                f"CHANGE REPLICATION SOURCE TO SOURCE_USER = '{_ACCOUNT}', SOURCE_PASSWORD = ''"
                " FOR CHANNEL 'group_replication_recovery';"
                "SET GLOBAL group_replication_bootstrap_group = ON;"
                "START GROUP_REPLICATION"
            )
            assert there.rows(
                "SELECT member_state AS state, member_role AS role FROM performance_schema.replication_group_members"
            ) == [{"state": "ONLINE", "role": "PRIMARY"}]


@contextmanager
def pair(install: MySQLInstall, folder: Path) -> Iterator[Pair]:
    """Start both, and let the replica follow."""
    # One is made, and copied: that is faster than making two.
    empty = folder / "empty"
    subprocess.run(
        [install.mysqld, "--initialize-insecure", f"--datadir={empty}", *_SMALL], capture_output=True, check=True
    )
    with ExitStack() as cleanup:

        def start(name: str, options: Sequence[str]) -> RunningMySQL:
            shutil.copytree(empty, folder / name, ignore=shutil.ignore_patterns("auto.cnf"))
            server = mysql.start(install, folder / name, extra=[*_SMALL, *_GTID, *options])
            cleanup.callback(_kill, server)
            return server

        with ThreadPoolExecutor(2) as pool:
            starting = [pool.submit(start, "source", _SOURCE), pool.submit(start, "replica", _REPLICA)]
            source, replica = (future.result() for future in starting)
        made = Pair(_server(source), _server(replica), source.data_dir / "error.log")
        _follow(made)
        yield made


def _kill(running: RunningMySQL) -> None:
    """End a server whose data nobody wants: a shutdown would take it some seconds."""
    process.stop(running.pid, running.identity, deadline_s=0.2)
    mysql.remove_socket(running.socket)


def _server(running: RunningMySQL) -> Server:
    return Server(running.host, running.port, "root")


def _follow(servers: Pair) -> None:
    with servers.source.connect("mysql") as there:
        there.execute(
            f"CREATE USER {_ACCOUNT};"
            f"GRANT REPLICATION SLAVE, BACKUP_ADMIN, CONNECTION_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO {_ACCOUNT};"
            # Not before: a commit without a replica would wait for one.
            "SET GLOBAL rpl_semi_sync_source_enabled = ON"
        )
    with servers.replica.connect("mysql") as there:
        there.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{process.LOOPBACK}', SOURCE_PORT = {servers.source.port},"
            f" SOURCE_USER = '{_ACCOUNT}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1;"
            "START REPLICA"
        )
    eventually(lambda: servers.semisync()["clients"] == "1", seconds=60)


def contents(server: Server, database: str) -> dict[str, list[Row]]:
    """Every row of every table of a database, by primary key."""
    with server.connect(database) as session:
        tables = session.column(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
        )
        return {table: session.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}
