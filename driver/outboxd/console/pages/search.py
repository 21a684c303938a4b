"""Search: messages by key, id, type, status and time."""

import time as clock
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from starlette.responses import Response

from outboxd.console import listing
from outboxd.console.choosing import PAGE, number, time
from outboxd.console.visit import Visit, Wrong
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import OperatorProcedures

STATUSES = ("pending", "published", "consumed", "dead")
_FIELDS = ("topic", "biz_type", "key", "status", "from_id", "to_id", "since", "until")
_BUDGET_SECONDS = 0.06
_FILE_BUDGET_SECONDS = 10
_FIRST_IDS = 10_000
_QUICK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, as outbox_find_v1 takes it."""

    topic: str | None
    biz_type: str | None
    message_key: str | None
    status: str | None
    from_id: int | None
    to_id: int | None
    from_at: datetime | None
    to_at: datetime | None

    @property
    def is_found_by_index(self) -> bool:
        """Whether the procedure reads only what it returns, or the messages of one open status."""
        return self.status in {"pending", "published", "dead"} or not any(
            (self.topic, self.biz_type, self.message_key, self.status, self.from_at, self.to_at)
        )


def search(visit: Visit) -> Response:
    """The newest messages that match, a page at a time; where there are few, it says how far it has looked."""
    wanted = _wanted(visit.query)
    past = number(visit.query.get("past", ""), "past")
    form = visit.query.get("format", "")
    with visit.database() as database:
        if form in {"csv", "json"}:
            rows, _ = look(database, wanted, past, listing.MOST, _FILE_BUDGET_SECONDS)
            return listing.asked_for(form, "messages", rows)
        rows, reached = look(database, wanted, past, PAGE, _BUDGET_SECONDS)
    return visit.page(
        "search.html",
        rows=rows,
        reached=reached,
        is_full=len(rows) == PAGE,
        statuses=STATUSES,
        given={name: visit.query.get(name, "") for name in _FIELDS},
    )


def look(
    database: OperatorProcedures, wanted: Wanted, past: int | None, limit: int, budget_seconds: float
) -> tuple[list[Row], int | None]:
    """Messages from the newest down, and the id down to which all were looked at; None: down to the first.

    One call may read 100,000 messages, which takes longer than a page may. So what no index finds is asked for in
    spans of ids, as wide as goes quickly, until the page is full or the time is up.
    """
    if wanted.is_found_by_index:
        return database.find(**asdict(wanted), is_newest_first=True, past_id=past, limit=limit)
    top = _top(database, wanted, past)
    rows: list[Row] = []
    width, lowest, until = _FIRST_IDS, wanted.from_id or 0, clock.monotonic() + budget_seconds
    while top >= lowest and len(rows) < limit and clock.monotonic() < until:
        began = clock.monotonic()
        low = max(lowest, top - width + 1)
        span = {"from_id": low, "to_id": top, "is_newest_first": True, "limit": limit - len(rows)}
        page, reached = database.find(**(asdict(wanted) | span))
        rows += page
        top = low - 1 if reached is None else reached - 1
        width = width * 2 if clock.monotonic() - began < _QUICK_SECONDS else max(_FIRST_IDS, width // 2)
    return rows, top + 1 if top >= lowest and top >= 0 else None


def _top(database: OperatorProcedures, wanted: Wanted, past: int | None) -> int:
    """The highest id that may be of interest, which no message beyond the last has."""
    newest, _ = database.find(to_id=wanted.to_id, past_id=past, is_newest_first=True, limit=1)
    return int(newest[0]["id"]) if newest else -1


def _wanted(query: Mapping[str, str]) -> Wanted:
    status = query.get("status") or None
    if status not in {None, *STATUSES}:
        raise Wrong(f"status is one of {', '.join(STATUSES)}")
    return Wanted(
        query.get("topic") or None,
        query.get("biz_type") or None,
        query.get("key") or None,
        status,
        number(query.get("from_id", ""), "from id"),
        number(query.get("to_id", ""), "to id"),
        time(query.get("since", ""), "since"),
        time(query.get("until", ""), "until"),
    )
