"""The inbox: events of one service take effect in another one's MySQL, exactly once and in the order of their keys."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import psutil
import pytest

from tests.end_to_end.brokers import Broker
from tests.end_to_end.own_servers import OwnMySQL
from tests.kit import chat
from tests.kit.checker import check
from tests.kit.command import Setting
from tests.kit.daemon import Daemon, StartDaemon
from tests.kit.kafka import QUICK_GROUP, count_records, put, read_back
from tests.kit.ledger import Ledger
from tests.kit.mock_cluster import MockCluster
from tests.kit.names import unused
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.kafka import RunningKafka

HANDLER = """
CREATE TABLE shipments (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, message BIGINT UNSIGNED NOT NULL, event JSON);
CREATE PROCEDURE ship_order (IN p_id BIGINT UNSIGNED, IN p_payload LONGTEXT CHARACTER SET utf8mb4)
BEGIN
  INSERT INTO shipments (message, event) VALUES (p_id, p_payload);
  IF RAND() < (SELECT fails FROM failures) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no carrier';
  END IF;
END;
CREATE TABLE failures (fails DOUBLE NOT NULL);
INSERT INTO failures VALUES (0);
CALL outbox_register_biz_type_v1('ship_order', 'ship_order', NULL, 100, 1, 1);
"""
BACKLOG = 100_000
REMOVED = "DROP TABLE IF EXISTS shipments, failures; DROP PROCEDURE IF EXISTS ship_order"


@dataclass(frozen=True)
class Service:
    """A service: the session of its database, and its address for the daemon."""

    db: Session
    url: str

    def start(self, start_daemon: StartDaemon, broker: Broker, topics: str, *arguments: str) -> Daemon:
        """Start its daemon."""
        with_kafka: dict[str, Setting] = {"kafka_bootstrap": broker.bootstrap, "kafka_options": dict(broker.options)}
        return start_daemon(*arguments, mysql_url=self.url, topics=topics, **with_kafka)

    def effects(self) -> list[dict[str, object]]:
        """The events that took effect, in their order."""
        return [json.loads(event) for event in self.db.column("SELECT event FROM shipments ORDER BY id")]

    def effects_by_key(self) -> dict[str, list[int]]:
        """Of each key, the numbers of the events that took effect, in their order."""
        found: dict[str, list[int]] = {}
        for event in self.effects():
            found.setdefault(str(event["key"]), []).append(int(str(event["n"])))
        return found

    def is_done(self, count: int) -> Callable[[], bool]:
        """Whether so many events took effect, and nothing is under way."""
        under_way = "SELECT COUNT(*) FROM agent_outbox_messages WHERE status IN ('pending', 'published')"
        return lambda: self.db.value("SELECT COUNT(*) FROM shipments") == count and self.db.value(under_way) == 0


@pytest.fixture
def shop(mysql_server: Server, db: Session, installed_database: str) -> Service:
    """The service whose orders others want to know."""
    return Service(db, f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{installed_database}")


@pytest.fixture
def shipping(mysql_server: Server, fresh_database: str) -> Iterator[Service]:
    """A service with another database, and a handler for orders."""
    mysql_server.migrate(fresh_database)
    with mysql_server.connect(fresh_database) as session:
        session.execute(HANDLER)
        yield Service(session, f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{fresh_database}")


def place_orders(db: Session, topic: str, count: int, keys: int = 10, first: int = 0) -> dict[str, list[int]]:
    """Enqueue orders, some in each transaction; returns the numbers of each key."""
    placed: dict[str, list[int]] = {}
    orders = [(f"c-{number % keys}", number) for number in range(first, first + count)]
    for begin in range(0, count, 25):
        part = orders[begin : begin + 25]
        db.enqueue_batch(
            *({"key": key, "payload": {"key": key, "n": number}} for key, number in part),
            biz_type="order_placed",
            topic=topic,
        )
        for key, number in part:
            placed.setdefault(key, []).append(number)
    return placed


def test_order_of_one_service_takes_effect_in_another(
    broker: Broker, start_daemon: StartDaemon, shop: Service, shipping: Service
) -> None:
    topic = broker.create_topic()
    shipping.db.call("outbox_subscribe_v1", shop.db.source(), "order_placed", "ship_order")
    payload = '{"key": "Ada", "n": 1}'
    order = shop.db.enqueue_with("order_placed", topic, "Ada", payload, headers={"traceparent": "00-1"})
    shop.db.enqueue_with("order_billed", topic, "Ada", payload)
    shop.start(start_daemon, broker, "", "--only", "relay")
    receiver = shipping.start(start_daemon, broker, topic)
    receiver.eventually(shipping.is_done(1), "the order is shipped")

    (row,) = shipping.db.messages()
    origin = json.loads(row["origin"])
    (record, _) = sorted(read_back(broker.bootstrap, topic, 2), key=lambda record: record.id)
    assert origin == {
        "source": shop.db.source(),
        "id": str(order),
        "type": "order_placed",
        "time": f"{shop.db.message(order)['created_at'].isoformat()}Z",
        "topic": topic,
        "partition": record.partition,
        "offset": record.offset,
        "content_type": "application/json",
    }
    assert (row["biz_type"], row["message_key"], row["status"]) == ("ship_order", "Ada", "consumed")
    assert (row["topic"], json.loads(row["headers"])) == (
        f"{topic}.outboxd.{shipping.url.rpartition('/')[2]}",
        {"traceparent": "00-1"},
    )
    receiver.says("foreign", reason="there is no subscription for it")


def test_records_of_any_producer_take_effect_or_are_dead_letters_that_say_why(
    start_daemon: StartDaemon, cluster: MockCluster, shipping: Service
) -> None:
    """Without CloudEvents headers a record is known by its topic and its place."""
    broker = Broker(cluster.bootstrap, QUICK_GROUP, cluster)
    topic = broker.create_topic(1)
    shipping.db.call("outbox_register_biz_type_v1", "frames", "ship_order", None, None, None, None)
    shipping.db.call("outbox_register_bytes_v1", "frames", True)
    shipping.db.call("outbox_subscribe_v1", f"kafka:{topic}", "%", "ship_order")
    shipping.db.call("outbox_subscribe_v1", f"kafka:{topic}", "frame", "frames")
    frame = {"ce_type": "frame", "content-type": "application/avro"}
    put(
        cluster.bootstrap,
        topic,
        {"key": b"k", "value": b'{"n": 1}'},
        {"key": b"k", "value": b"no JSON"},
        {"key": b"k", "value": b"\xff\xfe"},
        {"key": None, "value": b"[]"},
        {"key": b"k", "value": None},
        {"key": b"\xff", "value": b"[]"},
        {"key": b"x" * 300, "value": b"[]"},
        {"key": b"k", "value": b"\xff\xfe", "headers": frame},
        {"key": b"k", "value": b"1", "headers": frame},
        {"key": b"k", "value": None, "headers": frame},
    )
    daemon = shipping.start(start_daemon, broker, topic)
    daemon.eventually(shipping.is_done(6), "all that can take effect have")
    assert sorted(map(str, shipping.effects())) == sorted(["{'n': 1}", "[]", "None", "//4=", "MQ==", "None"])
    dead = shipping.db.rows(
        "SELECT payload, last_error, topic FROM agent_outbox_messages WHERE status = 'dead' ORDER BY id"
    )
    assert [(row["payload"], row["last_error"]) for row in dead] == [
        ('"no JSON"', f"its value is no JSON, record {topic}[0]@1"),
        ('"//4="', f"its value is not UTF-8, record {topic}[0]@2"),
        ("[]", f"its key is not UTF-8, record {topic}[0]@5"),
        ("[]", f"its key has more than 255 characters, record {topic}[0]@6"),
    ]
    assert shipping.db.column("SELECT DISTINCT origin FROM outbox_dead_letters") == [f"kafka:{topic}"]
    assert "no JSON" not in daemon.log


def test_failing_events_are_sent_again_in_a_topic_of_their_own_and_each_has_its_effect_once_and_in_order(
    broker: Broker, start_daemon: StartDaemon, shop: Service, shipping: Service
) -> None:
    topic = broker.create_topic()
    shipping.db.call("outbox_subscribe_v1", shop.db.source(), "order_placed", "ship_order")
    shipping.db.execute("UPDATE failures SET fails = 0.1")
    moments = random.Random(14)
    relay = shop.start(start_daemon, broker, "", "--only", "relay")
    receiver = shipping.start(start_daemon, broker, topic)
    placed: dict[str, list[int]] = {}
    unfinished = 0
    for number in range(4):
        for key, numbers in place_orders(shop.db, topic, 75, first=number * 75).items():
            placed.setdefault(key, []).extend(numbers)
        receiver.says("started", count=number + 1)
        receiver.outlives(moments.uniform(0.2, 1.5))
        receiver.kill()
        unfinished += shipping.db.value("SELECT COUNT(*) FROM shipments") < (number + 1) * 75
        receiver.start()
    receiver.eventually(shipping.is_done(300), "each order is shipped", seconds=120)

    assert shipping.effects_by_key() == placed
    assert unfinished, "the kills would have proved nothing"
    assert shipping.db.value("SELECT SUM(retry_count) FROM agent_outbox_messages") > 0
    assert set(shipping.db.statuses().values()) == {"consumed"}
    assert count_records(broker.bootstrap, [topic]) == 300, "nothing is sent into the origin's topic"
    (retry_topic,) = shipping.db.column("SELECT topic FROM outbox_retry_topics")
    assert count_records(broker.bootstrap, [retry_topic]) > 0
    assert receiver.stop() == 0

    # Read again from the beginning, by another group: each record is a duplicate.
    shipping.db.execute("UPDATE failures SET fails = 0")
    again = start_daemon(
        "--only",
        "consumer",
        mysql_url=shipping.url,
        kafka_bootstrap=broker.bootstrap,
        kafka_options=dict(broker.options),
        topics=topic,
        group=unused("again"),
        metrics_port=0,
    )
    last = place_orders(shop.db, topic, 1, first=300)
    again.eventually(shipping.is_done(301), "the last order is shipped")
    assert shipping.effects_by_key()["c-0"] == placed["c-0"] + last["c-0"]
    assert relay.stop() == 0


@pytest.mark.kafka
def test_two_servers_tell_each_other_their_orders_while_handlers_fail_and_everything_is_killed(
    start_daemon: StartDaemon, shop: Service, own_mysql: OwnMySQL, kafka_broker: RunningKafka
) -> None:
    """Each has orders of its own, chat of its own in one topic, and the other's orders as events."""
    own_mysql.start()
    with closing(own_mysql.connect()) as session:
        session.clean()
    broker, count, keys = Broker(kafka_broker.bootstrap, {"session.timeout.ms": 6000}), 1000, 20
    orders, chats = broker.create_topic(), broker.create_topic()
    services = {"shop": shop, "shipping": Service(own_mysql.connect(), own_mysql.url)}
    daemons, placed, entries = {}, {}, {}
    try:
        for service in services.values():
            service.db.execute(HANDLER + "UPDATE failures SET fails = 0.03")
        shop.db.call("outbox_subscribe_v1", services["shipping"].db.source(), "order_placed", "ship_order")
        # Of any identity that the shop's outbox has.
        any_shop = shop.db.source().rpartition("/")[0] + "/%"
        services["shipping"].db.call("outbox_subscribe_v1", any_shop, "order_placed", "ship_order")
        lines = chat.read(chat.default_file(), 600)
        for number, (name, service) in enumerate(services.items()):
            daemons[name] = service.start(start_daemon, broker, f"{orders},{chats}")
            entries[name] = chat.enqueue_all(service.db, chats, lines[number * 300 : (number + 1) * 300])
            placed[name] = place_orders(service.db, orders, count // 2, keys)
        daemons["shipping"].eventually(lambda: len(services["shipping"].effects()) > count // 8, "some are shipped")
        for daemon in daemons.values():
            daemon.kill()
        own_mysql.kill()
        daemons["shop"].start()
        daemons["shipping"].start()
        daemons["shipping"].says("unavailable")
        own_mysql.start()
        services["shipping"] = Service(own_mysql.connect(), own_mysql.url)
        daemons["shipping"].eventually(services["shipping"].is_done(count // 2), "the first half", seconds=120)

        daemons["shop"].eventually(shop.is_done(count // 2), "the first half", seconds=120)
        assert daemons["shop"].stop() == 0
        shop.db.call("outbox_new_identity_v1")
        daemons["shop"].start()
        for name, service in services.items():
            for key, numbers in place_orders(service.db, orders, count // 2, keys, first=count // 2).items():
                placed[name][key] += numbers
        for name, service in services.items():
            daemons[name].eventually(service.is_done(count), "both halves", seconds=120)
        shipped = {name: service.effects_by_key() for name, service in services.items()}
        assert (shipped["shop"], shipped["shipping"]) == (placed["shipping"], placed["shop"])
        for name, service in services.items():
            verdict = check(Ledger(entries[name]), service.db)
            assert verdict.is_well, verdict.evidence
            assert service.db.value("SELECT SUM(retry_count) FROM agent_outbox_messages") > 0
            assert set(service.db.statuses().values()) == {"consumed"}
        assert count_records(broker.bootstrap, [orders]) == 2 * count, (
            "nothing is sent into the topic of the orders again"
        )
    finally:
        for daemon in daemons.values():
            daemon.kill()
        own_mysql.start()
        shop.db.execute(REMOVED)
        with closing(own_mysql.connect()) as session:
            session.execute(REMOVED)
            session.clean()


@pytest.mark.kafka
def test_nothing_is_read_ahead_without_bound_while_mysql_is_away(
    start_daemon: StartDaemon, own_mysql: OwnMySQL, kafka_broker: RunningKafka
) -> None:
    own_mysql.start()
    broker = Broker(kafka_broker.bootstrap, {"session.timeout.ms": 6000})
    topic = broker.create_topic()
    value = json.dumps({"key": "k", "text": "x" * 200}).encode()
    for first in range(0, BACKLOG, 50_000):
        put(broker.bootstrap, topic, *({"key": b"%d" % n, "value": value} for n in range(first, first + 50_000)))
    service = Service(own_mysql.connect(), own_mysql.url)
    try:
        service.db.clean()
        service.db.execute(HANDLER)
        service.db.call("outbox_subscribe_v1", f"kafka:{topic}", "%", "ship_order")
        daemon = service.start(start_daemon, broker, topic, "--only", "consumer")
        shipped = "SELECT COUNT(*) FROM shipments"
        daemon.eventually(lambda: service.db.value(shipped) > 500, "some are shipped")
        own_mysql.kill()
        daemon.says("unavailable")
        peak = 0
        for _ in range(10):
            daemon.outlives(1)
            peak = max(peak, psutil.Process(daemon.pid).memory_info().rss)
        print(f"{peak / 1e6:.0f} MB beside a backlog of {BACKLOG}")
        assert peak < 200e6
        own_mysql.start()
        service = Service(own_mysql.connect(), own_mysql.url)
        before = service.db.value(shipped)
        daemon.eventually(lambda: service.db.value(shipped) > before + 2000, "it goes on")
        assert service.db.value("SELECT COUNT(*) - COUNT(DISTINCT message) FROM shipments") == 0
        daemon.kill()
    finally:
        own_mysql.start()
        with closing(own_mysql.connect()) as session:
            session.execute(REMOVED)
            session.clean()


def test_dead_event_blocks_its_key_no_longer_and_can_be_requeued(
    start_daemon: StartDaemon, broker: Broker, shop: Service, shipping: Service
) -> None:
    topic = broker.create_topic()
    shipping.db.call("outbox_subscribe_v1", "%", "order_placed", "ship_order")
    shipping.db.call("outbox_register_biz_type_v1", "ship_order", None, None, 2, None, None)
    shipping.db.execute("UPDATE failures SET fails = 1")
    shop.start(start_daemon, broker, "", "--only", "relay")
    receiver = shipping.start(start_daemon, broker, topic)
    place_orders(shop.db, topic, 1)
    receiver.eventually(lambda: list(shipping.db.statuses().values()) == ["dead"], "the first order is dead")
    shipping.db.execute("UPDATE failures SET fails = 0")
    place_orders(shop.db, topic, 1, first=10)
    receiver.eventually(lambda: shipping.effects_by_key() == {"c-0": [10]}, "the second is shipped")
    (dead,) = shipping.db.rows("SELECT id, origin, last_error FROM outbox_dead_letters")
    assert (dead["origin"], dead["last_error"]) == (shop.db.source(), "no carrier")
    assert shipping.db.out("outbox_requeue_v1", dead["id"]) == 1
    receiver.eventually(shipping.is_done(2), "the first is shipped, too")
