"""Waiting for a server that is away, as the log tells it."""

import threading

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from outboxd.kafka.client import Outage
from outboxd.retry import Unavailable, until_available


def test_each_reason_to_wait_is_said_once_and_the_return_once() -> None:
    failures = iter(["connection lost", "connection lost", "read-only", "connection lost"])

    def action() -> str:
        for reason in failures:
            raise Unavailable(reason)
        return "done"

    with capture_logs() as events:
        assert until_available(threading.Event(), action) == "done"
    said = [(event["event"], event.get("reason")) for event in events]
    assert said == [("unavailable", "connection lost"), ("unavailable", "read-only"), ("available", None)]


def test_what_was_announced_is_not_said_again() -> None:
    failures = iter(["Kafka: timed out"])

    def action() -> None:
        for reason in failures:
            raise Unavailable(reason, announced=True)

    with capture_logs() as events:
        until_available(threading.Event(), action)
    assert events == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError._ALL_BROKERS_DOWN, ["unavailable", "available"]),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ["unavailable", "available"]),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ["unavailable", "available"]),
        # Of one broker; the client goes on to others.
        (KafkaError._TRANSPORT, []),
        (KafkaError.REBALANCE_IN_PROGRESS, []),
        (KafkaError._MAX_POLL_EXCEEDED, ["Kafka error"]),
        (KafkaError.INCONSISTENT_GROUP_PROTOCOL, ["Kafka error"]),
    ],
)
def test_each_error_of_kafka_is_said_once(code: int, said: list[str]) -> None:
    outage = Outage()
    with capture_logs() as events:
        for _ in range(2):
            outage.on_error(KafkaError(code))
        outage.is_over()
    assert [event["event"] for event in events] == said


@pytest.mark.parametrize(
    ("code", "said"),
    # That a name does not resolve is said at once: it may be only those behind the bootstrap.
    [(KafkaError._TRANSPORT, ["unavailable"]), (KafkaError._RESOLVE, ["Kafka error", "unavailable"])],
)
def test_reason_of_an_outage_is_what_the_last_broker_said(code: int, said: list[str]) -> None:
    outage = Outage()
    with capture_logs() as events:
        outage.on_error(KafkaError(code, "kafka-1 is not there"))
        outage.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert [event["event"] for event in events] == said
    assert events[-1]["reason"] == "Kafka: kafka-1 is not there"


def refused(broker: str, id_: str, port: int, after_ms: int) -> str:
    """What librdkafka says of a broker that refuses connections."""
    where = f"{broker}:{port}/{id_}: Connect to ipv4#127.0.0.1:{port} failed: Connection refused"
    return f"{where} (after {after_ms}ms in state CONNECT, 3 identical error(s) suppressed)"


def test_outage_says_each_reason_once_whichever_broker_has_it() -> None:
    certificate = "ssl://kafka-1:9093/bootstrap: SSL handshake failed: certificate has expired (after 5ms in state SSL)"
    errors = [
        *((KafkaError._TRANSPORT, refused(f"kafka-{number}", f"{number}", 9090 + number, number)) for number in (1, 2)),
        (KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down"),
        (KafkaError._TRANSPORT, refused("kafka-1", "bootstrap", 9091, 0)),
        (KafkaError._ALL_BROKERS_DOWN, "3/3 brokers are down"),
        (KafkaError._TRANSPORT, f"GroupCoordinator: {refused('kafka-2', '2', 9092, 0).replace('/2: ', ': ')}"),
        (KafkaError._ALL_BROKERS_DOWN, "3/3 brokers are down"),
        (KafkaError._SSL, certificate),
        (KafkaError._SSL, certificate.replace("kafka-1", "kafka-2")),
    ]
    outage = Outage()
    with capture_logs() as events:
        for code, text in errors:
            outage.on_error(KafkaError(code, text))
    assert [event["reason"].partition(" failed: ")[2].partition(" (")[0] for event in events] == [
        "Connection refused",
        "certificate has expired",
    ]


def test_outage_whose_first_word_is_that_all_are_down_says_no_second() -> None:
    """Of idle connections that brokers close it is the first word; why a new one fails comes later."""
    outage = Outage()
    with capture_logs() as events:
        outage.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        outage.on_error(KafkaError(KafkaError._TRANSPORT, refused("kafka-1", "1", 9091, 0)))
        outage.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert [event["reason"] for event in events] == ["Kafka: 1/1 brokers are down"]
