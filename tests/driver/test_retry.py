"""Waiting for a server that is away, as the log tells it."""

import threading

from structlog.testing import capture_logs

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
    assert said == [("waiting", "connection lost"), ("waiting", "read-only"), ("back", None)]


def test_what_was_announced_is_not_said_again() -> None:
    failures = iter(["Kafka: timed out"])

    def action() -> None:
        for reason in failures:
            raise Unavailable(reason, announced=True)

    with capture_logs() as events:
        until_available(threading.Event(), action)
    assert events == []
