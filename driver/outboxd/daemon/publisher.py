"""The publishing half of a relay's round: sends a batch, waits for Kafka's answers, gives each message a verdict."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as Record

from outboxd.kafka.errors import HOPELESS, OF_A_BATCH, OF_A_TOPIC, REFUSED
from outboxd.kafka.producer import ProducerHandle
from outboxd.kafka.records import headers_of
from outboxd.messages import Message, Receipt, Round
from outboxd.observe import metrics, tracing
from outboxd.observe.health import Pulse
from outboxd.settings import Settings

# How long records may go without an answer before their topics are asked about: then those in trouble, and those that
# alone have no answer, are left out. Where nothing is answered, and the brokers see nothing wrong, it is the longer.
_SILENT_SECONDS = 1.0
_LONGEST_SILENT_SECONDS = 3.0


@dataclass(slots=True)
class _Batch:
    """Records that are sent together, and Kafka's answers.

    Each callback belongs to one batch, so that a late answer from a discarded producer changes no later batch.
    """

    messages: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    """How many records of each topic have no answer yet."""
    published: list[Receipt] = field(default_factory=list)
    streams: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of them are of each topic and business type."""
    refused: list[tuple[Message, KafkaError]] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    """Topics of those."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Topics in trouble, and the reason."""
    examined: set[str] = field(default_factory=set)
    """Topics that the brokers were asked about before anything was sent."""
    unanswered: str | None = None
    heard_at: float = field(default_factory=time.monotonic)
    """When the last answer came, or the first record was sent."""
    looked_at: float = 0
    """When it was last looked into why there is none."""
    began_ns: int = field(default_factory=time.time_ns)

    def is_sent(self, message: Message) -> None:
        """A message's record is on its way."""
        if not self.waiting:
            self.heard_at = time.monotonic()
        self.waiting[message.topic] += 1

    def is_acknowledged(self, message: Message, record: Record) -> None:
        """Kafka has taken a message's record."""
        self.heard_at = time.monotonic()
        tracing.published(message, self.began_ns, None)
        self.published.append(replace(message.receipt, partition=record.partition(), offset=record.offset()))
        self.streams[message.topic, message.biz_type] += 1
        self.acknowledged.add(message.topic)

    def is_refused(self, message: Message, error: KafkaError) -> None:
        """Kafka, or the client in its place, has not taken a message's record."""
        self.heard_at = time.monotonic()
        tracing.published(message, self.began_ns, error)
        metrics.count_error(error)
        if error.code() in REFUSED:
            self.refused.append((message, error))
        elif error.code() in OF_A_TOPIC:
            self.unavailable.setdefault(message.topic, error.str())
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
        # Topics that were in trouble and have acknowledged nothing since.
        self._suspects: set[str] = set()

    def publish(self, messages: Iterable[Message]) -> Round:
        """Send messages in their order, and wait until each is acknowledged, refused or given up.

        A topic in trouble is given up after a second where the brokers say so or others are answered, and after three
        otherwise. Waits for at most message.timeout.ms while the brokers are away, and for at most stop_seconds after
        a stop. Errors of the iterable are raised after Kafka has answered to the messages before them.
        """
        self._renew_at = time.monotonic() + self._settings.lease_seconds / 3
        batch = self._publish_together(messages)
        done = Round(
            batch.messages,
            batch.published,
            streams=batch.streams,
            unavailable=batch.unavailable,
            unanswered=batch.unanswered,
        )
        for message, error in batch.refused:
            if message.topic in done.unavailable:
                continue
            if batch.messages > 1 and error.code() in OF_A_BATCH:
                alone = self._publish_together([message])
                done.published += alone.published
                done.streams += alone.streams
                done.unavailable |= alone.unavailable
                done.unanswered = alone.unanswered or done.unanswered
                _judge(alone.refused, done)
            else:
                _judge([(message, error)], done)
        done.available = {topic for topic in self._suspects & batch.acknowledged if topic not in done.unavailable}
        self._suspects = self._suspects - done.available | done.unavailable.keys()
        if done.unavailable:
            done.unanswered = None  # what was discarded with them is claimed again, without them
        return done

    def _publish_together(self, messages: Iterable[Message]) -> _Batch:
        batch = _Batch()
        self._producer.open()
        try:
            for message in messages:
                batch.messages += 1
                self._send(message, batch)
        finally:
            self._wait(batch)
        return batch

    def _send(self, message: Message, batch: _Batch) -> None:
        def on_answer(error: KafkaError | None, record: Record) -> None:
            batch.waiting[message.topic] -= 1
            if not batch.waiting[message.topic]:
                del batch.waiting[message.topic]
            if error is None:
                batch.is_acknowledged(message, record)
            else:
                batch.is_refused(message, error)

        if self._producer.is_open and message.topic in self._suspects - batch.examined:
            self._examine(message.topic, batch)
        headers = headers_of(message, self._settings.source)
        # Not with another producer, where this batch's was discarded: it would overtake those before it in its lane.
        while self._producer.is_open and message.topic not in batch.unavailable:
            if self._has_given_up():
                batch.unanswered = "stopped"
                return
            try:
                self._producer.produce(message.topic, message.key, message.value, headers, on_answer)
            except BufferError:
                if batch.waiting:
                    self._serve(self._producer.poll, batch)
                    continue
                too_large = "it is larger than the queue: queue.buffering.max.kbytes"
                batch.is_refused(message, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, too_large))
            except ValueError as error:  # the client's own: the topic has a NUL
                batch.is_refused(message, KafkaError(KafkaError.TOPIC_EXCEPTION, str(error)))
            except KafkaException as error:
                batch.is_refused(message, error.args[0])
            else:
                batch.is_sent(message)
            return
        batch.unanswered = batch.unanswered or "the producer was rebuilt"

    def _wait(self, batch: _Batch) -> None:
        while batch.waiting and self._producer.is_open:
            self._serve(self._producer.flush, batch)
            if self._has_given_up():
                self._producer.close()
        if batch.published:
            self._producer.outage.is_over()

    def _serve(self, answers: Callable[[], None], batch: _Batch) -> None:
        self._pulse.beat()
        answers()
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + self._settings.lease_seconds / 3
            self._renew_lease()
        silent_since = max(batch.heard_at, batch.looked_at)
        if batch.waiting and self._producer.is_open and time.monotonic() - silent_since >= _SILENT_SECONDS:
            self._look_into_silence(batch)

    def _examine(self, topic: str, batch: _Batch) -> None:
        """Ask the brokers about a topic that has been in trouble: to send a record would take long, and a producer."""
        batch.examined.add(topic)
        with suppress(KafkaException):  # no broker answers: the record will tell
            reason = self._producer.why_unavailable(topic)
            if reason:
                batch.unavailable[topic] = reason

    def _look_into_silence(self, batch: _Batch) -> None:
        """Leave out topics in trouble, and discard the producer: their records may not arrive behind later ones."""
        batch.looked_at = time.monotonic()
        silent_seconds = batch.looked_at - batch.heard_at
        try:
            reasons = {topic: self._producer.why_silent(topic) for topic in batch.waiting}
        except KafkaException:
            batch.heard_at = time.monotonic()
            return  # the cluster's trouble: the topics' silence counts from its end
        if batch.published or silent_seconds >= _LONGEST_SILENT_SECONDS:
            silence = f"no answer for {silent_seconds:.1f} s"
            reasons = {topic: reason or silence for topic, reason in reasons.items()}
        unavailable = {topic: reason for topic, reason in reasons.items() if reason}
        if unavailable:
            batch.unavailable |= unavailable
            self._producer.close()

    def _has_given_up(self) -> bool:
        if not self._stop.is_set():
            return False
        if self._stop_seen_at is None:
            self._stop_seen_at = time.monotonic()
        return time.monotonic() > self._stop_seen_at + self._settings.stop_seconds


def _judge(refused: Iterable[tuple[Message, KafkaError]], done: Round) -> None:
    """Enter refused messages as dead or failed, each with a reason for last_error."""
    for message, error in refused:
        size = f"{len(message.value or b'')} bytes, topic {message.topic!r}"
        reason = f"Kafka refuses the record ({size}): {error.str()} ({error.name()})"
        (done.dead if error.code() in HOPELESS else done.failed).append((message.receipt, reason))
