"""The monitor: samples lag, slots and the brokers every few seconds, for the metrics and for /readyz."""

import threading

import mysql.connector
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from outboxd import health, metrics
from outboxd.database import Database
from outboxd.health import Health
from outboxd.kafka import connect
from outboxd.retry import Unavailable
from outboxd.settings import Settings

log = structlog.get_logger()

_PATIENCE_SECONDS = 1  # a stop waits for it


def run(settings: Settings, relays: list[str], state: Health, stop: threading.Event) -> None:
    """Sample until stop is set. What cannot be sampled is a reason not to be ready, and never ends the daemon."""
    kafka = connect(AdminClient, settings, {"error_cb": lambda _: None})
    with Database(settings) as database:
        while not stop.is_set():
            health.beat(settings.sample_seconds)
            state.sampled(
                MySQL=_ask_mysql(database, relays),
                Kafka=_ask_kafka(kafka),
                good_for_seconds=3 * settings.sample_seconds + 10,
            )
            stop.wait(settings.sample_seconds)


def _ask_mysql(database: Database, relays: list[str]) -> str | None:
    """Sample what MySQL knows; returns what is missing."""
    try:
        metrics.show_lag(database.lag())
        slots = sum(database.slots_owned(relay) for relay in relays)
    except Unavailable as error:
        return str(error)
    except mysql.connector.Error as error:  # such as a right that was not given
        log.warning("not sampled", reason=str(error))
        return f"MySQL: {error}"
    metrics.slots_owned.set(slots)
    return None if slots or health.partitions() else "no slots are owned and no partitions assigned"


def _ask_kafka(kafka: AdminClient) -> str | None:
    """Ask for the metadata of a topic that cannot be, the cheapest question that every broker answers and no right is
    needed for; returns what is missing."""
    try:
        kafka.list_topics("/", timeout=_PATIENCE_SECONDS)
    except KafkaException as error:
        return f"Kafka: {error.args[0].str()}"
    return None
