"""The relay's rounds: when it marks what Kafka has acknowledged."""

from confluent_kafka import KafkaError

from tests.kit.daemon import StartDaemon
from tests.kit.kafka import count_records, read_back
from tests.kit.mock_cluster import PRODUCE, MockCluster
from tests.kit.observing import OBSERVED, observe
from tests.kit.session import Session

ROUNDS = 'outboxd_batch_messages_count{stage="relay"}'
MARKS = 'outboxd_procedure_duration_seconds_count{procedure="outbox_mark_published_batch_v1"}'


def test_small_batches_have_one_mark_together(start_daemon: StartDaemon, cluster: MockCluster, db: Session) -> None:
    cluster.create_topic("chat")
    seen = observe(start_daemon("--only", "relay", **OBSERVED))

    def is_shared() -> bool:
        """Whether there were more rounds than marks: on a busy machine all of a while come in one round."""
        for number in range(20):
            db.enqueue(f"key {number}")
        now = seen.metrics()
        return now.get(ROUNDS, 0) > now.get(MARKS, 0) + 5

    seen.daemon.eventually(is_shared, "rounds have shared marks")
    seen.daemon.eventually(lambda: set(db.statuses().values()) == {"published"}, "all is marked")
    assert seen.metrics()["outboxd_messages_published_total"] == len(db.messages())


def test_relay_that_stops_marks_what_it_has_sent(start_daemon: StartDaemon, cluster: MockCluster, db: Session) -> None:
    cluster.create_topic("chat")
    seen = observe(start_daemon("--only", "relay", **OBSERVED))
    seen.turns("/readyz", 200, "ok")
    for number in range(20):
        db.enqueue(f"key {number}")
    seen.eventually(lambda now: now["outboxd_messages_published_total"] > 0, "some are acknowledged")
    assert seen.daemon.stop() == 0
    marked = [status for status in db.statuses().values() if status == "published"]
    assert len(marked) == count_records(cluster.bootstrap, ["chat"])


def test_message_behind_a_refused_one_of_its_lane_is_sent_behind_it(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.create_topic("chat")
    seen = observe(start_daemon("--only", "relay", **OBSERVED))
    seen.turns("/readyz", 200, "ok")
    before = db.enqueue("a")
    seen.eventually(lambda now: now["outboxd_messages_published_total"] == 1, "acknowledged")
    cluster.refuse_next(PRODUCE, KafkaError.POLICY_VIOLATION)
    refused = db.enqueue("a")
    seen.eventually(lambda now: now['outboxd_messages_failed_total{stage="relay"}'] == 1, "refused")
    behind = [db.enqueue("a") for _ in range(3)]
    seen.daemon.eventually(lambda: set(db.statuses().values()) == {"published"}, "all is marked")
    records = read_back(cluster.bootstrap, "chat", 5)
    assert [record.id for record in records] == [before, refused, *behind]
