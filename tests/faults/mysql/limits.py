"""MySQL has no room: no connection left, no space on the disk of its data."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mysql.connector
from mysql.connector import errorcode

from tests.faults import under_load
from tests.faults.mysql.watch import (
    log_since,
    other_mysql,
    wait_until_flowing,
    wait_until_told,
    wait_until_waited,
)
from tests.faults.report import Report, Run
from tests.faults.stage import ACCOUNT, Scene, Stage
from tests.faults.under_load import Deed, Load
from tests.kit.server import Connect, closing_all
from tests.kit.session import Session
from tests.servers import mysql_install
from tests.servers.lasting import LastingMySQL
from tests.servers.paths import cache_dir
from tests.servers.small_disk import SmallDisk, small_disk

_CONNECTIONS = 40
_HOG = "outboxd_faults_hog"
_DISK_MB = 400
_SMALL = ("--innodb-buffer-pool-size=128M", "--innodb-redo-log-capacity=16M")
_FULL_S = (5.0, 10.0)


def connections_used_up(stage: Stage, seed: int) -> Report:
    """max_connections is reached by others, who take what daemons and applications had."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        deed = Deed("")
        with (
            scene.server.connect(scene.database) as session,
            closing_all(lambda: scene.server.connect("", user=_HOG)) as connect,
        ):
            wait_until_flowing(scene, session)
            session.execute(f"CREATE USER IF NOT EXISTS {_HOG}")
            usual = session.value("SELECT @@GLOBAL.max_connections")
            session.execute(f"SET GLOBAL max_connections = {_CONNECTIONS}")
            try:
                hogs = _crowd_out(session, connect)
                wait_until_told(scene, errorcode.ER_CON_COUNT_ERROR)
                wait_until_waited(scene, only="relay")
                time.sleep(chance.uniform(*_FULL_S))
                if _sessions(session):
                    deed.problems.append("somebody had a connection though none was left")
            finally:
                session.kill_sessions(_HOG)
                session.execute(f"SET GLOBAL max_connections = {usual}; DROP USER {_HOG}")
            wait_until_flowing(scene, session)
        deed.done = f"{hogs} sessions of others took all {_CONNECTIONS} connections; applications were told 1040"
        return deed

    return under_load.run(stage, seed, "max_connections is reached", fault)


def disk_full(stage: Stage, seed: int) -> Report:
    """No space left for the data folder: for the binary log, and for tables that grow."""
    with _on_small_disk(stage) as (small, disk):

        def fault(scene: Scene, chance: random.Random) -> Deed:
            has_ended = _fill_and_make_room(scene, small.mysql, disk, chance.uniform(*_FULL_S))
            with scene.server.connect(scene.database) as session:
                # MySQL looks once a minute whether there is room again.
                wait_until_flowing(scene, session, seconds=240)
            return Deed(
                f"the disk of MySQL's data, {_DISK_MB} MB, filled for more than {_FULL_S[0]:.0f} s;"
                f" MySQL {'ended itself and was started again' if has_ended else 'waited for room'}"
            )

        return under_load.run(small, seed, "the disk is full", fault, Load(drain_seconds=300))


@contextmanager
def _on_small_disk(stage: Stage) -> Iterator[tuple[Stage, SmallDisk]]:
    with tempfile.TemporaryDirectory(prefix="disk-", dir=cache_dir()) as name:
        folder = Path(name)
        mount_point = folder / "data"
        mount_point.mkdir()
        with small_disk(mount_point, _DISK_MB) as disk:
            install = disk.for_mysql(mysql_install.find(), folder)
            with other_mysql(stage, "disk-full", _SMALL, install, disk.path) as small:
                yield small, disk


def _fill_and_make_room(scene: Scene, database: LastingMySQL, disk: SmallDisk, seconds: float) -> bool:
    """Whether the server gave up meanwhile, and had to be started again, as a service manager does."""
    with scene.server.connect(scene.database) as session:
        wait_until_flowing(scene, session)
    log = log_since(database)
    filler = disk.fill()
    try:
        scene.wait_until(lambda: _says_full(database, log()), "MySQL says that its disk is full", 120)
        time.sleep(seconds)
    finally:
        filler.unlink()
    has_ended = not database.is_alive
    database.start()
    return has_ended


def _crowd_out(session: Session, connect: Connect) -> int:
    """Open sessions until none is left, and none is anybody else's; returns how many that were."""
    opened = 0
    while True:
        try:
            while True:
                connect()
                opened += 1
        except mysql.connector.Error as error:
            if error.errno != errorcode.ER_CON_COUNT_ERROR:
                raise
        if not _sessions(session):
            return opened
        session.kill_sessions(ACCOUNT)


def _sessions(session: Session) -> int:
    return int(session.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = %s", ACCOUNT))


def _says_full(database: LastingMySQL, log: str) -> bool:
    return not database.is_alive or any(text in log for text in ("Disk is full", "No space left on device"))


FAULTS: dict[str, Run] = {"max-connections": connections_used_up, "disk-full": disk_full}
