"""An upgrade while applications enqueue and daemons work: nobody notices, and what does not fit is refused by name."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outboxd.schema import bundle
from tests.deploy.next_outboxd import own_migrations
from tests.deploy.release import ACCOUNT, ALL, NAME, POST, PRE, PRESENT, Release
from tests.deploy.traffic import applications
from tests.kit.checker import check
from tests.kit.command import the_one_line
from tests.kit.daemon import Daemon, Event
from tests.kit.installing import Client, create_account, empty_database, migrate, together
from tests.kit.mock_cluster import MockCluster
from tests.kit.schema import create_statements, describe
from tests.kit.server import Server
from tests.kit.session import Row, Session

DROPPED = {"V0303__enqueue_v1.sql": "V1302__post_enqueue_v1.sql", "V0517__claim_v1.sql": "V1502__post_claim_v1.sql"}


@pytest.fixture
def empty(mysql_server: Server) -> Iterator[Session]:
    """A session on an empty database, and an account for applications and daemons, with EXECUTE alone."""
    with empty_database(mysql_server, NAME) as session:
        create_account(session, ACCOUNT, f"GRANT EXECUTE ON {NAME}.*")
        yield session
        session.execute(f"DROP USER {ACCOUNT}")


@pytest.fixture
def shop(empty: Session, mysql_server: Server) -> Session:
    """A session on a database with the present release."""
    assert migrate(mysql_server, NAME)
    return empty


@pytest.fixture
def present(release: Callable[[bool], Release]) -> Release:
    """This release."""
    return release(False)


@pytest.fixture
def following(release: Callable[[bool], Release]) -> Release:
    """The next release."""
    return release(True)


@pytest.fixture
def release(mysql_server: Server, tmp_path: Path) -> Iterator[Callable[[bool], Release]]:
    """Make the command of a release; daemons are gone at the end."""
    releases: list[Release] = []
    with MockCluster() as cluster:
        cluster.create_topic("chat")

        def make(is_next: bool) -> Release:
            releases.append(Release(mysql_server, cluster.bootstrap, tmp_path, is_next=is_next))
            return releases[-1]

        yield make
        for daemon in (daemon for one in releases for daemon in one.started):
            daemon.kill()
            print(daemon.log)  # pytest shows it where the test has failed


def goes_on(shop: Session, daemon: Daemon) -> None:
    """Messages take effect, and there is no daemon but this one."""
    (me,) = {event["name"] for event in daemon.events("started")}

    def is_alone() -> bool:
        relays = shop.column("SELECT relay FROM outbox_relays")
        return bool(relays) and all(relay.startswith(me) for relay in relays)

    daemon.eventually(is_alone, "it relays, and no other does")
    before = shop.value("SELECT COUNT(*) FROM chat_histories")
    daemon.eventually(lambda: shop.value("SELECT COUNT(*) FROM chat_histories") > before + 100, "it goes on")


def failures(daemon: Daemon) -> list[Event]:
    """What its log warns of, but a broker that answers late, and that it waits for a table while a file changes it."""
    warnings = [event for event in daemon.events() if event["level"] != "info"]
    return [event for event in warnings if not str(event.get("reason", "")).startswith(("Kafka", "MySQL: 1205 "))]


def calls(shop: Session, routine: str) -> int:
    """How often the routine was called in this database, as a DBA finds out whether somebody still does."""
    return int(
        shop.value(
            "SELECT COALESCE(SUM(count_star), 0) FROM performance_schema.events_statements_summary_by_program"
            " WHERE object_schema = DATABASE() AND object_name = %s",
            routine,
        )
    )


def test_upgrade_downgrade_and_upgrade_under_traffic_fail_no_call_and_lose_and_repeat_no_message(
    shop: Session, present: Release, following: Release, mysql_server: Server
) -> None:
    with applications(4, lambda: mysql_server.connect(NAME, ACCOUNT)) as (sessions, finish):
        old = present.starts()
        old.eventually(lambda: shop.value("SELECT COUNT(*) FROM chat_histories") > 100, "traffic")
        goes_on(shop, old)

        # Somebody's long transaction on the table is in the way of a new column: calls wait a little, none fails.
        with mysql_server.connect(NAME) as report:
            report.execute("START TRANSACTION")
            report.rows("SELECT COUNT(*) FROM agent_outbox_messages")
            line = the_one_line(following.migrate())
        assert PRE[0] in line
        assert "Lock wait timeout" in line
        assert "again" in line
        assert following.applies() == PRE
        goes_on(shop, old)

        new = following.starts()
        assert old.stop(seconds=60) == 0
        for session in sessions[2:]:
            session.move()
        goes_on(shop, new)
        assert calls(shop, "outbox_claim_v2") > 0

        old = present.starts()
        assert new.stop(seconds=60) == 0
        claims = calls(shop, "outbox_claim_v2")
        goes_on(shop, old)
        assert calls(shop, "outbox_claim_v2") == claims

        new = following.starts()
        assert old.stop(seconds=60) == 0
        for session in sessions[:2]:
            session.move()
        dropped = ("outbox_claim_v1", "outbox_enqueue_v1")
        last_calls = [calls(shop, routine) for routine in dropped]
        goes_on(shop, new)
        assert [calls(shop, routine) for routine in dropped] == last_calls
        assert following.applies("--post") == POST
        goes_on(shop, new)
        ledger = finish()
    assert ledger.errors == []
    new.eventually(lambda: set(shop.statuses().values()) == {"consumed"}, "all consumed")
    assert new.stop(seconds=60) == 0
    verdict = check(ledger, shop)
    assert verdict.is_well, verdict
    assert verdict.messages == len(shop.messages()) > 500
    assert {row["source"] for row in shop.messages()} == {"", *(session.name for session in sessions)}
    for daemon in present.started + following.started:
        assert failures(daemon) == []


# What does not fit


def test_new_daemon_on_an_old_schema_names_the_migration_that_is_missing(shop: Session, following: Release) -> None:
    assert shop.value("SELECT MAX(version) FROM outbox_migrations") < own_migrations()[0].version
    line = following.refuses_to_start()
    assert f"lacks migration {PRE[0]} and {len(PRE) - 1} more: run `outboxd migrate`" in line


def test_old_release_on_a_schema_that_dropped_what_it_needs_is_refused_by_name(
    empty: Session, following: Release, present: Release
) -> None:
    # In an empty database there is nobody to wait for.
    assert following.applies() == [migration.file for migration in ALL]
    before = rows(empty)
    for line in (present.refuses_to_start(), the_one_line(present.migrate())):
        assert "V0303__enqueue_v1.sql is gone, dropped by V1302__post_enqueue_v1.sql" in line
        assert "too old for this schema" in line
        assert "run `outboxd migrate`" not in line
    assert rows(empty) == before
    assert following.starts().stop(seconds=60) == 0


def rows(session: Session) -> list[Row]:
    """All of outbox_migrations."""
    return session.rows("SELECT * FROM outbox_migrations ORDER BY version")


# The two parts of an upgrade


def test_post_migrations_are_left_until_they_are_asked_for(shop: Session, following: Release) -> None:
    last_line = following.migrate().stdout.splitlines()[-1]
    assert "--post" in last_line
    assert last_line.endswith(", ".join(POST))
    assert [file for file, state in following.states().items() if state == "left for --post"] == POST
    script = following.migrate("--dry-run", "--post").stdout
    assert re.findall("^-- (V.*)", script, re.MULTILINE) == POST
    assert following.applies("--post") == POST
    dropped = {file: state.split()[-1] for file, state in following.states().items() if "dropped by" in state}
    assert dropped == DROPPED
    assert create_statements(shop).keys() >= {"outbox_claim_v2", "outbox_enqueue_v2"}
    assert create_statements(shop).keys().isdisjoint({"outbox_claim_v1", "outbox_enqueue_v1"})


def by_the_files(client: Client) -> None:
    for part in (PRESENT, own_migrations()):
        client.apply(NAME, together([migration.path for migration in part]))


def by_the_bundles(client: Client) -> None:
    for files in (PRESENT, [m for m in ALL if not m.is_post], ALL, ALL):
        client.apply(NAME, bundle.bundle(files))


def by_the_last_bundle(client: Client) -> None:
    client.apply(NAME, bundle.bundle(ALL))


@pytest.mark.parametrize("way", [by_the_files, by_the_bundles, by_the_last_bundle])
def test_every_way_of_upgrading_ends_at_the_same_schema(
    empty: Session, client: Client, following: Release, way: Callable[[Client], None]
) -> None:
    way(client)
    with empty_database(following.server, f"{NAME}_like") as like:
        client.apply(f"{NAME}_like", "".join(migration.script for migration in ALL))
        assert create_statements(empty) == create_statements(like)
        assert describe(empty) == describe(like)
        columns = "SELECT version, file, dropped_by FROM outbox_migrations ORDER BY version"
        assert empty.rows(columns) == like.rows(columns)
        assert {row["file"]: row["dropped_by"] for row in empty.rows(columns) if row["dropped_by"]} == DROPPED


def test_bundles_keep_what_the_release_before_needs_and_bring_nothing_back_that_was_dropped(
    empty: Session, client: Client, tmp_path: Path
) -> None:
    plain, with_post = (path.read_text(encoding="utf-8") for path in bundle.write(tmp_path, ALL))
    client.apply(NAME, bundle.bundle(PRESENT))
    client.apply(NAME, plain)
    assert create_statements(empty).keys() >= {"outbox_claim_v1", "outbox_claim_v2"}
    client.apply(NAME, with_post)
    ended = create_statements(empty)
    assert "outbox_claim_v1" not in ended
    for script in (plain, bundle.bundle(PRESENT)):
        done = client.run(NAME, script)
        assert done.returncode == 1
        assert "V0303__enqueue_v1.sql is gone, dropped by V1302__post_enqueue_v1.sql" in done.stderr
    client.apply(NAME, with_post)
    assert create_statements(empty) == ended
