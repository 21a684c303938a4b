"""Half a daemon: --only relay and --only consumer."""

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import read_back
from tests.kit.mock_cluster import MockCluster
from tests.kit.session import Session


def test_relay_alone_publishes_and_consumes_nothing(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    message = db.enqueue()
    relay = start_daemon("--only", "relay")
    relay.eventually(lambda: db.statuses() == {message: "published"}, "published")
    assert len(read_back(cluster.bootstrap, "chat", 1)) == 1
    relay.outlives(1)
    assert db.statuses() == {message: "published"}
    assert db.chats() == []
    (started,) = relay.events("started")
    assert not any(worker.startswith("consumer") for worker in started["workers"])
    assert relay.stop() == 0


def test_consumer_alone_consumes_and_publishes_nothing(start_daemon: StartDaemon, db: Session) -> None:
    published = db.enqueue("published")
    relay = start_daemon("--only", "relay")
    relay.eventually(lambda: db.statuses() == {published: "published"}, "published")
    assert relay.stop() == 0
    pending = db.enqueue("pending")

    consumer = start_daemon("--only", "consumer")
    consumer.eventually(lambda: db.statuses()[published] == "consumed", "consumed")
    consumer.outlives(1)
    assert db.statuses() == {published: "consumed", pending: "pending"}
    assert db.chats() == ["published"]
    assert db.rows("SELECT relay FROM outbox_relays") == []
    assert consumer.stop() == 0
