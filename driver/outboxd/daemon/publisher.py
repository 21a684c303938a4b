"""The publishing half of a relay's round: sends a batch, waits for Kafka's answers, gives each message a verdict."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException

from outboxd.kafka.producer import ProducerHandle
from outboxd.kafka.records import headers_of
from outboxd.messages import Message, Receipt, Round
from outboxd.observe import metrics, tracing
from outboxd.observe.health import Pulse
from outboxd.settings import Settings

# Refusals of the record itself. The hopeless ones no later attempt can change; the others may pass once an operator
# has made the topic or given the right. Every other error is the brokers' trouble and counts against no message.
_HOPELESS = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_RECORD}
# A broker answers with these to a whole batch because of one record in it.
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


@dataclass(slots=True)
class _Batch:
    """Records that are sent together, and Kafka's answers.

    Each callback belongs to one batch, so that a late answer from a discarded producer changes no later batch.
    """

    messages: int = 0
    in_flight: int = 0
    published: list[Receipt] = field(default_factory=list)
    refused: list[tuple[Message, KafkaError]] = field(default_factory=list)
    unanswered: str | None = None
    began_ns: int = field(default_factory=time.time_ns)

    def is_answered(self, message: Message, error: KafkaError | None) -> None:
        """Kafka, or the client in its place, has answered to a message's record."""
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
    """Publishes the batches of one relay worker; not for use by two threads.

    renew_lease is called every third of lease_seconds while this waits for Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        producer: ProducerHandle,
        stop: threading.Event,
        pulse: Pulse,
        renew_lease: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._stop = stop
        self._pulse = pulse
        self._renew_lease = renew_lease
        self._renew_at = 0.0
        self._stop_seen_at: float | None = None

    def publish(self, messages: Iterable[Message]) -> Round:
        """Send messages in their order, and wait until each is acknowledged, refused or given up.

        Waits for at most message.timeout.ms while the brokers are away, and for at most stop_seconds after a stop.
        Errors of the iterable are raised after Kafka has answered to the messages before them.
        """
        self._renew_at = time.monotonic() + self._settings.lease_seconds / 3
        batch = self._publish_together(messages)
        done = Round(batch.messages, batch.published, unanswered=batch.unanswered)
        for message, error in batch.refused:
            if batch.messages > 1 and error.code() in _OF_A_BATCH:
                alone = self._publish_together([message])
                done.published += alone.published
                done.unanswered = alone.unanswered or done.unanswered
                _judge(alone.refused, done)
            else:
                _judge([(message, error)], done)
        return done

    def _publish_together(self, messages: Iterable[Message]) -> _Batch:
        batch = _Batch()
        try:
            for message in messages:
                batch.messages += 1
                self._send(message, batch)
        finally:
            self._wait(batch)
        return batch

    def _send(self, message: Message, batch: _Batch) -> None:
        def on_answer(error: KafkaError | None) -> None:
            batch.in_flight -= 1
            batch.is_answered(message, error)

        headers = headers_of(message, self._settings.source)
        while not self._has_given_up():
            try:
                self._producer.produce(message.topic, message.key, message.payload, headers, on_answer)
            except BufferError:
                if batch.in_flight:
                    self._serve(self._producer.poll)
                    continue
                too_large = "it is larger than the queue: queue.buffering.max.kbytes"
                batch.is_answered(message, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, too_large))
            except ValueError as error:  # the client's own: the topic has a NUL
                batch.is_answered(message, KafkaError(KafkaError.TOPIC_EXCEPTION, str(error)))
            except KafkaException as error:
                batch.is_answered(message, error.args[0])
            else:
                batch.in_flight += 1
            return
        batch.unanswered = "stopped"

    def _wait(self, batch: _Batch) -> None:
        while batch.in_flight > 0 and self._producer.is_open:
            self._serve(self._producer.flush)
            if self._has_given_up():
                self._producer.close()
        if batch.published:
            self._producer.outage.is_over()

    def _serve(self, answers: Callable[[], None]) -> None:
        self._pulse.beat()
        answers()
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + self._settings.lease_seconds / 3
            self._renew_lease()

    def _has_given_up(self) -> bool:
        if not self._stop.is_set():
            return False
        if self._stop_seen_at is None:
            self._stop_seen_at = time.monotonic()
        return time.monotonic() > self._stop_seen_at + self._settings.stop_seconds


def _judge(refused: Iterable[tuple[Message, KafkaError]], done: Round) -> None:
    """Enter refused messages as dead or failed, each with a reason for last_error."""
    for message, error in refused:
        size = f"{len(message.payload.encode())} bytes, topic {message.topic!r}"
        reason = f"Kafka refuses the record ({size}): {error.str()} ({error.name()})"
        (done.dead if error.code() in _HOPELESS else done.failed).append((message.receipt, reason))
