"""What MySQL does: it restarts, dies, drops connections, turns read-only; its other faults are in modules beside."""

import random
import time
from collections.abc import Sequence

import mysql.connector
from mysql.connector import errorcode

from tests.faults import under_load
from tests.faults.mysql import clock, failover, group, limits, locks
from tests.faults.mysql.watch import log_since, wait_until_flowing, wait_until_told, wait_until_waited
from tests.faults.report import Report, Run
from tests.faults.stage import ACCOUNT, Scene, Stage
from tests.faults.under_load import Deed, Fault
from tests.kit.session import Session
from tests.servers.lasting import LastingMySQL

_BETWEEN_S = (0.0, 1.0)
_DOWN_S = (0.0, 3.0)


def restarts(server: LastingMySQL, times: int) -> Fault:
    """Shut down in good order, and started again."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        for _ in range(times):
            _let_flow(scene, chance)
            server.stop()
            time.sleep(chance.uniform(*_DOWN_S))
            server.start()
        wait_until_waited(scene)
        return Deed(f"MySQL restarted {times} times, which every daemon noticed")

    return fault


def dies(server: LastingMySQL, times: int) -> Fault:
    """Ended as by a power cut; InnoDB and the binary log have to recover."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        log = log_since(server)
        for _ in range(times):
            _let_flow(scene, chance)
            server.kill()
            time.sleep(chance.uniform(*_DOWN_S))
            server.start()
        wait_until_waited(scene)
        # Not said after a shutdown in good order.
        recovered = log().count("Starting XA crash recovery")
        deed = Deed(f"MySQL killed {times} times, and {recovered} times recovered, which every daemon noticed")
        if recovered != times:
            deed.problems.append(f"MySQL has recovered {recovered} times, not {times}")
        return deed

    return fault


def drops_connections(times: int) -> Fault:
    """Connections, and statements in them, of applications and daemons, at random; in the end all connections."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        count = {"CONNECTION": 0, "QUERY": 0}
        with scene.server.connect(scene.database) as session:
            wait_until_flowing(scene, session)
            while sum(count.values()) < times:
                time.sleep(chance.uniform(0.0, 0.2))
                what = chance.choice(list(count))
                count[what] += _kill_one(session, what, chance)
            session.kill_sessions(ACCOUNT)
            wait_until_waited(scene)
        return Deed(f"{count['CONNECTION']} connections killed, and the statements of {count['QUERY']} others")

    return fault


def is_read_only(seconds: float) -> Fault:
    """super_read_only, as before a planned change of the source."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        deed = Deed(f"super_read_only for more than {seconds:.0f} s")
        with scene.server.connect(scene.database) as session:
            wait_until_flowing(scene, session)
            time.sleep(chance.uniform(*_BETWEEN_S))
            session.execute("SET GLOBAL super_read_only = ON")
            try:
                before = scene.counts()
                time.sleep(seconds)
                # Consumers have nothing to do, and may not notice.
                wait_until_waited(scene, "read-only", only="relay")
                wait_until_told(scene, errorcode.ER_OPTION_PREVENTS_STATEMENT)
                if scene.counts() != before:
                    deed.problems.append("messages have changed while the server was read-only")
            finally:
                session.execute("SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")
        return deed

    return fault


def together(faults: Sequence[Fault]) -> Fault:
    """One after the other, under the same load."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        deeds = [one(scene, chance) for one in faults]
        return Deed("; ".join(deed.done for deed in deeds), [problem for deed in deeds for problem in deed.problems])

    return fault


def _let_flow(scene: Scene, chance: random.Random) -> None:
    with scene.server.connect(scene.database) as session:
        wait_until_flowing(scene, session)
    time.sleep(chance.uniform(*_BETWEEN_S))


def _kill_one(session: Session, what: str, chance: random.Random) -> bool:
    """Whether there was one to be killed."""
    victims = session.column("SELECT id FROM performance_schema.processlist WHERE user = %s ORDER BY id", ACCOUNT)
    if not victims:
        return False
    try:
        session.execute(f"KILL {what} {chance.choice(victims)}")
    except mysql.connector.Error as error:
        if error.errno != errorcode.ER_NO_SUCH_THREAD:
            raise
        return False
    return True


def _restarted(stage: Stage, seed: int) -> Report:
    return under_load.run(stage, seed, "MySQL restarts", restarts(stage.mysql, 3))


def _killed(stage: Stage, seed: int) -> Report:
    return under_load.run(stage, seed, "MySQL is killed", dies(stage.mysql, 3))


def _connections_killed(stage: Stage, seed: int) -> Report:
    return under_load.run(stage, seed, "connections are killed", drops_connections(100))


def _read_only(stage: Stage, seed: int) -> Report:
    return under_load.run(stage, seed, "MySQL is read-only", is_read_only(8))


FAULTS: dict[str, Run] = {
    "mysql-restarted": _restarted,
    "mysql-killed": _killed,
    "connections-killed": _connections_killed,
    "read-only": _read_only,
    **locks.FAULTS,
    **limits.FAULTS,
    **clock.FAULTS,
    **failover.FAULTS,
    **group.FAULTS,
}
