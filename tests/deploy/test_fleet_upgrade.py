"""An upgrade of a fleet: of databases at different versions, a daemon serves what fits and names what does not."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.deploy import next_outboxd
from tests.deploy.release import ACCOUNT, NAME, POST, PRE, Release
from tests.kit.command import OUTBOXD, Command, Setting, run
from tests.kit.daemon import QUICK, Daemon
from tests.kit.installing import create_account, empty_database, migrate, mysql_url
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import OBSERVED, Observed, observe
from tests.kit.server import Server
from tests.kit.session import Session, chat_payload

FIRST, SECOND = NAME, f"{NAME}_second"
NEXT: Command = next_outboxd.COMMAND
Start = Callable[[Command], Daemon]


@pytest.fixture
def shards(mysql_server: Server) -> Iterator[dict[str, Session]]:
    """Two databases with the present release, and an account for daemons."""
    with ExitStack() as cleanup:
        sessions = {name: cleanup.enter_context(empty_database(mysql_server, name)) for name in (FIRST, SECOND)}
        create_account(sessions[FIRST], ACCOUNT, *(f"GRANT EXECUTE ON {name}.*" for name in sessions))
        cleanup.callback(sessions[FIRST].execute, f"DROP USER {ACCOUNT}")
        for name in sessions:
            assert migrate(mysql_server, name)
        yield sessions


@pytest.fixture
def folder(mysql_server: Server, shards: dict[str, Session], tmp_path: Path) -> Path:
    """Where the configuration of the fleet is."""
    tables = [f'[databases.{name}]\nmysql_url = "{mysql_url(mysql_server, name, ACCOUNT)}"\n' for name in shards]
    (tmp_path / "outboxd.toml").write_text("".join(tables), encoding="utf-8")
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the daemon of a release; all are gone at the end."""
    started: list[Daemon] = []
    with MockCluster() as cluster:
        cluster.create_topic("chat")
        settings: dict[str, Setting] = {
            "kafka_bootstrap": cluster.bootstrap,
            "kafka_options": QUICK_GROUP,
            "topics": "chat",
            "group": "fleet",
            **OBSERVED,
            **QUICK,
        }

        def start_one(command: Command) -> Daemon:
            started.append(Daemon(folder, settings, command=command))
            started[-1].start()
            return started[-1]

        yield start_one
        for daemon in started:
            daemon.kill()
            print(daemon.log)  # pytest shows it where the test has failed


@pytest.fixture
def apply(mysql_server: Server, tmp_path: Path) -> Callable[..., list[str]]:
    """Apply the files of the next release to a database."""
    apart = tmp_path / "the owner's"  # where the fleet's configuration is not
    apart.mkdir()
    return lambda name, *options: Release(mysql_server, "", apart, is_next=True, database=name).applies(*options)


def goes_on(session: Session, daemon: Daemon) -> None:
    """Messages of this database take effect."""
    messages = [session.enqueue(f"k-{number % 5}", payload=chat_payload(f"text {number}")) for number in range(20)]

    def is_done() -> bool:
        statuses = session.statuses()
        return all(statuses[message] == "consumed" for message in messages)

    daemon.eventually(is_done, "messages take effect")


def names_it(seen: Observed, reason: str) -> None:
    """The daemon serves the second database, and says everywhere that and why it does not serve the first."""
    for name, served in ((FIRST, 0), (SECOND, 1)):
        line = f'outboxd_served{{database="{name}"}} {served}.0'
        seen.daemon.eventually(partial(lambda line: line in seen.text("/metrics"), line), line)
    assert f'outboxd_slots_owned{{database="{FIRST}"}} 0.0' in seen.text("/metrics")
    (failed,) = seen.daemon.events("failed")
    assert (failed["database"], reason in failed["error"]) == (FIRST, True)
    seen.turns("/readyz", 503, f"{FIRST}: ")
    assert reason in seen.text("/readyz")
    seen.daemon.eventually(lambda: f"{SECOND}: " not in seen.text("/readyz"), "it lacks nothing for the other")
    seen.turns("/healthz", 200, "ok")


def test_old_daemon_serves_databases_of_both_versions_until_what_it_calls_is_dropped(
    shards: dict[str, Session], start: Start, apply: Callable[..., list[str]]
) -> None:
    old = observe(start((OUTBOXD,)))
    assert apply(FIRST) == PRE
    for session in shards.values():
        goes_on(session, old.daemon)
    assert apply(FIRST, "--post") == POST
    old.daemon.says("failed", database=FIRST)
    goes_on(shards[SECOND], old.daemon)
    assert old.daemon.stop() == 0

    begun_anew = observe(start((OUTBOXD,)))
    waiting = shards[FIRST].value("SELECT COUNT(*) FROM chat_histories")
    names_it(begun_anew, "V0303__enqueue_v1.sql is gone, dropped by V1302__post_enqueue_v1.sql")
    goes_on(shards[SECOND], begun_anew.daemon)
    assert shards[FIRST].value("SELECT COUNT(*) FROM chat_histories") == waiting


def test_new_daemon_serves_what_is_migrated_and_the_rest_once_it_is_too(
    shards: dict[str, Session], start: Start, apply: Callable[..., list[str]], folder: Path
) -> None:
    old = start((OUTBOXD,))
    old.says("started")
    assert apply(SECOND) == PRE
    new = observe(start(NEXT))
    names_it(new, f"database {FIRST} lacks migration {PRE[0]} and {len(PRE) - 1} more: run `outboxd migrate`")
    assert old.stop() == 0
    left = shards[FIRST].enqueue("waits")
    goes_on(shards[SECOND], new.daemon)
    assert shards[FIRST].statuses()[left] == "pending"

    said = run(folder, {}, ("doctor", "--json"), command=NEXT).stdout
    findings = {one["database"]: one["findings"] for one in map(json.loads, said.splitlines())}
    lacking = {name for name, found in findings.items() if any(PRE[0] in finding["state"] for finding in found)}
    assert lacking == {FIRST}

    assert apply(FIRST) == PRE
    new.daemon.send(signal.SIGHUP)
    new.daemon.says("serves", database=FIRST)
    goes_on(shards[FIRST], new.daemon)
    assert shards[FIRST].statuses()[left] == "consumed"
    goes_on(shards[SECOND], new.daemon)
    new.turns("/readyz", 200, "ok")
    assert shards[FIRST].value("SELECT MAX(retry_count) FROM agent_outbox_messages") == 0
