"""What is set: business types and their pauses, subscriptions; and who has set what, the audit."""

import mysql.connector
from starlette.responses import RedirectResponse, Response

from outboxd.console import listing
from outboxd.console.choosing import PAGE, number
from outboxd.console.visit import Visit, Wrong
from outboxd.mysql import roles, views
from outboxd.mysql.connection import Row

_SUBSCRIPTIONS = 1000
_KINDS = ("topic", "biz_type")


def types(visit: Visit) -> Response:
    """Business types and subscriptions."""
    form, name = visit.query.get("format", ""), visit.query.get("list", "types")
    with visit.database() as database:
        policies = views.policies(database)
        paused = views.pauses(database)
        subscriptions: list[Row] | None = None
        try:
            subscriptions = database.list_subscriptions(_SUBSCRIPTIONS)
        except mysql.connector.Error as error:
            if roles.refusal(error) is None:
                raise
    if form in {"csv", "json"}:
        return listing.asked_for(form, name, (subscriptions or []) if name == "subscriptions" else policies)
    return visit.page("types.html", policies=policies, pauses=paused, subscriptions=subscriptions)


def audit(visit: Visit) -> Response:
    """What people did, the latest first."""
    action = visit.query.get("action") or None
    everything = bool(visit.query.get("all"))
    below = number(visit.query.get("below", ""), "below")
    form = visit.query.get("format", "")

    def look(past: int | None, limit: int) -> list[Row]:
        return views.audit(database, action=action, everything=everything, limit=limit, below_id=past)

    with visit.database() as database:
        if form in {"csv", "json"}:
            return listing.asked_for(form, "audit", listing.paged(look, below))
        rows = look(below, PAGE + 1)
    return visit.page(
        "audit.html",
        rows=rows[:PAGE],
        next_below=rows[PAGE - 1]["id"] if len(rows) > PAGE else None,
        action=action or "",
        everything=everything,
    )


def ask_pause(visit: Visit) -> Response:
    """Ask whether a topic or a business type is to be paused."""
    kind, name = _what(visit.query.get("kind", ""), visit.query.get("name", ""))
    return visit.page("pause.html", kind=kind, name=name)


def pause(visit: Visit) -> Response:
    """Pause, or resume."""
    kind, name = _what(visit.value("kind"), visit.value("name"))
    what = {"topic": name if kind == "topic" else None, "biz_type": name if kind == "biz_type" else None}
    with visit.database() as database:
        if visit.value("action") == "resume":
            database.resume(**what)
        else:
            database.pause(**what)
    return RedirectResponse(visit.console.at("/types", {"now": name}), 303)


def _what(kind: str, name: str) -> tuple[str, str]:
    if kind not in _KINDS or not name:
        raise Wrong("say which topic or business type")
    return kind, name
