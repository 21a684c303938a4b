"""What `outboxd top` has looked up at one moment."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outboxd.mysql import views
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import MonitorProcedures
from outboxd.mysql.views import Stream

_ERRORS = 5


@dataclass(slots=True)
class Sample:
    """The rows of the views at one moment."""

    streams: dict[tuple[str, str], Stream]
    relays: list[Any]
    dead: list[Row]
    unavailable: list[Row]
    paused: list[views.Pause]
    lock_wait: tuple[str, int] | None
    failing: int
    failing_seconds: float
    now: datetime
    at: float

    @property
    def total(self) -> Stream:
        """All streams together."""
        return sum(self.streams.values(), Stream())

    def to_json(self) -> dict[str, Any]:
        """The same for programs; seconds and counts are numbers."""
        return {
            "streams": [
                {
                    "topic": topic,
                    "origin_topic": stream.origin_topic,
                    "biz_type": biz_type,
                    **{status: stream.counts.get(status, 0) for status in ("pending", "published", "consumed", "dead")},
                    "overdue_seconds": stream.overdue_seconds,
                    "oldest_seconds": stream.oldest_seconds,
                }
                for (topic, biz_type), stream in self.streams.items()
            ],
            "relays": [
                {"relay": relay, "slots": slots, "lease_seconds": lease, "backlog": backlog}
                for relay, slots, lease, backlog in self.relays
            ],
            "latest_dead": self.dead,
            "topics_unavailable": self.unavailable,
            "paused": [{"kind": one.kind, "name": one.name, "paused_at": one.paused_at} for one in self.paused],
            "lock_wait": self.lock_wait and {"state": self.lock_wait[0], "seconds": self.lock_wait[1]},
            "failing": self.failing,
            "failing_seconds": self.failing_seconds,
        }


def look(database: MonitorProcedures) -> Sample:
    """Look now. Raises Unavailable, and errors of MySQL."""
    at = time.monotonic()
    streams = views.streams(database)
    lag = database.lag()
    return Sample(
        streams,
        views.relays(database),
        views.latest_dead(database, _ERRORS),
        views.topics_unavailable(database),
        views.pauses(database),
        database.lock_wait(),
        lag["failing"],
        float(lag["failing_seconds"] or 0),
        views.now(database),
        at,
    )
