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
    ("code", "is_said"),
    [
        (KafkaError._ALL_BROKERS_DOWN, True),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, True),
        (KafkaError._MAX_POLL_EXCEEDED, False),
    ],
)
def test_what_kafka_refuses_until_somebody_acts_is_said_once(code: int, is_said: bool) -> None:
    outage = Outage()
    with capture_logs() as events:
        for _ in range(2):
            outage.on_error(KafkaError(code))
        outage.is_over()
    assert [event["event"] for event in events] == (["unavailable", "available"] if is_said else [])
