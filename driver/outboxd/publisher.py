"""Kafka's producing side: sends a batch, waits for the acknowledgements, and sorts out what Kafka refused."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from outboxd import health, metrics, tracing
from outboxd.database import Message, Receipt
from outboxd.kafka import Outage, connect
from outboxd.records import headers_of
from outboxd.settings import Settings

log = structlog.get_logger()

# Refusals of the record itself. The hopeless ones no later attempt can change; the others may pass once an operator
# has made the topic or given the right. Every other error is the brokers' trouble and counts against no message.
_HOPELESS = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_RECORD}
# A broker has those of a batch for all of it, because of one record in it.
_OF_A_BATCH = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_MSG,
    KafkaError.POLICY_VIOLATION,
}
_REFUSED = (
    _HOPELESS
    | _OF_A_BATCH
    | {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._INVALID_ARG,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)

# Idempotent and gapless, and the partitions that Java clients choose. The linger makes large record batches of a claim;
# the wait at its end flushes, and so no record lingers then. The topic's own limit decides how large a record
# may be: the one here is only less than the queue, into which a larger one would never fit.
_PROPERTIES = {
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "linger.ms": 20,
    "compression.type": "lz4",
    "message.timeout.ms": 60_000,
    "socket.timeout.ms": 15_000,
    "request.timeout.ms": 10_000,
    "message.max.bytes": 16 << 20,
    "topic.metadata.propagation.max.ms": 5_000,
    "queue.buffering.max.kbytes": 32_768,
}


@dataclass(slots=True)
class Round:
    """What became of a batch; whatever is in none of the lists stays pending and is claimed again."""

    published: list[Receipt] = field(default_factory=list)
    failed: list[tuple[Receipt, str]] = field(default_factory=list)
    dead: list[tuple[Receipt, str]] = field(default_factory=list)
    claimed: int = 0
    unanswered: str | None = None


@dataclass(slots=True)
class _Sending:
    """Records under way; callbacks of a producer that was thrown away find their own, and disturb no later one."""

    in_flight: int = 0
    published: list[Receipt] = field(default_factory=list)
    refused: list[tuple[Message, KafkaError]] = field(default_factory=list)
    unanswered: str | None = None
    began_ns: int = field(default_factory=time.time_ns)

    def answer(self, message: Message, error: KafkaError | None) -> None:
        self.in_flight -= 1
        tracing.published(message, self.began_ns, error)
        if error is None:
            self.published.append(message.receipt)
            return
        metrics.count_error(error)
        if error.code() in _REFUSED:
            self.refused.append((message, error))
        else:
            self.unanswered = error.str()


class Publisher:
    """An idempotent producer of one relay worker, rebuilt after a fatal error; not for use by two threads.

    heartbeat is called every third of the lease while this waits for Kafka.
    """

    def __init__(self, settings: Settings, stop: threading.Event, heartbeat: Callable[[], None]) -> None:
        self._settings = settings
        self._stop = stop
        self._heartbeat = heartbeat
        self._producer: Any = None
        self._fatal: str | None = None
        self.outage = Outage()
        self._next_beat = 0.0
        self._stop_seen: float | None = None
        self._connected()  # at once: a new idempotent producer waits half a second for its id

    def publish(self, messages: Iterable[Message]) -> Round:
        """Send messages in their order, and wait until each is acknowledged, refused or given up.

        While the brokers are away this waits for message.timeout.ms at most; once a stop was asked for, for
        stop_seconds at most. Errors of the iterable are raised after what was sent before them has settled.
        """
        done = Round()
        sending = _Sending()
        self._next_beat = time.monotonic() + self._settings.lease_seconds / 3
        try:
            for message in messages:
                done.claimed += 1
                self._send(message, sending)
        finally:
            self._wait(sending)
        done.published, done.unanswered = sending.published, sending.unanswered
        for message, error in self._each_alone(sending.refused, done):
            size = f"{len(message.payload.encode())} bytes, topic {message.topic!r}"
            reason = f"Kafka refuses the record ({size}): {error.str()} ({error.name()})"
            (done.dead if error.code() in _HOPELESS else done.failed).append((message.receipt, reason))
        return done

    def close(self) -> None:
        """Throw away what is not acknowledged: it is pending and will be claimed again."""
        if self._producer is not None:
            self._producer.purge()
            for _ in range(10):
                with suppress(KafkaException):  # the client raises its fatal error here as well
                    if not self._producer.flush(0.1):
                        break
        self._producer = self._fatal = None

    def _rebuild(self, reason: str) -> None:
        log.warning("producer rebuilt", reason=reason)
        self.close()

    def _each_alone(self, refused: list[tuple[Message, KafkaError]], done: Round) -> list[tuple[Message, KafkaError]]:
        """A broker refuses a whole batch for one record in it: sent alone, each answers for itself."""
        guilty: list[tuple[Message, KafkaError]] = []
        for message, error in refused:
            if done.claimed == 1 or error.code() not in _OF_A_BATCH:
                guilty.append((message, error))
                continue
            alone = _Sending()
            self._send(message, alone)
            self._wait(alone)
            done.published += alone.published
            done.unanswered = alone.unanswered or done.unanswered
            guilty += alone.refused
        return guilty

    def _send(self, message: Message, sending: _Sending) -> None:
        headers = headers_of(message, self._settings.event_source)
        while not self._given_up():
            try:
                self._connected().produce(
                    message.topic,
                    key=message.key,
                    value=message.payload,
                    headers=headers,
                    on_delivery=lambda error, _: sending.answer(message, error),
                )
            except BufferError:
                if sending.in_flight:
                    self._serve(self._producer.poll)
                    continue
                sending.in_flight += 1
                too_large = "it is larger than the queue: queue.buffering.max.kbytes"
                sending.answer(message, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, too_large))
                return
            except ValueError as error:  # the client's own: a topic that has a NUL
                sending.in_flight += 1
                sending.answer(message, KafkaError(KafkaError.TOPIC_EXCEPTION, str(error)))
                return
            except KafkaException as error:
                if error.args[0].fatal():
                    self._rebuild(error.args[0].str())
                    continue
                sending.in_flight += 1
                sending.answer(message, error.args[0])
                return
            sending.in_flight += 1
            return
        sending.unanswered = "stopped"

    def _wait(self, sending: _Sending) -> None:
        while sending.in_flight > 0 and self._producer is not None:
            self._serve(self._producer.flush)
            if self._fatal:
                self._rebuild(self._fatal)
            elif self._given_up():
                self.close()
        if sending.published:
            self.outage.is_over()

    def _given_up(self) -> bool:
        if not self._stop.is_set():
            return False
        if self._stop_seen is None:
            self._stop_seen = time.monotonic()
        return time.monotonic() > self._stop_seen + self._settings.stop_seconds

    def _serve(self, answers: Callable[[float], int]) -> None:
        health.beat()
        try:
            answers(0.1)
        except KafkaException as error:  # a fatal one: the client raises it here, and does not tell error_cb
            self._fatal = error.args[0].str()
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + self._settings.lease_seconds / 3
            self._heartbeat()

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = connect(Producer, self._settings, {**_PROPERTIES, "error_cb": self._on_error})
        return self._producer

    def _on_error(self, error: KafkaError) -> None:
        metrics.count_error(error)
        self.outage.on_error(error)
