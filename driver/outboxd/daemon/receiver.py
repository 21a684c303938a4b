"""The inbox in a consumer: hands records of others to outbox_receive_v1."""

import contextvars
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeVar

from outboxd.kafka.records import foreign
from outboxd.messages import Foreign, Received, to_json
from outboxd.mysql.packets import divided, most_bytes, too_large
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.observe import metrics
from outboxd.retry import TooLarge, until_available
from outboxd.settings import Settings

_SIZE = "too large for max_binlog_cache_size"

_Result = TypeVar("_Result")
Results = list[tuple[Any, Received]]
"""Records of Kafka, and what became of each."""


class Receiver:
    """Receives records on a connection and in a thread of its own, while those before them are consumed.

    `told` gets why MySQL is waited for, and `finished` is called when a batch is received, both in that thread.
    """

    def __init__(
        self, settings: Settings, stop: threading.Event, told: Callable[[str], None], finished: Callable[[], None]
    ) -> None:
        self._database = ConsumerProcedures(settings)
        self._stop = stop
        self._told = told
        self._finished = finished
        self._thread = ThreadPoolExecutor(1, "receives")
        self._records: Sequence[Any] = []
        self._under_way: Future[list[Received]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        self._database.close()

    @property
    def records(self) -> Sequence[Any]:
        """Those that are under way."""
        return self._records

    @property
    def is_finished(self) -> bool:
        """Whether what was under way is done."""
        return self._under_way is not None and self._under_way.done()

    def close(self) -> None:
        """Close the connection, until there is something to receive."""
        self._database.close()

    def start(self, records: Sequence[Any]) -> None:
        """Begin to receive records of Kafka; those before them must be finished."""
        assert not self._records
        self._records = records
        self._begin()

    def begin_again(self) -> None:
        """Receive what was under way when it failed for good, if anything was."""
        if self._records and self._under_way is None:
            self._begin()

    def _begin(self) -> None:
        context = contextvars.copy_context()  # the worker's name
        self._under_way = self._thread.submit(context.run, self._receive, self._records)
        self._under_way.add_done_callback(lambda _: self._finished())

    def finish(self) -> Results:
        """What became of those that were under way, once it is finished. Raises Unavailable where it had to stop, and
        mysql.connector.Error where the procedure failed for good.
        """
        if self._under_way is None:
            return []
        under_way, self._under_way = self._under_way, None
        results = under_way.result()
        finished = list(zip(self._records, results, strict=True))
        self._records = []
        metrics.count_received(Counter(result.outcome for result in results))
        return finished

    def _receive(self, records: Sequence[Any]) -> list[Received]:
        """Store those for which there is a subscription; one result for each, in their order.

        A record that MySQL cannot take for its size becomes a dead letter without its value, which says so.
        """
        most = self._call(lambda: most_bytes(self._database))
        todo = list(divided((_element(foreign(record), most) for record in records), most))[::-1]
        results: list[Received] = []
        while todo:
            part = todo.pop()
            texts = [element.text for element in part]
            try:
                results += self._call(partial(self._database.receive, texts))
            except TooLarge:
                half = len(part) // 2
                todo += [part[half:], part[:half]] if half else [[_without_value(part[0].record, _SIZE)]]
        return results

    def _call(self, call: Callable[[], _Result]) -> _Result:
        return until_available(self._stop, call, self._told, raises_too_large=True)


@dataclass(frozen=True, slots=True)
class _Element:
    """A record, and its text in the array of a call."""

    record: Foreign
    text: str


def _element(record: Foreign, most: int) -> tuple[_Element, int]:
    element = _Element(record, to_json(record))
    size = len(element.text.encode())
    if reason := too_large(size, most):
        element = _without_value(record, reason)
        size = len(element.text.encode())
    return element, size


def _without_value(record: Foreign, reason: str) -> _Element:
    rest = replace(record, payload=None, bytes=None, headers={}, error=f"its value is left out: {reason}")
    return _Element(rest, to_json(rest))
