"""What the producer and the consumer share: making a librdkafka client, and saying once that the brokers are away."""

from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException

from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()

# Certificates, passwords and rights too: of the first librdkafka says next only that all brokers are down, and of
# rights nothing more at all.
_AWAY = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._AUTHENTICATION,
    KafkaError._RESOLVE,
    KafkaError._SSL,
    KafkaError._TRANSPORT,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


def connect(kind: Callable[[dict[str, Any]], Any], settings: Settings, properties: dict[str, Any]) -> Any:
    """A client of this kind (Producer, Consumer); kafka_options win over properties. It connects by itself, in time.

    Raises SettingsError where librdkafka refuses a property.
    """
    common = {"bootstrap.servers": settings.kafka_bootstrap, "client.id": f"outboxd-{settings.name}", "log_level": 2}
    try:
        return kind({**common, **properties, **settings.kafka_options})
    except (KafkaException, TypeError, ValueError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else error
        raise SettingsError(f"setting kafka_options: {reason}") from error


class Outage:
    """Says once that the brokers are away, and once that they are back."""

    def __init__(self) -> None:
        self.is_on = False

    def on_error(self, error: KafkaError) -> None:
        """An error of the client as a whole; those that librdkafka mends by itself are passed over."""
        if error.code() in _AWAY and not self.is_on:
            self.is_on = True
            log.warning("unavailable", reason=f"Kafka: {error.str()}")

    def is_over(self) -> None:
        """A broker has answered."""
        if self.is_on:
            self.is_on = False
            log.info("available", what="Kafka")
