"""Three members of a group with one primary, which dies, is frozen, shut down or sent off; the group elects another.

Clients reach the members by MySQL Router, each in turn, or by the connector's list of addresses: a member that is not
the primary refuses what they write, and they connect again.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import mysql.connector

from tests.faults import under_load
from tests.faults.mysql.watch import other_mysql, wait_until_flowing
from tests.faults.report import Report, Run
from tests.faults.stage import FaultError, Scene, Stage
from tests.faults.under_load import Deed, Load
from tests.kit.command import Setting
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import NotInTime, eventually
from tests.servers.lasting import LastingMySQL
from tests.servers.paths import cache_dir
from tests.servers.router import IN_TURN, Router

_NAME = "6f757462-6f78-4d65-8373-67726f75705f"
_OPTIONS = (
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--innodb-buffer-pool-size=128M",
    "--innodb-redo-log-capacity=64M",
    "--report-host=127.0.0.1",
    "--plugin-load-add=group_replication.so",
    "--loose-group-replication-start-on-boot=OFF",
    "--loose-group-replication-communication-stack=MYSQL",
    f"--loose-group-replication-group-name={_NAME}",
    "--loose-group-replication-recovery-get-public-key=ON",
    # A member that does not answer is out of the group after 5 seconds, without a further wait.
    "--loose-group-replication-member-expel-timeout=0",
)
_ACCOUNT = "replication"
_MEMBERS = "SELECT member_port, member_id, member_state, member_role FROM performance_schema.replication_group_members"
_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Writable(Server):
    """Where the members are reached: connects to the primary, however often it has to try."""

    def connect(self, database: str, user: str | None = None, password: str = "") -> Session:
        """Open a session on a database of the primary."""
        found: list[Session] = []

        def look() -> bool:
            # By its full name: without arguments, super() knows no class that slots have made anew.
            with suppress(mysql.connector.Error):
                session = Server.connect(self, database, user, password)
                if not session.value("SELECT @@GLOBAL.super_read_only"):
                    found.append(session)
                    return True
                session.close()
            return False

        eventually(look, _SECONDS, "a member is the primary", pause=0.05)
        return found[0]


class Group:
    """The members. Raises FaultError where one does not become what it should."""

    def __init__(self, members: Sequence[LastingMySQL], consistency: str) -> None:
        self._members = members
        self._consistency = consistency

    def form(self) -> None:
        """Make the first one the primary, and let the others join."""
        for number, member in enumerate(self._members):
            with _at(member).connect("mysql") as here:
                here.execute(
                    "SET sql_log_bin = 0;"
                    f"CREATE USER {_ACCOUNT};"
                    "GRANT REPLICATION SLAVE, BACKUP_ADMIN, CONNECTION_ADMIN, GROUP_REPLICATION_STREAM"
                    f" ON *.* TO {_ACCOUNT};"
                    "SET sql_log_bin = 1;"
                    f"CHANGE REPLICATION SOURCE TO SOURCE_USER = '{_ACCOUNT}', SOURCE_PASSWORD = ''"
                    " FOR CHANNEL 'group_replication_recovery';"
                    f"SET GLOBAL group_replication_bootstrap_group = {'OFF' if number else 'ON'}"
                )
                self._join(here, member)
                here.execute("SET GLOBAL group_replication_bootstrap_group = OFF")
        self.wait_until_whole()

    def primary(self, but: LastingMySQL | None = None) -> LastingMySQL:
        """The one primary that a majority knows, once that is another one than this."""
        found: list[LastingMySQL] = []

        def look() -> bool:
            for member in self._members:
                if member is not but:
                    with suppress(mysql.connector.Error), _at(member).connect("mysql") as here:
                        rows = [row for row in here.rows(_MEMBERS) if row["member_state"] == "ONLINE"]
                        ports = [row["member_port"] for row in rows if row["member_role"] == "PRIMARY"]
                        found[:] = [one for one in self._members if one.port in ports and one is not but]
                        if len(rows) >= 2 and len(found) == 1:
                            return True
            return False

        _wait(look, "there is a primary")
        return found[0]

    def wait_until_whole(self) -> None:
        """Wait until all are members, and say so."""

        def is_whole() -> bool:
            for member in self._members:
                try:
                    with _at(member).connect("mysql") as here:
                        states = [row["member_state"] for row in here.rows(_MEMBERS)]
                except mysql.connector.Error:
                    return False
                if states != ["ONLINE"] * len(self._members):
                    return False
            return True

        _wait(is_whole, "all are members")

    def start(self, member: LastingMySQL) -> None:
        """Start one that was ended, which joins again."""
        member.start()
        with _at(member).connect("mysql") as here:
            self._join(here, member)

    def _join(self, here: Session, member: LastingMySQL) -> None:
        seeds = ",".join(f"{one.host}:{one.port}" for one in self._members)
        here.execute(
            f"SET GLOBAL group_replication_local_address = '{member.host}:{member.port}';"
            f"SET GLOBAL group_replication_group_seeds = '{seeds}';"
            f"SET GLOBAL group_replication_consistency = '{self._consistency}';"
            "START GROUP_REPLICATION"
        )

    def send_off(self, primary: LastingMySQL) -> None:
        """Make another one the primary, as before maintenance."""
        with _at(primary).connect("mysql") as here:
            others = [row["member_id"] for row in here.rows(_MEMBERS) if row["member_port"] != primary.port]
            here.rows("SELECT group_replication_set_as_primary(%s)", others[0])


def killed(group: Group, primary: LastingMySQL) -> Callable[[], None]:
    """As by a power cut."""
    primary.kill()
    return lambda: group.start(primary)


def shut_down(group: Group, primary: LastingMySQL) -> Callable[[], None]:
    """As for maintenance, once another one is the primary."""
    group.send_off(primary)
    primary.stop()
    return lambda: group.start(primary)


def frozen(_: Group, primary: LastingMySQL) -> Callable[[], None]:
    """As one that is cut off: the others expel it. It joins again by itself."""
    primary.freeze()
    return primary.thaw


def sent_off(group: Group, primary: LastingMySQL) -> Callable[[], None]:
    """Nobody is away: the old primary refuses what is written to it."""
    group.send_off(primary)
    return lambda: None


_Way = Callable[[Group, LastingMySQL], Callable[[], None]]
ALL: Sequence[_Way] = (killed, frozen, sent_off, shut_down, killed)


def run(
    stage: Stage,
    seed: int,
    *,
    ways: Sequence[_Way] = ALL,
    by_list: bool = False,
    consistency: str = "BEFORE_ON_PRIMARY_FAILOVER",
    applications: int = 2,
) -> Report:
    """Take the primary away in each of these ways, one after the other."""
    with _group(stage, consistency) as (behind, group, settings):

        def fault(scene: Scene, chance: random.Random) -> Deed:
            told = []
            with scene.server.connect(scene.database) as session:
                wait_until_flowing(scene, session, chance.randint(20, 80))
            for way in ways:
                primary = group.primary()
                began = time.monotonic()
                undo = way(group, primary)
                other = group.primary(but=primary)
                elected = time.monotonic() - began
                with _at(other).connect(scene.database) as session:
                    wait_until_flowing(scene, session, more=1)
                    flows = time.monotonic() - began
                    wait_until_flowing(scene, session)
                undo()
                group.wait_until_whole()
                name = way.__name__.replace("_", " ")
                told.append(f"{name}: another elected after {elected:.1f} s, messages flow after {flows:.1f} s")
            return Deed(f"the primary of three, {'; '.join(told)}")

        name = f"group, {'the list of addresses' if by_list else 'MySQL Router'}, {consistency}"
        # So long is a member waited for that answers nothing and closes nothing.
        patience: Mapping[str, Setting] = {"stall_seconds": 5}
        load = Load(
            applications=applications, settings={**patience, **(settings if by_list else {})}, drain_seconds=180
        )
        return under_load.run(behind, seed, name, fault, load)


@contextmanager
def _group(stage: Stage, consistency: str) -> Iterator[tuple[Stage, Group, Mapping[str, Setting]]]:
    """Start the members and the Router; the settings are those of a daemon that has the list instead."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="group-", dir=cache_dir())))
        members = [
            cleanup.enter_context(other_mysql(stage, f"member-{number}", (*_OPTIONS, f"--server-id={number}"))).mysql
            for number in (1, 2, 3)
        ]
        group = Group(members, consistency)
        group.form()
        router = Router(folder, [member.port for member in members], IN_TURN)
        cleanup.callback(router.stop)
        router.start()
        addresses = [{"host": member.host, "port": member.port} for member in members]
        behind = replace(stage, mysql=members[0], address=(router.host, router.port), server=Writable)
        yield behind, group, {"mysql_options": {"failover": addresses}}


def _wait(condition: Callable[[], bool], what: str) -> None:
    try:
        eventually(condition, _SECONDS, what, pause=0.1)
    except NotInTime as late:
        raise FaultError(str(late)) from None


def _at(database: LastingMySQL) -> Server:
    return Server(database.host, database.port, "root")


FAULTS: dict[str, Run] = {
    "group-router": run,
    "group-list": lambda stage, seed: run(stage, seed, by_list=True),
    "group-eventual": lambda stage, seed: run(stage, seed, consistency="EVENTUAL"),
}
