"""The producer of one relay worker, built anew after a fatal error."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from outboxd.kafka.client import Outage, connect
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


class ProducerHandle:
    """Builds the idempotent producer, and builds another after a fatal error; not for use by two threads.

    Records of a producer that was discarded get an error as their answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.outage = Outage()
        self._producer: Any = None
        self._connected()  # at once: a new idempotent producer waits half a second for its id

    @property
    def is_open(self) -> bool:
        """Whether there is a producer: not after `close` and a fatal error, until the next record."""
        return self._producer is not None

    def __len__(self) -> int:
        """How many records are queued or under way."""
        return 0 if self._producer is None else len(self._producer)

    def produce(
        self,
        topic: str,
        key: str,
        value: str,
        headers: list[tuple[str, bytes]],
        on_answer: Callable[[KafkaError | None], None],
    ) -> None:
        """Queue a record; on_answer is called from `poll` or `flush`.

        Raises BufferError where the queue is full, KafkaException where the client refuses the record, and ValueError
        for a topic that has a NUL.
        """
        while True:
            try:
                self._connected().produce(
                    topic, key=key, value=value, headers=headers, on_delivery=lambda error, _: on_answer(error)
                )
            except KafkaException as error:
                if not error.args[0].fatal():
                    raise
                self._discard(error)
            else:
                return

    def poll(self) -> None:
        """Wait up to 0.1 s for the first answers."""
        self._serve(lambda producer: producer.poll(_ANSWER_SECONDS))

    def flush(self) -> None:
        """Wait up to 0.1 s for all answers, and send what lingers."""
        self._serve(lambda producer: producer.flush(_ANSWER_SECONDS))

    def close(self) -> None:
        """Discard the producer and what is not acknowledged."""
        if self._producer is not None:
            self._producer.purge()
            for _ in range(10):
                with suppress(KafkaException):  # the client raises its fatal error here as well
                    if not self._producer.flush(_ANSWER_SECONDS):
                        break
        self._producer = None

    def _serve(self, wait: Callable[[Any], int]) -> None:
        if self._producer is None:
            return
        try:
            wait(self._producer)
        except KafkaException as error:  # only fatal errors are raised here, and error_cb does not get them
            self._discard(error)

    def _discard(self, error: KafkaException) -> None:
        log.warning("producer rebuilt", reason=error.args[0].str())
        self.close()

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = connect(Producer, self._settings, {**_PROPERTIES, "error_cb": self.outage.on_error})
        return self._producer
