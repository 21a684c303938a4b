"""What all Kafka clients share: how one is made, and one log line each when the brokers go away and come back."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException

from outboxd.observe import metrics
from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()

# Of certificates and passwords librdkafka says next only that all brokers are down, and of missing rights nothing more.
_UNAVAILABLE = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}
# One broker's; the next error says whether it is all brokers'.
_OF_ONE_BROKER = {KafkaError._RESOLVE, KafkaError._TRANSPORT}
# The client goes on from these by itself, within seconds: brokers change roles, and groups their members.
_PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._NO_OFFSET,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_MEMBER_ID,
}
_SAID_AGAIN_SECONDS = 60


def connect(kind: Callable[[dict[str, Any]], Any], settings: Settings, properties: dict[str, Any]) -> Any:
    """Make a client of this kind (Producer, Consumer, AdminClient), which connects in the background.

    The setting kafka_options takes precedence over properties. Raises SettingsError where librdkafka rejects a
    property.
    """
    common = {"bootstrap.servers": settings.kafka_bootstrap, "client.id": settings.client_id, "log_level": 2}
    # Brokers close idle connections: that is no error with nothing under way.
    common["log.connection.close"] = False
    try:
        return kind({**common, **properties, **settings.kafka_options})
    except (KafkaException, TypeError, ValueError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else error
        raise SettingsError(f"setting kafka_options: {reason}") from error


class Outage:
    """Whether one client's brokers are away. Logs `unavailable` and `available`, and other errors by name."""

    def __init__(self) -> None:
        self.is_on = False
        self.fatal: KafkaError | None = None
        """The error after which the client does nothing more."""
        self.last: tuple[float, str] = (float("-inf"), "")
        """When the last error was, by the monotonic clock, and what it said."""
        self._of_one_broker: str | None = None
        self._say_at: dict[int, float] = {}

    def on_error(self, error: KafkaError) -> None:
        """Count an error of the client; it begins an outage unless librdkafka recovers from it by itself."""
        metrics.count_error(error)
        now = time.monotonic()
        self.last = now, error.str()
        if error.code() in _OF_ONE_BROKER:
            self._of_one_broker = error.str()
        if error.fatal() or error.code() == KafkaError._FATAL:
            self.fatal = error
        elif error.code() in _UNAVAILABLE and not self.is_on:
            self.is_on = True
            # That of one broker says why.
            reason = self._of_one_broker if error.code() == KafkaError._ALL_BROKERS_DOWN else None
            log.warning("unavailable", reason=f"Kafka: {reason or error.str()}")
        elif error.code() not in _UNAVAILABLE | _PASSING and now >= self._say_at.get(error.code(), now):
            self._say_at[error.code()] = now + _SAID_AGAIN_SECONDS
            log.warning("Kafka error", error=error.name(), reason=error.str())

    def is_over(self) -> None:
        """A broker has answered."""
        self._of_one_broker = None
        if self.is_on:
            self.is_on = False
            log.info("available", what="Kafka")
