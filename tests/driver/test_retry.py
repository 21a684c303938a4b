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
