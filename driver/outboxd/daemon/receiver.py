"""The inbox in a consumer: asks which records of others take effect here, and hands them to outbox_receive_v1."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from outboxd.messages import Foreign, Inbox, Received
from outboxd.mysql.packets import bytes_sent, divided, most_bytes, too_large
from outboxd.mysql.procedures import ConsumerProcedures

_LOOK_SECONDS = 5
_TOO_LARGE = "too large for max_binlog_cache_size"
_Result = TypeVar("_Result")


class TooLarge(Exception):
    """A call was for more than the server takes in one transaction."""


class Call(Protocol):
    """Calls MySQL until it is available; raises TooLarge where fewer messages may go through."""

    def __call__(self, call: Callable[[], _Result], is_divisible: bool = True) -> _Result:
        """Return what the call returns."""


class Receiver:
    """What a consumer knows of the inbox, from outbox_inbox_v1, at most 5 seconds old."""

    def __init__(self, database: ConsumerProcedures, call: Call) -> None:
        self._database = database
        self._call = call
        self._inbox = Inbox(0, frozenset())
        self._look_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there are subscriptions."""
        return self._inbox.subscriptions > 0

    @property
    def retry_topics(self) -> frozenset[str]:
        """The topics in which received messages are sent again."""
        return self._inbox.retry_topics

    def look(self) -> bool:
        """Ask again, where it is time to; returns whether there are other retry topics than before."""
        if time.monotonic() < self._look_at:
            return False
        before = self.retry_topics
        self._inbox = self._call(self._database.inbox)
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return self.retry_topics != before

    def receive(self, records: Sequence[Foreign]) -> list[Received]:
        """Store those for which there is a subscription; one result for each, in their order.

        A record that MySQL cannot take for its size becomes a dead letter without its value, which says so.
        """
        most = self._call(lambda: most_bytes(self._database))
        todo = list(divided((_element(record, most) for record in records), most))[::-1]
        results: list[Received] = []
        while todo:
            part = todo.pop()
            texts = [element.text for element in part]
            try:
                results += self._call(partial(self._database.receive, texts))
            except TooLarge:
                half = len(part) // 2
                todo += [part[half:], part[:half]] if half else [[_without_value(part[0].record, _TOO_LARGE)]]
        retry_topics = {result.topic for result in results if result.arrival and result.topic}
        if not retry_topics <= self.retry_topics:
            self._look_at = 0.0
        return results


@dataclass(frozen=True, slots=True)
class _Element:
    """A record, and its text in the array of a call."""

    record: Foreign
    text: str


def _element(record: Foreign, most: int) -> tuple[_Element, int]:
    text = record.to_json()
    size = bytes_sent(text)
    if reason := too_large(size, most):
        element = _without_value(record, reason)
        return element, bytes_sent(element.text)
    return _Element(record, text), size


def _without_value(record: Foreign, reason: str) -> _Element:
    rest = replace(record, payload=None, bytes=None, headers={}, error=f"its value is left out: {reason}")
    return _Element(rest, rest.to_json())
