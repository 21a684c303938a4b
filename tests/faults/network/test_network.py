"""A bad network before MySQL and Kafka. ``python -m tests.faults network`` does more."""

from collections.abc import Iterator

import pytest

from outboxd.messages import Message
from outboxd.mysql.procedures import Database as Driver
from outboxd.retry import Unavailable
from tests.faults.network import detours, faults
from tests.faults.network.proxy import TO_SERVER, Proxy, Weather
from tests.faults.stage import Stage
from tests.kit.command import settings
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import background, eventually
from tests.servers import kafka_install, process
from tests.servers.missing import skip_or_fail

_STALL_S = 1
# A call that hangs is in C code, which no signal ends.
_no_longer_than = pytest.mark.timeout(60, method="thread")


@pytest.fixture
def proxy(mysql_server: Server) -> Iterator[Proxy]:
    """A network before the test server."""
    with Proxy(mysql_server.port, process.lasting_port(), "test") as proxy:
        yield proxy


@pytest.fixture
def driver(proxy: Proxy, mysql_server: Server, installed_database: str) -> Iterator[Driver]:
    """The driver's connection through it, of little patience."""
    url = f"mysql://{mysql_server.user}@{mysql_server.host}:{proxy.port}/{installed_database}"
    with Driver(
        settings(url, stall_seconds=_STALL_S, wait_ms=0, mysql_options={"connection_timeout": _STALL_S})
    ) as driver:
        yield driver


@_no_longer_than
def test_a_half_open_connection_is_given_up_and_the_next_call_makes_a_new_one(proxy: Proxy, driver: Driver) -> None:
    installed = driver.installed()
    assert proxy.abandon() == 1
    with pytest.raises(Unavailable):
        driver.installed()
    assert driver.installed() == installed


@_no_longer_than
def test_a_server_that_greets_and_is_silent_then_is_given_up(proxy: Proxy, driver: Driver) -> None:
    proxy.set(Weather(silent=frozenset({TO_SERVER})))
    with pytest.raises(Unavailable):
        driver.installed()


@_no_longer_than
def test_a_mark_whose_relay_is_gone_commits_and_frees_its_locks(db: Session, proxy: Proxy, driver: Driver) -> None:
    message = db.enqueue()
    (claimed,) = driver.claim("relay-a", 10, 60, 0)
    (session,) = driver.query("SELECT CONNECTION_ID()")[0]
    db.execute("START TRANSACTION")
    db.execute("SELECT COUNT(*) FROM outbox_slots FOR UPDATE")
    with background(lambda: _mark(driver, claimed)) as marking:
        eventually(lambda: db.waits_for_lock(session))
        assert proxy.abandon() == 1
        db.execute("COMMIT")
        assert marking.result() == "given up"
    eventually(lambda: db.statuses()[message] == "published")
    db.execute("SELECT COUNT(*) FROM outbox_slots FOR UPDATE NOWAIT")


def _mark(driver: Driver, claimed: Message) -> str:
    try:
        driver.mark_published_batch("relay-a", [claimed.receipt])
    except Unavailable:
        return "given up"
    return "answered"


@pytest.mark.kafka
def test_connections_to_mysql_and_kafka_that_are_cut_lose_and_double_and_swap_nothing(stage: Stage) -> None:
    if kafka_install.find().java is None:
        skip_or_fail("a Kafka node run by Docker has no second listener, for a proxy before it")
    report = faults.cuts(stage, 12, detours.BOTH, seconds=3, within=60)
    assert report.is_well, report
