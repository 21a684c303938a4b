"""What all Kafka clients share: how one is made, and one log line each when the brokers go away and come back."""

import contextvars
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
# Which broker an error is of, and when it came: two that differ only in these have the same reason.
_WHERE_AND_WHEN = re.compile(r"^(?:GroupCoordinator: )?\S+[:/]\w+: |(?<=Connect to )\S+| \(after .*\)$")
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
LASTING_SECONDS = 10
"""How long an outage lasts until clients are made anew."""
_ANSWER_SECONDS = 1


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


def why_silent(client: Any) -> str | None:
    """Why no broker answers a client within a second, or None.

    The question is about a topic that cannot exist: every broker answers to that, and it takes no right.
    """
    try:
        client.list_topics("/", timeout=_ANSWER_SECONDS)
    except KafkaException as error:
        return str(error.args[0].str())
    return None


@contextmanager
def each_second(serve: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call this each second in a thread of its own, which logs as the worker whose thread it is.

    A client that nobody polls piles up its errors, gets no new token, and loses its membership of a group.
    """
    done = threading.Event()

    def serve_until_done() -> None:
        while not done.wait(1):
            serve()

    context = contextvars.copy_context()  # the worker's name
    serving = threading.Thread(target=context.run, args=(serve_until_done,), name="serves Kafka", daemon=True)
    serving.start()
    try:
        yield
    finally:
        done.set()
        serving.join()


class Outage:
    """Whether one client's brokers are away. Logs `unavailable` and `available`, and other errors by name."""

    def __init__(self) -> None:
        self.fatal: KafkaError | None = None
        """The error after which the client does nothing more."""
        self._told: tuple[float, str] = (float("-inf"), "")
        self._of_one_broker: str | None = None
        self._reasons: set[str] = set()
        self._look_at = 0.0
        self._say_at: dict[int, float] = {}

    @property
    def is_on(self) -> bool:
        """Whether the brokers are away."""
        return bool(self._reasons)

    def on_error(self, error: KafkaError) -> None:
        """Count an error of the client; it begins an outage unless librdkafka recovers from it by itself."""
        metrics.count_error(error)
        self.note(error.str())
        now = time.monotonic()
        if error.code() in _OF_ONE_BROKER:
            self._of_one_broker = error.str()
        if error.fatal() or error.code() == KafkaError._FATAL:
            self.fatal = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._begin(self._of_one_broker or error.str(), _WHERE_AND_WHEN.sub("", self._of_one_broker or ""))
        elif error.code() in _UNAVAILABLE:
            self._begin(error.str(), _WHERE_AND_WHEN.sub("", error.str()))
        elif error.code() not in _PASSING and now >= self._say_at.get(error.code(), now):
            self._say_at[error.code()] = now + _SAID_AGAIN_SECONDS
            log.warning("Kafka error", error=error.name(), reason=error.str())

    def note(self, reason: str) -> None:
        """Something is wrong, which the next `last_reason` tells."""
        self._told = time.monotonic(), reason

    def last_reason(self, seconds: float) -> str | None:
        """What was wrong in the last so many seconds, or None."""
        at, reason = self._told
        return reason if time.monotonic() - at < seconds else None

    def needs_new_client(self, client: Any) -> bool:
        """Ask the brokers, each 10 seconds of an outage, whether it is over; returns whether they do not answer.

        A client reads certificates only when it is made: it would never take up those that an operator has renewed.
        """
        if not self.is_on or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LASTING_SECONDS
        if why_silent(client):
            return True
        if self.last_reason(LASTING_SECONDS) is None:  # missing rights are no silence
            self.is_over()
        return False

    def is_over(self) -> None:
        """A broker has answered."""
        self._of_one_broker = None
        if self.is_on:
            self._reasons.clear()
            log.info("available", what="Kafka")

    def _begin(self, reason: str, kind: str) -> None:
        """Log the reason, unless this outage has had one of its kind; an empty kind is any other's."""
        if not self.is_on:
            self._look_at = time.monotonic() + LASTING_SECONDS
        is_told = kind in self._reasons or (self.is_on and not kind) or self._reasons == {""}
        self._reasons.add(kind)
        if not is_told:
            log.warning("unavailable", reason=f"Kafka: {reason}")
