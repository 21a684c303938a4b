"""/healthz and /readyz of the real daemon, and what systemd hears: whether it lives, whether it can work, why not."""

import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.kit.account import Account
from tests.kit.daemon import StartDaemon
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import OBSERVED, Observed, application, get, observe
from tests.kit.session import Session
from tests.servers.process import free_port


@contextmanager
def offline(db: Session) -> Iterator[None]:
    """The server throws every ordinary account out, and lets none in."""
    db.execute("SET GLOBAL offline_mode = ON")
    try:
        yield
    finally:
        db.execute("SET GLOBAL offline_mode = OFF")


def test_daemon_that_works_is_alive_and_ready(start_daemon: StartDaemon, db: Session) -> None:
    message = db.enqueue()
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    seen.daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")
    assert get(seen.address, "/healthz").status == 200


def test_daemon_that_waits_for_mysql_at_the_start_is_alive_and_not_ready(start_daemon: StartDaemon) -> None:
    address = f"127.0.0.1:{free_port()}"
    daemon = start_daemon(mysql_url="mysql://user@127.0.0.1:1/db", metrics_address=address)
    daemon.says("unavailable")
    seen = Observed(daemon, address)
    seen.turns("/healthz", 200, "ok")
    seen.turns("/readyz", 503, "the schema is not checked yet")


def test_daemon_is_not_ready_while_mysql_is_away_and_stays_alive(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat")
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    with offline(db):
        seen.turns("/readyz", 503, "MySQL: ")
        assert get(seen.address, "/healthz").status == 200
    seen.turns("/readyz", 200, "ok")


def test_daemon_is_not_ready_while_kafka_is_away_and_stays_alive(
    start_daemon: StartDaemon, cluster: MockCluster
) -> None:
    cluster.create_topic("chat")
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 200, "ok")
    cluster.go_down()
    seen.turns("/readyz", 503, "Kafka: ")
    assert get(seen.address, "/healthz").status == 200
    cluster.come_up()
    seen.turns("/readyz", 200, "ok")


def test_consumer_whose_topic_does_not_exist_is_not_ready_and_says_so(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    assert db.messages() == []
    seen = observe(start_daemon(**OBSERVED))
    seen.turns("/readyz", 503, "consumer-0 is in no consumer group: Kafka: topic chat does not exist yet")
    cluster.create_topic("chat")
    seen.turns("/readyz", 200, "ok")


def test_relay_without_a_slot_is_not_ready(start_daemon: StartDaemon, db: Session) -> None:
    db.execute(
        "INSERT INTO outbox_relays (relay, lease_until, joined_at)"
        " SELECT CONCAT(' ', slot), UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, UTC_TIMESTAMP(6) FROM outbox_slots"
    )
    seen = observe(start_daemon("--only", "relay", **OBSERVED))
    seen.turns("/readyz", 503, "no slots are owned")
    db.execute("DELETE FROM outbox_relays WHERE relay LIKE ' %'")
    seen.turns("/readyz", 200, "ok")


def test_worker_that_has_died_is_told_while_the_daemon_waits_for_the_others(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.go_down()
    db.enqueue()
    seen = observe(start_daemon(relay_workers=2, lease_seconds=600, stale_seconds=30, stop_seconds=2, **OBSERVED))
    claims = 'outboxd_procedure_duration_seconds_count{procedure="outbox_claim_v1"}'
    seen.eventually(
        lambda now: now.get(claims, 0) > 3 and now["outboxd_sampled_timestamp_seconds"] > 0, "all others are connected"
    )
    db.execute(f"ALTER USER {Account.name} ACCOUNT LOCK")  # the recovery's first connection is still to come
    try:
        seen.turns("/healthz", 503, "recovery failed: ")
        assert "Account is locked" in get(seen.address, "/readyz").text
        assert seen.daemon.wait() == 1
    finally:
        db.execute(f"ALTER USER {Account.name} ACCOUNT UNLOCK")


def test_daemon_that_stops_is_alive_and_not_ready(start_daemon: StartDaemon, cluster: MockCluster, db: Session) -> None:
    cluster.go_down()
    db.enqueue()
    seen = observe(start_daemon("--only", "relay", lease_seconds=600, stop_seconds=1, **OBSERVED))
    seen.daemon.says("unavailable")
    seen.daemon.send(signal.SIGTERM)
    seen.turns("/readyz", 503, "the daemon is stopping")
    assert get(seen.address, "/healthz").status == 200
    assert seen.daemon.wait() == 0


# systemd


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd listens to a service, and a watchdog of 0.4 s."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(address)
        listening.settimeout(60)
        yield listening


def test_systemd_hears_of_the_start_the_stop_and_in_between_that_the_daemon_lives(
    systemd: socket.socket, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(metrics_address="")
    assert [systemd.recv(100) for _ in range(4)] == [b"READY=1", *[b"WATCHDOG=1"] * 3]
    daemon.send(signal.SIGTERM)
    while (said := systemd.recv(100)) == b"WATCHDOG=1":
        pass
    assert said == b"STOPPING=1"
    assert daemon.wait() == 0


def silences(systemd: socket.socket, until: Callable[[], bool]) -> list[float]:
    """Seconds between what systemd hears."""
    gaps, heard = [], time.monotonic()
    while not until():
        systemd.recv(100)
        gaps.append(time.monotonic() - heard)
        heard += gaps[-1]
    return gaps


def test_worker_that_hangs_is_told_and_silences_the_watchdog_until_it_gets_on(
    systemd: socket.socket, start_daemon: StartDaemon, db: Session
) -> None:
    with application(db) as app:
        app.business("slow", "DO SLEEP(2.5)")
        message = db.enqueue(biz_type="slow")
        seen = observe(start_daemon(stall_seconds=1, **OBSERVED))
        assert systemd.recv(100) == b"READY=1"
        seen.turns("/healthz", 503, "consumer-0 has made no progress for ")
        assert "consumer-0" in get(seen.address, "/readyz").text
        assert max(silences(systemd, until=lambda: db.statuses() == {message: "consumed"})) > 0.5
        seen.turns("/healthz", 200, "ok")


def test_client_that_hangs_up_leaves_no_traceback_in_the_log(start_daemon: StartDaemon) -> None:
    seen = observe(start_daemon(**OBSERVED))
    host, port = seen.address.split(":")
    with socket.create_connection((host, int(port))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that it is reset
        client.sendall(b"GET")
    seen.turns("/healthz", 200, "ok")
    assert seen.daemon.stop() == 0
    assert all(line.startswith("{") for line in seen.daemon.log.splitlines())
