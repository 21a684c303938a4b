"""The server's idea of time changes: its time zone, and its clock, by which leases and retries are reckoned."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import handlers, under_load
from tests.faults.mysql.watch import other_mysql, wait_until_flowing
from tests.faults.report import Report, Run
from tests.faults.stage import ACCOUNT, LEASE_S, FaultError, Scene, Stage
from tests.faults.under_load import Deed, Load
from tests.kit.session import Session
from tests.servers import mysql_install
from tests.servers.faketime import FakeClock
from tests.servers.paths import cache_dir

_ZONES = ("+09:00", "-11:00")
_ONE_IN = 20
_LONGEST_BACKOFF_S = 32
_TOLERANCE_S = 2
_LOOKS_S = 4.0
_HOUR = 3600
# Forward, back, back once more, forward.
_STEPS = (_HOUR, 0, -_HOUR, 0)
_SETTLED_S = 90
_SMALL = ("--innodb-buffer-pool-size=128M", "--innodb-redo-log-capacity=16M")

# Each finds nothing while all times are UTC and by the present clock. %s: seconds of the lease, of the backoff, and
# of tolerance.
_WRONG = {
    "leases that end later than they may": """
SELECT COUNT(*) FROM outbox_relays WHERE lease_until > UTC_TIMESTAMP(6) + INTERVAL {lease} SECOND""",
    "retries that are due later than they may": """
SELECT COUNT(*) FROM agent_outbox_messages
 WHERE status = 'pending' AND next_retry_at > UTC_TIMESTAMP(6) + INTERVAL {backoff} SECOND""",
}
_IN_THE_FUTURE = """
SELECT COUNT(*) FROM agent_outbox_messages
 WHERE GREATEST(created_at, updated_at, COALESCE(published_at, 0), COALESCE(consumed_at, 0))
       > UTC_TIMESTAMP(6) + INTERVAL {tolerance} SECOND"""
_LONG_AGO = """
SELECT COUNT(*) FROM agent_outbox_messages WHERE created_at < '{began}' - INTERVAL {tolerance} SECOND"""


def time_zone_changed(stage: Stage, seed: int) -> Report:
    """Also in the sessions of daemons and applications, which have to connect anew for that."""

    def fault(scene: Scene, _: random.Random) -> Deed:
        wrong: dict[str, int] = {}
        with scene.server.connect(scene.database) as session:
            began = session.value("SELECT UTC_TIMESTAMP(6)")
            handlers.fail_at_random(session, seed, _ONE_IN, "key")
            usual = session.value("SELECT @@GLOBAL.time_zone")
            try:
                for zone in _ZONES:
                    session.execute(f"SET GLOBAL time_zone = '{zone}'")
                    session.kill_sessions(ACCOUNT)
                    wait_until_flowing(scene, session)
                    scene.wait_until(lambda: _zones(session) == {zone}, f"all sessions are in {zone}", 60)  # noqa: B023
                    wrong |= _look(session, began)
            finally:
                session.execute(f"SET GLOBAL time_zone = '{usual}'")
            session.kill_sessions(ACCOUNT)
            wait_until_flowing(scene, session)
            wrong |= _look(session, began)
            failed = scene.session.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE retry_count > 0")
        return Deed(
            f"the time zone changed to {' and '.join(_ZONES)} and back; {failed} messages had failed before",
            [f"{count} {what}" for what, count in wrong.items()],
        )

    return under_load.run(stage, seed, "the time zone changes", fault, Load(may_use_retries=True))


def clock_moved(stage: Stage, seed: int) -> Report:
    """By an hour, forward and back; after each step a relay is killed whose slots must not be without one for long."""

    def fault(scene: Scene, chance: random.Random) -> Deed:
        deed = Deed(
            f"the server's clock set to {', '.join(f'{step:+d} s' for step in _STEPS)}; each time a relay killed"
        )
        with scene.server.connect(scene.database) as session:
            handlers.fail_at_random(session, seed, _ONE_IN, "key")
            wait_until_flowing(scene, session)
            for step in _STEPS:
                clock.set(step)
                scene.wait_until(lambda: abs(_ahead(session) - step) < _HOUR / 2, "the clock is set", 60)  # noqa: B023
                relay = chance.choice([daemon for daemon in scene.daemons if daemon.only == "relay"])
                relay.kill()
                try:
                    _settle(scene, session)
                except FaultError as error:
                    deed.problems.append(f"after the clock was set to {step:+d} s: {error}")
                relay.start()
        return deed

    with _fake_clock() as (clock, folder):
        install = clock.in_mysql(mysql_install.find(), folder)
        with other_mysql(stage, "clock", _SMALL, install) as moved:
            return under_load.run(moved, seed, "the clock moves", fault, Load(may_use_retries=True))


@contextmanager
def _fake_clock() -> Iterator[tuple[FakeClock, Path]]:
    with tempfile.TemporaryDirectory(prefix="clock-", dir=cache_dir()) as folder:
        yield FakeClock(Path(folder)), Path(folder)


def _settle(scene: Scene, session: Session) -> None:
    """Wait until what is in the outbox now is final, and no lease or retry is left that is by another clock."""
    top = session.value("SELECT MAX(id) FROM agent_outbox_messages")
    unfinished = f"""
SELECT COUNT(*) FROM agent_outbox_messages WHERE id <= {top} AND status IN ('pending', 'published')"""
    for what, count in {**_WRONG, "messages that are not final": unfinished}.items():
        sql = _filled(count)
        scene.wait_until(lambda: session.value(sql) == 0, f"no {what}", _SETTLED_S)  # noqa: B023


def _look(session: Session, began: datetime) -> dict[str, int]:
    """What is wrong about times, and how much of it at most, within some seconds."""
    counts = {**_WRONG, "times in the future": _IN_THE_FUTURE, "times before the run": _LONG_AGO}
    wrong: dict[str, int] = {}
    end = time.monotonic() + _LOOKS_S
    while time.monotonic() < end:
        for what, count in counts.items():
            found = session.value(_filled(count, began))
            if found:
                wrong[what] = max(found, wrong.get(what, 0))
        time.sleep(0.1)
    return wrong


def _filled(sql: str, began: datetime | None = None) -> str:
    return sql.format(
        lease=LEASE_S + _TOLERANCE_S,
        backoff=_LONGEST_BACKOFF_S + _TOLERANCE_S,
        tolerance=_TOLERANCE_S,
        began=began,
    )


def _zones(session: Session) -> set[str]:
    """The time zones of all sessions of daemons and applications."""
    return set(
        session.column(
            "SELECT variable_value FROM performance_schema.variables_by_thread JOIN performance_schema.threads"
            " USING (thread_id) WHERE variable_name = 'time_zone' AND processlist_user = %s",
            ACCOUNT,
        )
    )


def _ahead(session: Session) -> float:
    """How many seconds the server's clock is ahead of the machine's."""
    there: datetime = session.value("SELECT UTC_TIMESTAMP(6)")
    return (there - datetime.now(UTC).replace(tzinfo=None)).total_seconds()


FAULTS: dict[str, Run] = {"time-zone": time_zone_changed, "clock": clock_moved}
