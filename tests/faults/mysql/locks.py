"""Others hold what outboxd needs: rows in another order, rows and tables for long, the whole server, the definition."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import mysql.connector
from mysql.connector import errorcode

from tests.faults import under_load
from tests.faults.mysql.watch import wait_until_flowing, waited
from tests.faults.report import Report, Run
from tests.faults.stage import FaultError, Scene, Stage
from tests.faults.under_load import Deed
from tests.kit.session import Session
from tests.kit.waiting import background

_LIVE = "SELECT id FROM agent_outbox_messages WHERE status IN ('pending', 'published') ORDER BY id DESC LIMIT 40"
_NEWEST = "SELECT id FROM agent_outbox_messages ORDER BY id DESC LIMIT 40"
_DEADLOCKS_S = 60
# Longer than the daemon waits for a lock (2 seconds).
_HELD_S = (2.5, 5.0)
_ALTER = "ALTER TABLE agent_outbox_messages ADD INDEX fault (created_at), ALGORITHM = INPLACE, LOCK = NONE"
_ALTER_BACK = "ALTER TABLE agent_outbox_messages DROP INDEX fault, ALGORITHM = INPLACE, LOCK = NONE"
_WEIGH = """
INSERT INTO weight (text)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
SELECT i FROM n
"""
_WAITING_FOR_DEFINITION = "Waiting for table metadata lock"


def deadlocks(stage: Stage, seed: int, wanted: int = 5) -> Report:
    """Somebody locks messages, chat and slots by descending ids, one by one, where outboxd goes up."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        rounds = fallen = 0
        with scene.server.connect(scene.database) as session, scene.server.connect(scene.database) as watcher:
            wait_until_flowing(scene, session)
            before = _metric(watcher, "lock_deadlocks")
            # So that it is not this one that InnoDB sacrifices: who has changed more rows stays.
            session.execute("CREATE TABLE weight (number INT PRIMARY KEY AUTO_INCREMENT, text CHAR(10))")
            end = time.monotonic() + _DEADLOCKS_S
            while _metric(watcher, "lock_deadlocks") - before - fallen < wanted:
                if time.monotonic() > end:
                    raise FaultError(f"no {wanted} deadlocks within {_DEADLOCKS_S} s in {rounds} rounds")
                rounds += 1
                fallen += not _lock_downwards(session, chance)
            others = _metric(watcher, "lock_deadlocks") - before - fallen
            session.execute("DROP TABLE weight")
            wait_until_flowing(scene, session)
        return Deed(f"in {rounds} rounds {others} deadlocks in which outboxd or an application had to give way")

    return under_load.run(stage, seed, "deadlocks", fault)


def rows_locked(stage: Stage, seed: int, times: int = 3) -> Report:
    """Messages and slots are locked for longer than the daemon waits for a lock."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        with scene.server.connect(scene.database) as session, scene.server.connect(scene.database) as watcher:
            wait_until_flowing(scene, session)
            before = _metric(watcher, "lock_timeouts")
            held = 0
            while held < times:
                held += _hold(session, chance.uniform(*_HELD_S))
                wait_until_flowing(scene, watcher)
            timeouts = _metric(watcher, "lock_timeouts") - before
        deed = Deed(
            f"messages and all slots locked {times} times for more than {_HELD_S[0]} s; {timeouts} waits timed out"
        )
        if not timeouts or not waited(scene, "lock wait timeout"):
            deed.problems.append("no daemon has said that it waited too long for a lock")
        return deed

    return under_load.run(stage, seed, "rows are locked for long", fault)


def tables_locked(stage: Stage, seed: int) -> Report:
    """LOCK TABLES, FLUSH TABLES WITH READ LOCK as a backup does it, and an ALTER that waits for a long transaction."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        with scene.server.connect(scene.database) as session, scene.server.connect(scene.database) as other:
            wait_until_flowing(scene, session)
            for lock in (
                "LOCK TABLES agent_outbox_messages WRITE, outbox_slots WRITE",
                "LOCK TABLES chat_histories READ",
                "FLUSH TABLES WITH READ LOCK",
            ):
                session.execute(lock)
                time.sleep(chance.uniform(*_HELD_S))
                session.execute("UNLOCK TABLES")
                wait_until_flowing(scene, other)
            for alter in (_ALTER, _ALTER_BACK):
                _alter_behind_a_reader(scene, session, other, alter, chance.uniform(*_HELD_S))
                wait_until_flowing(scene, other)
        return Deed("tables locked for writing and for reading, the whole server for reading, the table altered twice")

    return under_load.run(stage, seed, "tables are locked", fault)


def _alter_behind_a_reader(scene: Scene, reader: Session, other: Session, alter: str, seconds: float) -> None:
    """Everybody who needs the table queues behind the ALTER, which waits for one open transaction that has read it."""
    with scene.server.connect(scene.database) as altering:
        session_id = altering.session_id
        with _transaction(reader):
            reader.rows(_NEWEST)
            altering.execute("SET lock_wait_timeout = 60")
            with background(lambda: altering.execute(alter)) as altered:
                scene.wait_until(lambda: other.is_in(session_id, _WAITING_FOR_DEFINITION), "the ALTER waits", 90)
                time.sleep(seconds)
                reader.execute("COMMIT")
                altered.result()


def _hold(session: Session, seconds: float) -> bool:
    """Lock all slots, and messages; whether that was possible."""
    with _deadlock_suppressed() as outcome, _transaction(session):
        session.rows("SELECT slot FROM outbox_slots ORDER BY slot FOR UPDATE")
        session.rows(f"{_LIVE} FOR UPDATE")
        time.sleep(seconds)
    return not outcome


def _lock_downwards(session: Session, chance: random.Random) -> bool:
    """Lock messages and slots one by one; whether that came to an end, or this session had to give way."""
    with _deadlock_suppressed() as outcome, _transaction(session):
        session.execute(_WEIGH)
        for id_ in session.column(_NEWEST):
            session.rows("SELECT id FROM agent_outbox_messages WHERE id = %s FOR UPDATE", id_)
            time.sleep(chance.uniform(0, 0.005))
        for slot in range(63, -1, -1):
            session.rows("SELECT slot FROM outbox_slots WHERE slot = %s FOR UPDATE", slot)
    return not outcome


@contextmanager
def _deadlock_suppressed() -> Iterator[list[mysql.connector.Error]]:
    """Leave the block where it falls victim to a deadlock; the list has that error then."""
    caught: list[mysql.connector.Error] = []
    try:
        yield caught
    except mysql.connector.Error as error:
        if error.errno != errorcode.ER_LOCK_DEADLOCK:
            raise
        caught.append(error)


@contextmanager
def _transaction(session: Session) -> Iterator[None]:
    session.execute("START TRANSACTION")
    try:
        yield
    finally:
        session.execute("ROLLBACK")


def _metric(session: Session, name: str) -> int:
    return int(session.value("SELECT count FROM information_schema.innodb_metrics WHERE name = %s", name))


FAULTS: dict[str, Run] = {"mysql-deadlocks": deadlocks, "rows-locked": rows_locked, "tables-locked": tables_locked}
