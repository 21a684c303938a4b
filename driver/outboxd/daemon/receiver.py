"""The inbox in a consumer: asks which records of others take effect here, and hands them to outbox_receive_v1."""

import contextvars
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeVar

from outboxd.kafka.records import foreign
from outboxd.messages import Foreign, Inbox, Received, to_json
from outboxd.mysql.packets import divided, most_bytes, too_large
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.observe import metrics
from outboxd.retry import TooLarge, until_available
from outboxd.settings import Settings

_LOOK_SECONDS = 5
_SIZE = "too large for max_binlog_cache_size"

_Result = TypeVar("_Result")
Results = list[tuple[Any, Received]]
"""Records of Kafka, and what became of each."""


class Receiver:
    """Receives records on a connection and in a thread of its own, while the consumer consumes those before them.

    What it knows of the inbox, from outbox_inbox_v1, is 5 seconds old at most. `told` gets why MySQL is waited for.
    """

    def __init__(self, settings: Settings, stop: threading.Event, told: Callable[[str], None]) -> None:
        self._database = ConsumerProcedures(settings)
        self._stop = stop
        self._told = told
        self._inbox = Inbox(0, frozenset())
        self._look_at = 0.0
        self._thread = ThreadPoolExecutor(1, "receives")
        self._records: Sequence[Any] = []
        self._under_way: Future[list[Received]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        self._database.close()

    @property
    def is_open(self) -> bool:
        """Whether there are subscriptions."""
        return self._inbox.subscriptions > 0

    @property
    def retry_topics(self) -> frozenset[str]:
        """The topics in which received messages are sent again."""
        return self._inbox.retry_topics

    @property
    def records(self) -> Sequence[Any]:
        """Those that are under way."""
        return self._records

    def look(self, database: ConsumerProcedures) -> bool:
        """Ask again, where it is time to; returns whether there are other retry topics than before.

        It asks on the consumer's connection: its own is made when there is something to receive. Raises Unavailable
        once it has to stop.
        """
        if time.monotonic() < self._look_at:
            return False
        before = self.retry_topics
        self._inbox = self._call(database.inbox)
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return self.retry_topics != before

    def start(self, records: Sequence[Any]) -> None:
        """Begin to receive records of Kafka; those before them must be finished."""
        assert not self._records
        self._records = records
        context = contextvars.copy_context()  # the worker's name
        self._under_way = self._thread.submit(context.run, self._receive, records)

    def finish(self) -> Results:
        """Wait for those that are under way. Raises Unavailable once it has to stop."""
        if self._under_way is None:
            return []
        results = self._under_way.result()
        finished = list(zip(self._records, results, strict=True))
        self._under_way, self._records = None, []
        metrics.count_received(Counter(result.outcome for result in results))
        if not {result.topic for result in results if result.arrival} <= self.retry_topics:
            self._look_at = 0.0
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
    if reason := too_large(len(element.text.encode()), most):
        element = _without_value(record, reason)
    return element, len(element.text.encode())


def _without_value(record: Foreign, reason: str) -> _Element:
    rest = replace(record, payload=None, bytes=None, headers={}, error=f"its value is left out: {reason}")
    return _Element(rest, to_json(rest))
