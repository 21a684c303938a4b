"""The source of a semisynchronous pair dies, its replica is promoted, and everybody goes there."""

import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import under_load
from tests.faults.mysql.watch import other_mysql, wait_until_flowing, wait_until_waited
from tests.faults.report import Report, Run
from tests.faults.stage import ACCOUNT, Scene, Stage
from tests.faults.under_load import Deed, Load
from tests.kit.command import Setting
from tests.kit.server import Server
from tests.servers.lasting import LastingMySQL
from tests.servers.paths import cache_dir
from tests.servers.router import Router

# As durable as by default; a commit is answered only once the replica has it, however long that takes.
_BOTH = (
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--innodb-buffer-pool-size=256M",
    "--innodb-redo-log-capacity=64M",
)
_SOURCE = (*_BOTH, "--plugin-load-add=semisync_source.so", "--loose-rpl-semi-sync-source-timeout=3600000")
_REPLICA = (
    *_BOTH,
    "--server-id=2",
    "--super-read-only=ON",
    "--plugin-load-add=semisync_replica.so",
    "--loose-rpl-semi-sync-replica-enabled=ON",
)
_REPLICATION = "replication"
_APPLIED_S = 60
_UNTIL_PROMOTED_S = (0.5, 5.0)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The source, its replica, and the Router before both."""

    source: LastingMySQL
    replica: LastingMySQL
    router: Router


def behind_router(stage: Stage, seed: int) -> Report:
    """Daemons and applications know only MySQL Router."""
    return _run(stage, seed, "failover, MySQL Router follows", by_list=False)


def by_list(stage: Stage, seed: int) -> Report:
    """Daemons have a list of addresses; the old source, which is in it, comes back in the end, read-only."""
    return _run(stage, seed, "failover, the daemon's list of addresses follows", by_list=True)


def _run(stage: Stage, seed: int, name: str, *, by_list: bool) -> Report:
    with _pair(stage) as (behind, pair):

        def fault(scene: Scene, chance: random.Random) -> Deed:
            with scene.server.connect(scene.database) as session:
                wait_until_flowing(scene, session, chance.randint(20, 80))
            problems = _not_semisync(_at(pair.source))
            pair.source.kill()
            # Consumers get nothing while relays cannot claim, and may not notice.
            wait_until_waited(scene, only="relay")
            time.sleep(chance.uniform(*_UNTIL_PROMOTED_S))
            received = _promote(_at(pair.replica))
            deed = Deed(f"the source killed, its replica promoted with {received}", problems)
            with _at(pair.replica).connect(scene.database) as session:
                wait_until_flowing(scene, session)
                if by_list:
                    deed.done += "; the old source started again, read-only, and all connections killed"
                    pair.source.start(["--super-read-only=ON"])
                    session.kill_sessions(ACCOUNT)
                    wait_until_flowing(scene, session)
            return deed

        settings = _list(pair) if by_list else {}
        return under_load.run(behind, seed, name, fault, Load(settings=settings, drain_seconds=180))


@contextmanager
def _pair(stage: Stage) -> Iterator[tuple[Stage, _Pair]]:
    """Start both and the Router; the stage's scenes are made through it, and so on the source."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="failover-", dir=cache_dir())))
        source = cleanup.enter_context(other_mysql(stage, "source", _SOURCE)).mysql
        replica = cleanup.enter_context(other_mysql(stage, "replica", _REPLICA)).mysql
        _follow(_at(source), _at(replica))
        router = Router(folder, [source.port, replica.port])
        cleanup.callback(router.stop)
        router.start()
        yield replace(stage, mysql=source, address=(router.host, router.port)), _Pair(source, replica, router)


def _follow(source: Server, replica: Server) -> None:
    with source.connect("mysql") as there:
        there.execute(f"CREATE USER {_REPLICATION}; GRANT REPLICATION SLAVE ON *.* TO {_REPLICATION}")
    with replica.connect("mysql") as here:
        here.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{source.host}', SOURCE_PORT = {source.port},"
            f" SOURCE_USER = '{_REPLICATION}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1;"
            "START REPLICA"
        )
        with source.connect("mysql") as there:
            # Not before the replica is about to come: a commit without one would wait for it.
            there.execute("SET GLOBAL rpl_semi_sync_source_enabled = ON")
            here.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", there.value("SELECT @@GLOBAL.gtid_executed"))


def _promote(replica: Server) -> str:
    """What an operator, or a tool for this, does: apply all that was received, then write. Returns what that was."""
    with replica.connect("mysql") as here:
        here.execute("STOP REPLICA IO_THREAD")
        received = here.row("SHOW REPLICA STATUS")["Retrieved_Gtid_Set"]
        late = here.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", received, _APPLIED_S)
        assert late == 0, here.row("SHOW REPLICA STATUS")
        here.execute("STOP REPLICA; RESET REPLICA ALL; SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")
        return f"transactions up to {received.rpartition(':')[2]}"


def _not_semisync(source: Server) -> list[str]:
    """What is wrong where the source has answered a commit that the replica may not have."""
    with source.connect("mysql") as there:
        rows = there.rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source%'")
    status = {row["Variable_name"].removeprefix("Rpl_semi_sync_source_"): row["Value"] for row in rows}
    if status["status"] != "ON" or status["no_tx"] != "0" or status["yes_tx"] == "0":
        return [f"semisynchronous replication did not do what this fault is about: {status}"]
    return []


def _list(pair: _Pair) -> Mapping[str, Setting]:
    """Both addresses, for the connector to try in random order in place of the Router's, which is in mysql_url."""
    return {
        "mysql_options": {"failover": [{"host": one.host, "port": one.port} for one in (pair.source, pair.replica)]}
    }


def _at(database: LastingMySQL) -> Server:
    return Server(database.host, database.port, "root")


FAULTS: dict[str, Run] = {"failover-router": behind_router, "failover-list": by_list}
