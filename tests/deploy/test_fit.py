"""Limits of a transaction, on a member of a group: work is divided until the server takes it, and nothing stops."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deploy.replication import pair
from tests.kit.application import Application
from tests.kit.installing import OWNER_RIGHTS, create_account, migrate
from tests.kit.large import MIB, put
from tests.kit.operators import audit
from tests.kit.server import Connect, Server, closing_all
from tests.kit.session import Session
from tests.servers.mysql_install import MySQLInstall

LIMIT = 4 * MIB
_OWNER, _LOGGED, _SPARED = "outboxd_fit_owner", "outboxd_logged", "outboxd_spared"
_VARIABLES = {"group": "group_replication_transaction_size_limit", "binary log": "max_binlog_cache_size"}
Limit = Callable[[int], None]


@pytest.fixture(scope="module")
def member(mysql_programs: MySQLInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is a group of one, with two outboxes: only the owner of one may set binlog_row_image."""
    with pair(mysql_programs, tmp_path_factory.mktemp("group")) as servers:
        server = servers.source
        for name in (_LOGGED, _SPARED):
            server.create_database(name)
        with server.connect("mysql") as session:
            create_account(session, _OWNER, f"GRANT {OWNER_RIGHTS} ON {_LOGGED}.*")
        migrate(server, _LOGGED, _OWNER)
        server.migrate(_SPARED)
        servers.start_group()
        yield server


@pytest.fixture(params=[_LOGGED, _SPARED])
def connect(request: pytest.FixtureRequest, member: Server) -> Iterator[Connect]:
    """Open sessions on an outbox without messages, whose changes write payloads to the binary log, or do not."""
    with closing_all(lambda: member.connect(request.param)) as connect:
        first = connect()
        first.clean()
        first.register("large", "outbox_internal_write_chat_history_v1")
        yield connect


@pytest.fixture(params=_VARIABLES)
def limit(request: pytest.FixtureRequest, member: Server) -> Iterator[Limit]:
    """Set the group's or the binary log's limit of a transaction, for sessions that are opened from then on."""
    variable = _VARIABLES[request.param]
    with member.connect("mysql") as session:
        usual = session.value(f"SELECT @@GLOBAL.{variable}")

        def set_it(size: int) -> None:
            session.execute(f"SET GLOBAL {variable} = %s", size)

        yield set_it
        set_it(usual)


@pytest.fixture
def app(connect: Connect) -> Iterator[Application]:
    """An application in the same database."""
    made = Application(connect())
    yield made
    made.remove()


def relay(db: Session) -> int:
    """Claim and mark until there is nothing left; returns how many messages were marked."""
    marked = 0
    while claimed := db.claim():
        marked += db.mark("published", claimed)
    return marked


def test_mark_that_the_server_finds_too_large_is_made_in_parts(connect: Connect, limit: Limit) -> None:
    messages = put(connect(), 30, MIB // 2)
    limit(LIMIT)
    db = connect()
    assert relay(db) == 30
    assert db.statuses() == dict.fromkeys(messages, "published")
    assert db.value("SELECT @@binlog_row_image") == "FULL"
    assert not db.in_transaction()


def test_message_larger_than_a_transaction_goes_dead_and_nothing_behind_it_stops(
    connect: Connect, limit: Limit, request: pytest.FixtureRequest
) -> None:
    """Its row fits once, not twice: it could be enqueued, and cannot be changed where payloads are logged.

    The binary log takes a row of any size that is alone in its transaction, so that it is delivered there.
    """
    before = connect()
    (first,) = put(before, 1, 1000)
    (large,) = put(before, 1, 3 * MIB, first_key=1)
    last = put(before, 5, 1000, first_key=2)
    limit(LIMIT)
    db = connect()
    marked = relay(db)
    if f"{_LOGGED}-group" not in request.node.name:
        assert marked == 7
        assert db.statuses() == dict.fromkeys([first, large, *last], "published")
        return
    assert marked == 6
    assert [db.statuses().get(message) for message in [first, large, *last]] == ["published", None, *["published"] * 5]
    (dead,) = db.rows(
        "SELECT id, message_key, LENGTH(payload) AS size, last_error FROM agent_outbox_messages WHERE status = 'dead'"
    )
    assert (dead["message_key"], dead["size"]) == ("k1", 3 * MIB)
    assert dead["last_error"].startswith(f"copy of message {large}, larger than a transaction of this server: ")
    limit(64 * MIB)
    db.out("outbox_requeue_v1", dead["id"])
    assert db.claim_ids() == [dead["id"]]


_HOUR_AGO = "2100-01-01"
_ROUTINES: dict[str, tuple[str, str, list[Any], str | None]] = {
    "requeue_dead": ("dead", "outbox_requeue_dead_v1", [None] * 7, "pending"),
    "discard_dead": ("dead", "outbox_discard_dead_v1", [None] * 6, None),
    "recover_published": ("published", "outbox_recover_published_v1", [60, None], "pending"),
    "replay": ("consumed", "outbox_replay_v1", [None, None, None, None, None], "consumed"),
    "purge": ("consumed", "outbox_purge_v1", [_HOUR_AGO, None], None),
    "purge_dead": ("dead", "outbox_purge_dead_v1", [_HOUR_AGO, None], None),
}


def run(db: Session, routine: str) -> int:
    """Call one of the operator's routines that change many messages; returns how many it says."""
    _, procedure, arguments, _ = _ROUTINES[routine]
    if routine.startswith("purge"):
        return int(db.call(procedure, *arguments)[0]["deleted"])
    return int(db.out(procedure, *arguments))


@pytest.mark.parametrize("routine", _ROUTINES)
def test_routine_of_an_operator_goes_through_whatever_the_server_takes(
    connect: Connect, limit: Limit, routine: str
) -> None:
    status, _, _, becomes = _ROUTINES[routine]
    messages = put(connect(), 40, 300_000, status)
    limit(LIMIT)
    db = connect()
    assert run(db, routine) == 40
    after = db.statuses()
    assert [after.pop(message, None) for message in messages] == [becomes] * 40
    assert list(after.values()) == (["pending"] * 40 if routine == "replay" else [])
    (entry,) = audit(db)
    assert entry["messages"] == 40
    assert db.value("SELECT @@binlog_row_image") == "FULL"
    assert not db.in_transaction()


@pytest.mark.parametrize("routine", ["requeue_dead", "discard_dead", "recover_published", "replay", "purge"])
def test_message_larger_than_a_transaction_is_passed_over(connect: Connect, limit: Limit, routine: str) -> None:
    status, _, _, becomes = _ROUTINES[routine]
    before = connect()
    first = put(before, 3, 1000, status)
    (large,) = put(before, 1, 6 * MIB, status, first_key=10)
    last = put(before, 3, 1000, status, first_key=20)
    limit(LIMIT)
    db = connect()
    changed = run(db, routine)
    after = db.statuses()
    assert [after.get(message) for message in first + last] == [becomes] * 6
    # Alone in its transaction it may pass.
    assert changed in {6, 7}
    assert routine == "replay" or (after.get(large) == status) == (changed == 6)


@pytest.mark.parametrize(("connect", "limit"), [(_LOGGED, "group")], indirect=True)
def test_trouble_that_no_smaller_transaction_helps_against_is_raised(connect: Connect, limit: Limit) -> None:
    """More than ten messages that are too large by themselves: the operator must know."""
    put(connect(), 12, 3 * MIB, "dead")
    limit(LIMIT)
    db = connect()
    with pytest.raises(Exception, match="3100"):
        run(db, "requeue_dead")
    assert not db.in_transaction()


def test_consumption_that_the_server_finds_too_large_is_divided(
    app: Application, connect: Connect, limit: Limit
) -> None:
    db = connect()
    app.business("own")
    messages = put(db, 12, MIB // 2, "published", biz_type="own")
    limit(LIMIT)
    small = connect()
    left, calls = messages, 0
    while left:
        outcomes = small.consume_once(*left)
        assert set(outcomes.values()) <= {"consumed", "not reached"}
        assert "consumed" in outcomes.values()
        left = [message for message, outcome in outcomes.items() if outcome == "not reached"]
        calls += 1
    assert app.effects() == messages
    assert 2 <= calls <= 12
    assert db.statuses() == dict.fromkeys(messages, "consumed")
    assert {row["retry_count"] for row in db.messages()} == {0}


def test_message_whose_effect_is_larger_than_a_transaction_goes_dead_alone(
    app: Application, connect: Connect, limit: Limit, request: pytest.FixtureRequest
) -> None:
    db = connect()
    app.business("own")
    first = put(db, 3, 1000, "published", biz_type="own")
    (large,) = put(db, 1, 5 * MIB, "published", first_key=10, biz_type="own")
    last = put(db, 3, 1000, "published", first_key=20, biz_type="own")
    limit(LIMIT)
    small = connect()
    outcomes = small.consume(*first, large, *last)
    assert {message: outcomes[message] for message in first + last} == dict.fromkeys(first + last, "consumed")
    assert app.effects() == first + last
    if f"{_LOGGED}-group" in request.node.name:  # the limit is below what its enqueuing wrote
        assert (outcomes[large], db.statuses()[large]) == ("failed", "published")
    else:
        assert outcomes[large] == "dead"
        assert db.message(large)["last_error"].startswith("larger than a transaction of this server: ")
