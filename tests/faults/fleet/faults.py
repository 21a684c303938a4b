"""Four shards of real chat, a mysqld each, and two daemons that share all: some are away, and the others go on."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise

from tests.faults.applications import Applications
from tests.faults.daemon import FaultyDaemon
from tests.faults.launcher import Faults
from tests.faults.mysql.watch import other_mysql
from tests.faults.report import Report, Run, problems_of
from tests.faults.stage import STOP_DEADLINE_S, Scene, Stage
from tests.kit import checker, kafka
from tests.kit.checker import Verdict
from tests.kit.session import Session
from tests.servers.lasting import LastingMySQL

_OPTIONS = ("--innodb-buffer-pool-size=128M", "--innodb-redo-log-capacity=64M")
_MESSAGES = 8_000
_AWAY_S = 12.0
_FLOWING = 20
_SECONDS = 120
# So long is a server waited for that answers nothing and closes nothing.
_STALL_S = 5
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
)
_TIMES = "SELECT consumed_at FROM agent_outbox_messages WHERE consumed_at IS NOT NULL ORDER BY consumed_at"


@dataclass(frozen=True, slots=True)
class _Shard:
    """One database of the fleet, on a server of its own, and who writes to it."""

    name: str
    mysql: LastingMySQL
    scene: Scene
    applications: Applications


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The shards and the daemons, all of which know all shards."""

    shards: Sequence[_Shard]
    daemons: Sequence[FaultyDaemon]


_Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Absence:
    """What was away, and from when to when (seconds since 1970); shard is None where it was a daemon."""

    what: str
    shard: _Shard | None
    began: float
    ended: float
    flowed: float


def run(stage: Stage, seed: int, shards: int = 4, applications: int = 2) -> Report:
    """Take one after the other away under load; then let everything drain, and check each shard."""
    with _fleet(stage, seed, shards, applications) as fleet:
        chance = random.Random(f"{seed} fleet")
        began = time.time()
        _let_flow(fleet, fleet.shards)
        flowed = time.time()
        _until(fleet, lambda: time.time() >= flowed + _AWAY_S, "nothing is away")
        killed, frozen, locked = chance.sample(fleet.shards, 3)
        absences = [
            _away(fleet, f"mysqld of {killed.name} killed", killed, lambda: _kill(killed)),
            _away(fleet, f"{fleet.daemons[0].name} killed", None, lambda: _kill_daemon(fleet.daemons[0])),
            _away(fleet, f"mysqld of {frozen.name} frozen", frozen, lambda: _freeze(frozen)),
            _away(fleet, f"all tables of {locked.name} locked", locked, lambda: _lock(locked)),
        ]
        for shard in fleet.shards:
            shard.applications.say_enough()
        for shard in fleet.shards:
            shard.applications.finish()
        wrote = time.time() - began
        for shard in fleet.shards:
            shard.scene.wait_until_final()
        for daemon in fleet.daemons:
            daemon.terminate()
        codes = {daemon.name: daemon.wait_or_kill(STOP_DEADLINE_S) for daemon in fleet.daemons}
        problems = [f"exit codes after SIGTERM: {codes}"] if any(codes.values()) else []
        told = [_told(fleet, absence, problems) for absence in absences]
        verdict = _checked(fleet, problems)
        return Report(
            "fleet",
            f"{shards} mysqld and two daemons for all; {applications * shards} applications wrote for {wrote:.0f} s,"
            f" each user in one shard; {'; '.join(told)}",
            f"{verdict}; {verdict.in_doubt} messages in doubt; longest pause while nothing was away:"
            f" {max(_longest_pause(shard, flowed, absences[0].began) for shard in fleet.shards):.1f} s;"
            f" the daemons: {fleet.shards[0].scene.troubles()}",
            verdict,
            problems,
        )


@contextmanager
def _fleet(stage: Stage, seed: int, shards: int, applications: int) -> Iterator[_Fleet]:
    """Start servers, daemons and applications; all are gone at the end."""
    with ExitStack() as cleanup:
        names = [f"shard-{number}" for number in range(1, shards + 1)]
        stages = [cleanup.enter_context(other_mysql(stage, name, _OPTIONS)) for name in names]
        scenes = [cleanup.enter_context(stages[0].scene(topics=2))]
        scenes += [cleanup.enter_context(one.scene(shared=scenes[0].topics)) for one in stages[1:]]
        first = scenes[0]
        tables = [f'[databases.{name}]\nmysql_url = "{scene.url}"\n' for name, scene in zip(names, scenes, strict=True)]
        (first.folder / "outboxd.toml").write_text("".join(tables), encoding="utf-8")
        daemons = [
            FaultyDaemon(name, "", {**first.settings(name), "stall_seconds": _STALL_S}, Faults(), first.folder)
            for name in ("daemon-1", "daemon-2")
        ]
        for scene in scenes:
            scene.daemons.extend(daemons)
        for daemon in daemons:
            daemon.start()
        first.wait_until(lambda: all(daemon.is_ready for daemon in daemons), "the daemons started", 90)
        writing = [
            Applications(scene, seed, _MESSAGES, applications, patient=True, shard=(number, shards))
            for number, scene in enumerate(scenes)
        ]
        for one in writing:
            cleanup.enter_context(one)
        yield _Fleet(
            [
                _Shard(name, one.mysql, scene, writer)
                for name, one, scene, writer in zip(names, stages, scenes, writing, strict=True)
            ],
            daemons,
        )


def _away(fleet: _Fleet, what: str, shard: _Shard | None, take: Callable[[], _Undo]) -> _Absence:
    """Take it away for some time, until the others have gone on, and wait until all shards go on."""
    others = [one for one in fleet.shards if one is not shard]
    began = time.time()
    undo = take()
    try:
        _let_flow(fleet, others)
        _until(fleet, lambda: time.time() >= began + _AWAY_S, "it is away")
    finally:
        undo()
    ended = time.time()
    _let_flow(fleet, [shard] if shard else fleet.shards, 1)
    flowed = time.time()
    _let_flow(fleet, fleet.shards)
    return _Absence(what, shard, began, ended, flowed)


def _kill(shard: _Shard) -> _Undo:
    shard.mysql.kill()
    return shard.mysql.start


def _kill_daemon(daemon: FaultyDaemon) -> _Undo:
    daemon.kill()
    return daemon.start


def _freeze(shard: _Shard) -> _Undo:
    shard.mysql.freeze()
    return shard.mysql.thaw


def _lock(shard: _Shard) -> _Undo:
    session = shard.scene.server.connect(shard.scene.database)
    session.execute(f"LOCK TABLES {', '.join(f'{table} WRITE' for table in session.column(_TABLES))}")
    return session.close


def _written(session: Session) -> int:
    return int(session.value("SELECT COUNT(*) FROM chat_histories"))


def _let_flow(fleet: _Fleet, shards: Sequence[_Shard], more: int = _FLOWING) -> None:
    """Wait until so many more messages have taken effect in each of these shards."""
    for shard in shards:
        with shard.scene.server.connect(shard.scene.database) as session:
            before = _written(session)

            def is_flowing(session: Session = session, enough: int = before + more) -> bool:
                return _written(session) >= enough

            _until(fleet, is_flowing, f"{more} more messages take effect in {shard.name}")


def _until(fleet: _Fleet, condition: Callable[[], bool], what: str) -> None:
    """Wait, and start applications again that have killed themselves."""

    def look() -> bool:
        for shard in fleet.shards:
            shard.applications.are_done()
        return condition()

    fleet.shards[0].scene.wait_until(look, what, _SECONDS)


def _told(fleet: _Fleet, absence: _Absence, problems: list[str]) -> str:
    """What an absence has meant. The others may not have waited for it; where a daemon dies, nobody has its slots."""
    others = [one for one in fleet.shards if one is not absence.shard]
    pause = max(_longest_pause(one, absence.began, absence.ended) for one in others)
    away = absence.ended - absence.began
    if pause > away / 2:
        problems.append(f"{absence.what}: another shard stood still for {pause:.1f} of {away:.1f} s")
    return (
        f"{absence.what} for {away:.1f} s: {'the others' if absence.shard else 'all'} paused for {pause:.1f} s"
        f" at most, all flowed {absence.flowed - absence.ended:.1f} s after its return"
    )


def _longest_pause(shard: _Shard, began: float, ended: float) -> float:
    """How long no message of a shard has taken effect, at most, within these times."""
    times: list[float] = [moment.replace(tzinfo=UTC).timestamp() for moment in shard.scene.session.column(_TIMES)]
    return max(
        after - before for before, after in pairwise([began, *filter(lambda t: began < t < ended, times), ended])
    )


def _checked(fleet: _Fleet, problems: list[str]) -> Verdict:
    """What became of all messages of all shards."""
    first = fleet.shards[0].scene
    records = kafka.read_all(first.bootstrap, first.topics)
    sources = {shard.scene.session.source(): shard for shard in fleet.shards}
    verdicts = []
    for source, shard in sources.items():
        own = [record for record in records if record.source == source]
        verdicts.append(checker.check(shard.applications.ledger(), shard.scene.session, own))
        problems += [f"{shard.name}: {problem}" for problem in problems_of(verdicts[-1])]
        if shard.scene.retries():
            problems.append(
                f"{shard.name}: {shard.scene.retries()} retries were used up for what is no message's fault"
            )
    if strangers := [record for record in records if record.source not in sources]:
        problems.append(f"{len(strangers)} records of no shard")
    return checker.together(verdicts)


FAULTS: dict[str, Run] = {"fleet": run}
