"""The views of outboxd: one function each, with the columns that commands and the console show.

What an account may not read raises mysql.connector.Error 1142; `roles` says which role it lacks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from outboxd.mysql.connection import Connection, Row
from outboxd.mysql.procedures import Filter

_STATUS = "SELECT topic, biz_type, status, messages, origin_topic, oldest_seconds, next_due_seconds FROM outbox_status"
_RELAYS = "SELECT relay, slots_owned, lease_seconds, backlog FROM outbox_relays_status ORDER BY relay IS NULL, relay"
_UNAVAILABLE = ("topic", "since", "failures", "reason", "next_attempt")
_PAUSED = (
    "SELECT kind, name, paused_at, paused_by, resumed_at, parked FROM outbox_policies"
    " WHERE paused_at IS NOT NULL OR resumed_at IS NOT NULL"
)
_POLICY = (
    *("name", "handler", "batch_handler", "ordering", "max_retry"),
    *("backoff_base_seconds", "backoff_cap_seconds", "paused_at"),
)
_AUDIT = ("id", "at", "account", "action", "messages", "details")
_LETTER = ("id", "topic", "biz_type", "message_key", "retry_count", "max_retry", "last_error")
_DEAD_LETTER = (*_LETTER, "origin", "created_at", "died_at")
_SUMMARY = (
    *("biz_type", "last_error AS error", "COUNT(*) AS messages", "COUNT(DISTINCT topic) AS topics"),
    *("MAX(id) AS example_id", "MIN(died_at) AS first_died_at", "MAX(died_at) AS last_died_at"),
)
_FAILING = (*_LETTER, "failing_since", "next_retry_at", "followers", "created_at")

# Topic, business type, key and error of a Filter, each given twice.
_FILTER = (
    "(%s IS NULL OR topic = %s) AND (%s IS NULL OR biz_type = %s) AND (%s IS NULL OR message_key = %s)"
    " AND (%s IS NULL OR last_error LIKE %s)"
)


@dataclass(slots=True)
class Stream:
    """The messages of one topic and business type. origin_topic: in which they were received; None: they are own."""

    counts: dict[str, int] = field(default_factory=dict)
    origin_topic: str | None = None
    oldest_seconds: float = 0
    overdue_seconds: float = 0

    def __add__(self, other: "Stream") -> "Stream":
        """Both together."""
        names = self.counts | other.counts
        return Stream(
            {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in names},
            None,
            max(self.oldest_seconds, other.oldest_seconds),
            max(self.overdue_seconds, other.overdue_seconds),
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """A topic or business type that is paused, or was and whose messages are on their way back (resumed_at)."""

    kind: str
    name: str
    paused_at: datetime | None
    paused_by: str | None
    resumed_at: datetime | None
    parked: int


def streams(database: Connection) -> dict[tuple[str, str], Stream]:
    """The counts by topic and business type, in this order. Reads a whole index: 0.3 s for a million messages."""
    found: dict[tuple[str, str], Stream] = {}
    for topic, biz_type, status, messages, origin_topic, oldest, next_due in database.query(_STATUS):
        stream = found.setdefault((topic, biz_type), Stream())
        stream.counts[status] = int(messages)
        stream.origin_topic = origin_topic
        if status in {"pending", "published"}:
            stream.oldest_seconds = max(stream.oldest_seconds, float(oldest or 0))
        stream.overdue_seconds = max(stream.overdue_seconds, -float(next_due or 0))
    return dict(sorted(found.items()))


def relays(database: Connection) -> list[Any]:
    """relay (None: slots that nobody owns), slots_owned, lease_seconds and backlog. Counts what is pending."""
    return database.query(_RELAYS)


def topics_unavailable(database: Connection) -> list[Row]:
    """The topics that Kafka takes no records for."""
    return _rows(database, _UNAVAILABLE, "FROM outbox_topics_unavailable ORDER BY topic")


def pauses(database: Connection) -> list[Pause]:
    """Every pause. Counts what is parked."""
    return [Pause(*row) for row in database.query(_PAUSED)]


def policies(database: Connection) -> list[Row]:
    """The business types, by name: handlers, ordering (None: not registered, only paused), and retry policy."""
    return _rows(database, _POLICY, "FROM outbox_policies WHERE kind = 'biz_type' ORDER BY name")


def audit(
    database: Connection, *, action: str | None, everything: bool, limit: int, below_id: int | None = None
) -> list[Row]:
    """What people did, the latest first; with `everything` also what the event outbox_retention did."""
    rows = _rows(
        database,
        _AUDIT,
        "FROM outbox_audit_log WHERE IF(%s IS NULL, %s OR action <> 'retention', action = %s)"
        " AND (%s IS NULL OR id < %s) ORDER BY id DESC LIMIT %s",
        *(action, everything, action, below_id, below_id, limit),
    )
    return [row | {"details": json.loads(row["details"])} for row in rows]


def in_short(details: dict[str, Any]) -> str:
    """Details of the audit on one line; of a list of messages their ids."""
    texts = {}
    for name, value in details.items():
        if isinstance(value, list):
            ids = [str(item["id"]) for item in value]
            texts[name] = ", ".join(ids[:10]) + (", ..." if ids[10:] else "")
        elif isinstance(value, dict):
            texts[name] = f"({in_short(value)})"
        else:
            texts[name] = str(value)
    return "; ".join(f"{name}: {text}" for name, text in texts.items() if name != "messages")


def dead_letters(
    database: Connection, which: Filter, *, limit: int, below_id: int | None = None, message_id: int | None = None
) -> list[Row]:
    """Dead letters without what their errors quote, the highest ids first: what monitoring may see of them."""
    return _rows(
        database,
        _DEAD_LETTER,
        f"FROM outbox_dead_letters WHERE {_FILTER} AND (%s IS NULL OR died_at < %s) AND (%s IS NULL OR id < %s)"
        " AND (%s IS NULL OR id = %s) ORDER BY id DESC LIMIT %s",
        *(*_twice(*which, below_id, message_id), limit),
    )


def summarize_dead(database: Connection, which: Filter, *, limit: int) -> list[Row]:
    """Dead letters by business type and error, the most frequent first, as outbox_summarize_dead_v1 for operators."""
    return _rows(
        database,
        _SUMMARY,
        f"FROM outbox_dead_letters WHERE {_FILTER} AND (%s IS NULL OR died_at < %s)"
        " GROUP BY biz_type, last_error ORDER BY messages DESC, example_id DESC LIMIT %s",
        *(*_twice(*which), limit),
    )


def latest_dead(database: Connection, limit: int) -> list[Row]:
    """The dead letters that died last."""
    return _rows(database, _DEAD_LETTER, "FROM outbox_dead_letters ORDER BY died_at DESC, id DESC LIMIT %s", limit)


def failing(
    database: Connection, which: Filter, *, limit: int, after_id: int | None = None, message_id: int | None = None
) -> list[Row]:
    """Failing messages without what their errors quote, the lowest ids first: what monitoring may see of them.

    The view has no time of the last failure: `before` of the filter is not looked at.
    """
    return _rows(
        database,
        _FAILING,
        f"FROM outbox_failing WHERE {_FILTER} AND (%s IS NULL OR id > %s) AND (%s IS NULL OR id = %s)"
        " ORDER BY id LIMIT %s",
        *(*_twice(*which[:-1], after_id, message_id), limit),
    )


def now(database: Connection) -> datetime:
    """The server's time, UTC."""
    time: datetime = database.query("SELECT UTC_TIMESTAMP(6)")[0][0]
    return time


def _rows(database: Connection, columns: Sequence[str], rest: str, *values: object) -> list[Row]:
    names = [column.rpartition(" ")[2] for column in columns]
    found = database.query(f"SELECT {', '.join(columns)} {rest}", *values)
    return [dict(zip(names, row, strict=True)) for row in found]


def _twice(*values: object) -> list[object]:
    """For places such as (%s IS NULL OR id = %s)."""
    return [value for value in values for _ in range(2)]
