"""The producer of one relay worker, built anew after a fatal error."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from outboxd.kafka.client import Outage, connect
from outboxd.kafka.errors import OF_A_TOPIC
from outboxd.settings import Settings

log = structlog.get_logger()

# Idempotent and gapless, and the partitions that Java clients choose. The linger makes large record batches of a claim;
# the flush at its end sends what still lingers. The topic's own limit decides how large a record may be: the one here
# is only less than the queue, into which a larger record would never fit.
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
_ANSWER_SECONDS = 0.1
_METADATA_SECONDS = 0.5


class ProducerHandle:
    """Builds the idempotent producer, and builds another after a fatal error.

    Only `serve` is for use by another thread. Records of a producer that was discarded get an error as their answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.outage = Outage()
        self._producer: Any = None
        self._under_way = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Build the producer if there is none, and another where an outage lasts. Nothing may be under way."""
        if self._producer is not None and self.outage.needs_new_client(self._producer):
            self.close()
        if self._producer is None:
            self._producer = connect(Producer, self._settings, {**_PROPERTIES, "error_cb": self.outage.on_error})

    @property
    def is_open(self) -> bool:
        """Whether there is a producer: not after `close` or a fatal error, until `open`."""
        return self._producer is not None

    def __len__(self) -> int:
        """How many records are queued or under way; the client's own count has its errors in it, too."""
        return self._under_way

    def produce(
        self,
        topic: str,
        key: str,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        on_answer: Callable[[KafkaError | None, Message], None],
    ) -> None:
        """Queue a record; on_answer is called from `poll`, `flush` or `close`, with the error and the record.

        The producer must be open.

        Raises BufferError where the queue is full, KafkaException where the client refuses the record (after a fatal
        error the producer is closed), and ValueError for a topic that has a NUL.
        """

        producer = self._producer

        def answered(error: KafkaError | None, record: Message) -> None:
            if self._producer is producer:  # not a late answer of one that was discarded
                self._under_way -= 1
            on_answer(error, record)

        try:
            with self._lock:
                self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=answered)
                self._under_way += 1
        except KafkaException as error:
            if error.args[0].fatal():
                self._discard(error)
            raise

    def poll(self) -> None:
        """Wait up to 0.1 s for the first answers."""
        self._serve(lambda producer: producer.poll(_ANSWER_SECONDS))

    def flush(self) -> None:
        """Wait up to 0.1 s for all answers, and send what lingers."""
        self._serve(lambda producer: producer.flush(_ANSWER_SECONDS))

    def why_unavailable(self, topic: str) -> str | None:
        """What the brokers say is wrong with a topic, or None.

        Raises KafkaException where no broker answers within half a second.
        """
        return _error_of(self._metadata(topic))

    def why_silent(self, topic: str) -> str | None:
        """What may be wrong with a topic whose records have no answer, or None. Raises as `why_unavailable`.

        The client keeps to itself that a record has too few replicas, and sends it again.
        """
        there = self._metadata(topic)
        for partition in there.partitions.values():
            if len(partition.isrs) < len(partition.replicas):
                told = f"{len(partition.isrs)} of {len(partition.replicas)} replicas of partition {partition.id}"
                return _error_of(there) or f"no answer, and {told} are in sync"
        return _error_of(there)

    def serve(self) -> None:
        """Take the errors and the token of an idle client, from any thread: answers are the worker's to take."""
        if self._lock.acquire(blocking=False):
            try:
                if self._producer is not None and not len(self):
                    self._producer.poll(0)
            except KafkaException:
                pass  # fatal: the next record gets it, too
            finally:
                self._lock.release()

    def close(self) -> None:
        """Discard the producer and what is not acknowledged."""
        with self._lock:
            if self._producer is not None:
                self._producer.purge()
                for _ in range(10):
                    with suppress(KafkaException):  # the client raises its fatal error here as well
                        if not self._producer.flush(_ANSWER_SECONDS):
                            break
            self._producer = None
            self._under_way = 0

    def _metadata(self, topic: str) -> Any:
        return self._producer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]

    def _serve(self, wait: Callable[[Any], int]) -> None:
        if self._producer is None:
            return
        try:
            with self._lock:
                wait(self._producer)
        except KafkaException as error:  # only fatal errors are raised here, and error_cb does not get them
            self._discard(error)

    def _discard(self, error: KafkaException) -> None:
        log.warning("producer rebuilt", reason=error.args[0].str())
        self.close()


def _error_of(topic: Any) -> str | None:
    errors = [topic.error, *(partition.error for partition in topic.partitions.values())]
    return next((str(error.str()) for error in errors if error is not None and error.code() in OF_A_TOPIC), None)
