"""A Kafka cluster inside the test's process, for the faults that no real broker makes when asked to.

It is librdkafka's mock cluster, which speaks the real protocol over real sockets. The Python client can start one, but
not break it, so this calls the same library's C functions (rdkafka_mock.h).
"""

import ctypes
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, cimpl

PRODUCE = 0  # the API key of a produce request
_PRODUCER = 0
_BROKER = 1


def _library() -> Any:
    """librdkafka as the Python client has loaded it: its symbols are found through the client's own module."""
    library = ctypes.CDLL(cimpl.__file__)
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockCluster:
    """One broker that is up until told otherwise; topics that nobody made have 4 partitions."""

    def __init__(self) -> None:
        self._library = _library()
        reason = ctypes.create_string_buffer(512)
        configuration = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", reason, 512)
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(_PRODUCER, configuration, reason, 512))
        assert self._client, reason.value
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 1))
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def create_topic(self, name: str, partitions: int = 4) -> None:
        """Make a topic."""
        error = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        assert error == KafkaError.NO_ERROR

    def refuse_next(self, request: int, *errors: int) -> None:
        """Answer the next requests of this kind with these errors, one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), codes
        )

    def go_down(self) -> None:
        """Close all connections, and refuse new ones."""
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER) == KafkaError.NO_ERROR

    def come_up(self) -> None:
        """Be reachable again, at the same address."""
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER) == KafkaError.NO_ERROR
