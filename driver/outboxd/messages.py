"""What relay and consumer know of messages: rows that procedures return, and what became of a batch."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pydantic_core


def to_json(value: object) -> str:
    """Compact JSON of lists, dicts, texts, numbers, times (ISO 8601) and this module's classes."""
    return pydantic_core.to_json(value).decode()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Names one claim of one message; the relay's marks take it (see outbox_claim_v1)."""

    id: int
    receipt: datetime | None
    partition: int | None = field(default=None, compare=False)
    """Where Kafka has put the record, once it has acknowledged it."""
    offset: int | None = field(default=None, compare=False)

    def as_element(self) -> dict[str, Any]:
        """The element of the JSON array that the relay's marks take."""
        receipt = self.receipt and self.receipt.isoformat(sep=" ")
        return {"id": self.id, "receipt": receipt, "partition": self.partition, "offset": self.offset}


Refusal = tuple[Receipt, str]
"""A message whose record Kafka refuses, and the reason."""


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed message: a row of outbox_claim_v1."""

    id: int
    biz_type: str
    topic: str
    key: str
    value: bytes | None
    """What the record has as its value; None: a tombstone."""
    content_type: str
    """Of the value; empty: none is sent."""
    headers: str | None
    created_at: datetime | None
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record that claims to be of a message of this outbox; outbox_consume_v1 checks it against the message's row."""

    id: int
    created_at: datetime | None
    topic: str
    key: str
    partition: int | None = field(compare=False)
    """Where the record is; None: in another topic, from which it was received."""
    offset: int | None = field(compare=False)
    biz_type: str = field(default="", compare=False)
    """Only said by the record: nothing but the size of batches depends on it."""

    def as_element(self) -> dict[str, Any]:
        """The element of the JSON array that outbox_consume_v1 takes."""
        time = self.created_at and self.created_at.isoformat(sep=" ")
        place = {"topic": self.topic, "key": self.key, "partition": self.partition, "offset": self.offset}
        return {"id": self.id, "created_at": time, **place}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record that others have written: in JSON, an element of the array that outbox_receive_v1 takes."""

    source: str
    id: str
    type: str | None
    time: str | None
    topic: str
    partition: int
    offset: int
    key: str | None
    payload: str | None
    bytes: str | None
    """The value in base64, where it is no text."""
    content_type: str | None
    headers: dict[str, str]
    error: str | None = None
    """Why it cannot take effect, as far as a client can tell."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one record of others: a row of outbox_receive_v1."""

    position: int
    outcome: str
    error: str | None
    id: int | None
    created_at: datetime | None
    topic: str | None
    message_key: str | None
    biz_type: str | None

    @property
    def arrival(self) -> Arrival | None:
        """The message that is to be consumed now; None: there is none."""
        if self.outcome != "received" or self.id is None:
            return None
        topic, key, biz_type = self.topic or "", self.message_key or "", self.biz_type or ""
        return Arrival(self.id, self.created_at, topic, key, None, None, biz_type)


@dataclass(frozen=True, slots=True)
class Inbox:
    """Whether records of others can take effect here, and where they are sent again: the row of outbox_inbox_v1."""

    subscriptions: int
    retry_topics: frozenset[str]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an outbox is: the row of outbox_identity_v1."""

    installation_id: str
    source: str
    consumer_group: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one consumed record: a row of outbox_consume_v1."""

    id: int
    outcome: str
    error: str | None

    @property
    def is_not_reached(self) -> bool:
        """Whether the call had no time or room left for this record: the next call takes it."""
        return self.outcome == "not reached"

    @property
    def waits_for_lock(self) -> bool:
        """Whether the handler waits for a lock, and the message with it."""
        return self.outcome == "deferred" and (self.error or "").startswith("waits for a lock")


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a call of outbox_consume_v1 came to: the outcomes, and the seconds of the handlers of each business type."""

    outcomes: list[Outcome]
    handler_seconds: dict[str, float]


@dataclass(slots=True)
class Round:
    """What became of a claim. A message that is in none of the lists stays pending and is claimed again."""

    claimed: int = 0
    published: list[Receipt] = field(default_factory=list)
    failed: list[Refusal] = field(default_factory=list)
    dead: list[Refusal] = field(default_factory=list)
    streams: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many were published of each topic and business type."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Topics in trouble, and the reason: their messages wait, and are in none of the lists."""
    available: set[str] = field(default_factory=set)
    """Topics that were in trouble, and are no more."""
    unanswered: str | None = None
    """Why Kafka has not answered to some; None where it has answered to all."""
