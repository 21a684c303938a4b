"""Stuck lanes: the failing messages that wait for their retry, and what waits behind them."""

from starlette.responses import Response

from outboxd.console import listing
from outboxd.console.choosing import NAMES, PAGE, number, which
from outboxd.console.visit import Visit, Wrong
from outboxd.mysql import views
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import Filter, OperatorProcedures

_LANE = 200


def stuck(visit: Visit) -> Response:
    """The heads that fail, the oldest first."""
    chosen = which(visit.query)
    after = number(visit.query.get("after", ""), "after")
    form = visit.query.get("format", "")
    with visit.database() as database:
        if form in {"csv", "json"}:
            pages = listing.paged(lambda past, limit: _failing(visit, database, chosen, past, limit), after)
            return listing.asked_for(form, "stuck", pages)
        rows = _failing(visit, database, chosen, after, PAGE + 1)
        now = views.now(database)
    return visit.page(
        "stuck.html",
        rows=rows[:PAGE],
        now=now,
        next_after=rows[PAGE - 1]["id"] if len(rows) > PAGE else None,
        filters={name: visit.query.get(name, "") for name in NAMES},
    )


def lane(visit: Visit) -> Response:
    """What is open of one topic and key."""
    topic, key = visit.query.get("topic", ""), visit.query.get("key", "")
    if not topic:
        raise Wrong("a lane has a topic and a key: give both")
    form = visit.query.get("format", "")
    with visit.database() as database:
        rows = database.lane(topic, key, listing.MOST if form else _LANE)
    if form in {"csv", "json"}:
        return listing.asked_for(form, "lane", rows)
    return visit.page("lane.html", topic=topic, key=key, rows=rows)


def _failing(visit: Visit, database: OperatorProcedures, chosen: Filter, after: int | None, limit: int) -> list[Row]:
    if visit.session.is_operator:
        return database.list_failing(chosen, after, limit)
    if chosen.before:
        raise Wrong("before needs the role outbox_operator")
    return views.failing(database, chosen, limit=limit, after_id=after)
