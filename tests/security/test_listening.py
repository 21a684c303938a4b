"""Where a daemon can be reached: from its own host only, unless told otherwise."""

import ipaddress

import psutil

from outboxd.settings import Settings
from tests.kit.daemon import Daemon, StartDaemon
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import address_of, get

DEFAULT: str = Settings.model_fields["metrics_address"].default


def listening(daemon: Daemon) -> set[str]:
    """The addresses on which the process listens, as the system sees it."""
    sockets = psutil.Process(daemon.pid).net_connections()
    return {str(socket.laddr.ip) for socket in sockets if socket.status == psutil.CONN_LISTEN}


def test_daemon_can_be_reached_from_its_own_host_only_unless_told_otherwise(
    start_daemon: StartDaemon, cluster: MockCluster
) -> None:
    cluster.create_topic("chat")
    by_default = start_daemon()
    local = start_daemon(metrics_address=f"{DEFAULT.rpartition(':')[0]}:0")
    open_to_all = start_daemon(metrics_address="0.0.0.0:0")
    silent = start_daemon(metrics_address="")
    for daemon in (local, open_to_all):
        port = address_of(daemon).rpartition(":")[2]
        assert get(f"127.0.0.1:{port}", "/healthz").status == 200
    for daemon in (by_default, silent):
        daemon.says("started")
    # Nothing at all where another daemon of this host has the port.
    assert all(ipaddress.ip_address(address).is_loopback for address in listening(by_default))
    assert listening(local) == {"127.0.0.1"}
    assert listening(open_to_all) == {"0.0.0.0"}
    assert listening(silent) == set()
