"""The publishing half of a relay: what Kafka acknowledges, refuses and leaves unanswered."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError

from outboxd.daemon.publisher import Publisher
from outboxd.kafka.producer import ProducerHandle
from outboxd.messages import Message, Round
from outboxd.mysql.procedures import Database as Driver
from outboxd.observe.health import Pulse
from outboxd.settings import Settings
from tests.kit.account import Account
from tests.kit.command import settings
from tests.kit.kafka import read_back
from tests.kit.mock_cluster import PRODUCE, MockCluster
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually

RELAY = "relay-a"
SMALL = 10_000  # message.max.bytes of these tests


@dataclass
class Relay:
    """A publisher, and what it needs of a relay around it."""

    settings: Settings
    driver: Driver
    stop: threading.Event = field(default_factory=threading.Event)
    beats: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producer = ProducerHandle(self.settings)
        self.publisher = Publisher(
            self.settings, self.producer, self.stop, Pulse(RELAY), lambda: self.beats.append(time.monotonic())
        )

    def claim(self) -> Iterator[Message]:
        """The next batch."""
        return self.driver.claim(RELAY, 1000, 30, 0)

    def publish(self) -> Round:
        """Publish the next batch."""
        return self.publisher.publish(self.claim())


@pytest.fixture
def relays(account: Account, cluster: MockCluster, db: Session) -> Iterator[Any]:
    """Make relays with Kafka options and settings of their own."""
    assert db.messages() == []
    made: list[Relay] = []

    def make(kafka_options: dict[str, Any] | None = None, **others: Any) -> Relay:
        quick = {"topic.metadata.propagation.max.ms": 300, "message.max.bytes": SMALL}
        one = settings(
            account.url, kafka_bootstrap=cluster.bootstrap, kafka_options=quick | (kafka_options or {}), **others
        )
        made.append(Relay(one, Driver(one)))
        return made[-1]

    yield make
    for relay in made:
        relay.producer.close()
        relay.driver.close()


def ids_of(receipts: list[Any]) -> list[int]:
    return sorted(receipt.id for receipt in receipts)


def nothing_refused(done: Round) -> bool:
    return not (done.failed or done.dead)


def too_large() -> str:
    return json.dumps("x" * (2 * SMALL))


def test_acknowledged_messages_are_published_and_read_back_as_they_are(
    relays: Any, cluster: MockCluster, db: Session
) -> None:
    keys = [f"key-{number % 7}" for number in range(40)]
    messages = [db.enqueue(key, topic="chat", payload=json.dumps(number)) for number, key in enumerate(keys)]
    done = relays().publish()
    assert ids_of(done.published) == messages
    assert done.claimed == 40
    assert done.unanswered is None
    assert nothing_refused(done)
    for key in set(keys):
        of_key = [record for record in read_back(cluster.bootstrap, "chat", 40) if record.key == key.encode()]
        assert len({record.partition for record in of_key}) == 1
        assert [record.value for record in of_key] == [b"%d" % n for n, other in enumerate(keys) if other == key]


def test_batch_without_messages_is_done_at_once(relays: Any) -> None:
    assert relays().publish() == Round()


def test_messages_of_several_topics_go_where_they_belong(relays: Any, cluster: MockCluster, db: Session) -> None:
    for topic in ("chat", "orders"):
        db.enqueue(topic=topic, payload=json.dumps(topic))
    assert len(relays().publish().published) == 2
    assert [read_back(cluster.bootstrap, topic, 1)[0].value for topic in ("chat", "orders")] == [b'"chat"', b'"orders"']


def test_too_large_record_is_dead_alone_and_its_neighbours_are_published(relays: Any, db: Session) -> None:
    before = db.enqueue("k")
    large = db.enqueue("k", payload=too_large())
    after = db.enqueue("k")
    relay = relays()
    done = relay.publish()
    assert ids_of(done.published) == [before, after]
    ((receipt, reason),) = done.dead
    assert receipt.id == large
    assert "MSG_SIZE_TOO_LARGE" in reason
    assert done.failed == []
    assert done.unanswered is None
    relay.driver.mark_published_batch(RELAY, done.published)
    relay.driver.mark_dead_batch(RELAY, done.dead)
    assert db.statuses() == {before: "published", large: "dead", after: "published"}


@pytest.mark.parametrize("payload", [too_large(), "{}"], ids=["too large", "fine"])
def test_single_message_of_a_batch_is_judged_like_any_other(relays: Any, db: Session, payload: str) -> None:
    message = db.enqueue(payload=payload)
    done = relays().publish()
    assert ids_of(done.published) + [receipt.id for receipt, _ in done.dead] == [message]
    assert bool(done.dead) == (payload != "{}")


def test_batch_that_the_broker_refuses_is_sent_again_one_by_one(relays: Any, cluster: MockCluster, db: Session) -> None:
    """A broker refuses a whole batch for one record in it, and the producer loses its gapless order by that."""
    messages = [db.enqueue("k", payload=json.dumps(number)) for number in range(5)]
    relay = relays({"linger.ms": 100})
    cluster.refuse_next(PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    done = relay.publish()
    assert ids_of(done.published) == messages
    assert nothing_refused(done)


def test_record_that_the_broker_refuses_is_dead_with_the_brokers_reason(
    relays: Any, cluster: MockCluster, db: Session
) -> None:
    message = db.enqueue()
    cluster.refuse_next(PRODUCE, KafkaError.INVALID_RECORD)
    done = relays().publish()
    ((receipt, reason),) = done.dead
    assert receipt.id == message
    assert "INVALID_RECORD" in reason
    assert (done.failed, done.published, done.unavailable) == ([], [], {})


@pytest.mark.parametrize(
    "error",
    [
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        # With gapless order the client ends the whole producer for it.
        KafkaError.INVALID_TIMESTAMP,
    ],
)
def test_topic_in_trouble_is_named_and_the_others_are_published_by_the_next_round(
    relays: Any, cluster: MockCluster, db: Session, error: int
) -> None:
    relay = relays()
    broken = db.enqueue(topic="broken")
    cluster.refuse_next(PRODUCE, error)
    done = relay.publish()
    assert done.unavailable == {"broken": KafkaError(error).str()}
    assert (done.published, done.failed, done.dead, done.unanswered) == ([], [], [], None)
    relay.driver.mark_topics_unavailable(done.unavailable)
    good = db.enqueue(topic="good")
    eventually(lambda: ids_of(relay.publish().published) == [good])
    assert db.message(broken)["retry_count"] == 0
    db.execute("UPDATE outbox_pauses SET retry_at = UTC_TIMESTAMP(6)")
    relay.driver.mark_published_batch(RELAY, [message.receipt for message in relay.claim() if message.id == good])
    done = relay.publish()
    assert ids_of(done.published) == [broken]
    assert done.available == {"broken"}


def test_topic_that_was_in_trouble_is_not_asked_about_without_a_producer(
    relays: Any, cluster: MockCluster, db: Session
) -> None:
    relay = relays({"queue.buffering.max.messages": 1, "linger.ms": 0})
    broken = db.enqueue("k", topic="broken")
    cluster.refuse_next(PRODUCE, KafkaError.INVALID_TIMESTAMP)
    assert relay.publish().unavailable.keys() == {"broken"}
    db.call("outbox_mark_dead_v1", broken, "in the way")
    first, second = db.enqueue("k", topic="good"), db.enqueue("k", topic="good")
    later = db.enqueue("k", topic="broken")
    # The producer ends while the second one waits for room.
    cluster.refuse_next(PRODUCE, KafkaError.INVALID_TIMESTAMP)
    done = relay.publish()
    assert (done.published, done.unavailable.keys()) == ([], {"good"})
    assert ids_of(relay.publish().published) == [first, second, later]


@pytest.mark.parametrize(
    "error",
    [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS],
)
def test_trouble_of_the_broker_that_passes_is_not_noticed(
    relays: Any, cluster: MockCluster, db: Session, error: int
) -> None:
    messages = [db.enqueue(key) for key in "abc"]
    cluster.refuse_next(PRODUCE, error, error)
    done = relays({"retry.backoff.ms": 10}).publish()
    assert ids_of(done.published) == messages
    assert nothing_refused(done)


def test_brokers_that_are_away_leave_messages_unanswered_and_none_failed(
    relays: Any, cluster: MockCluster, db: Session
) -> None:
    messages = [db.enqueue(key) for key in "abc"]
    cluster.go_down()
    relay = relays({"message.timeout.ms": 700})
    done = relay.publish()
    assert done.claimed == 3
    assert done.published == []
    assert nothing_refused(done)
    assert done.unanswered
    cluster.come_up()
    eventually(lambda: ids_of(relay.publish().published) == messages)


def test_brokers_that_go_away_between_two_batches_fail_nothing(relays: Any, cluster: MockCluster, db: Session) -> None:
    first = db.enqueue()
    relay = relays({"message.timeout.ms": 1500})
    eventually(lambda: relay.driver.mark_published_batch(RELAY, relay.publish().published) == 1)
    second = db.enqueue()
    cluster.go_down()
    done = relay.publish()
    assert done.published == []
    assert nothing_refused(done)
    assert done.unanswered
    cluster.come_up()
    eventually(lambda: ids_of(relay.publish().published) == [second])
    assert db.statuses() == {first: "published", second: "pending"}


def test_producer_is_rebuilt_after_a_fatal_error(relays: Any, cluster: MockCluster, db: Session) -> None:
    """The broker has lost the producer's sequence: an idempotent producer must not go on after that."""
    relay = relays()
    db.enqueue("k")
    relay.driver.mark_published_batch(RELAY, relay.publish().published)
    messages = [db.enqueue("k") for _ in range(3)]
    cluster.refuse_next(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    done = relay.publish()
    assert done.unanswered
    assert nothing_refused(done)
    relay.driver.mark_published_batch(RELAY, done.published)
    assert ids_of(done.published) + ids_of(relay.publish().published) == messages


def test_heartbeat_is_called_while_kafka_is_waited_for(relays: Any, cluster: MockCluster, db: Session) -> None:
    db.enqueue()
    cluster.go_down()
    relay = relays({"message.timeout.ms": 4000}, lease_seconds=4)
    started = time.monotonic()
    relay.publish()
    gaps = [b - a for a, b in zip([started, *relay.beats], relay.beats, strict=False)]
    assert len(gaps) >= 2
    assert max(gaps) < relay.settings.lease_seconds / 2


def test_heartbeat_is_not_called_for_nothing(relays: Any, db: Session) -> None:
    db.enqueue()
    relay = relays(lease_seconds=30)
    relay.publish()
    assert relay.beats == []


def test_stop_gives_kafka_stop_seconds_and_no_more(relays: Any, cluster: MockCluster, db: Session) -> None:
    for key in "abc":
        db.enqueue(key)
    cluster.go_down()
    relay = relays({"message.timeout.ms": 60_000}, stop_seconds=1)
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(relay.publish)
        eventually(lambda: len(relay.producer) == 3)
        relay.stop.set()
        stopped = time.monotonic()
        done = publishing.result(50)
    assert 0.9 < time.monotonic() - stopped < 30
    assert done.published == []
    assert nothing_refused(done)
    assert done.unanswered


def test_stop_waits_for_acknowledgements_that_are_under_way(relays: Any, cluster: MockCluster, db: Session) -> None:
    messages = [db.enqueue(key) for key in "abc"]
    cluster.go_down()
    relay = relays(stop_seconds=10)
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(relay.publish)
        eventually(lambda: len(relay.producer) == 3)
        relay.stop.set()
        cluster.come_up()
        assert ids_of(publishing.result(50).published) == messages


def test_error_of_the_claim_is_raised_after_what_was_sent_has_settled(
    relays: Any, cluster: MockCluster, db: Session
) -> None:
    for key in "abc":
        db.enqueue(key)
    relay = relays()

    def broken() -> Iterator[Message]:
        yield from relay.claim()
        raise ConnectionError("the database is gone")

    with pytest.raises(ConnectionError):
        relay.publisher.publish(broken())
    assert len(read_back(cluster.bootstrap, "chat", 3)) == 3


def test_more_than_the_queue_holds_is_published_all_the_same(relays: Any, db: Session) -> None:
    messages = [db.enqueue(f"{number}") for number in range(100)]
    done = relays({"queue.buffering.max.messages": 10}).publish()
    assert ids_of(done.published) == messages


def test_record_larger_than_the_queue_is_dead_and_stops_no_other(relays: Any, db: Session) -> None:
    relay = relays({"message.max.bytes": 4_000_000, "queue.buffering.max.kbytes": 1024})
    db.call("outbox_set_max_payload_bytes_v1", 4_000_000)
    before, large, after = db.enqueue("a"), db.enqueue("b", payload=chat_payload("x" * 2_000_000)), db.enqueue("c")
    done = relay.publish()
    assert sorted(receipt.id for receipt in done.published) == [before, after]
    ((receipt, reason),) = done.dead
    assert receipt.id == large
    assert "queue.buffering.max.kbytes" in reason
