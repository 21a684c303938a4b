"""Dead letters: by error, and one by one."""

from starlette.responses import Response

from outboxd.console import listing
from outboxd.console.choosing import NAMES, PAGE, like, number, which
from outboxd.console.visit import Visit
from outboxd.mysql import views
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import Filter, OperatorProcedures

_GROUPS = 50


def dead(visit: Visit) -> Response:
    """The page, or one of its two lists as a file."""
    chosen = which(visit.query)
    below = number(visit.query.get("below", ""), "below")
    form = visit.query.get("format", "")
    if form in {"csv", "json"}:
        with visit.database() as database:
            if visit.query.get("list") == "groups":
                return listing.asked_for(form, "dead-by-error", _groups(visit, database, chosen, listing.MOST))
            return listing.asked_for(
                form,
                "dead",
                listing.paged(lambda past, limit: _letters(visit, database, chosen, past, limit), below),
            )
    groups, letters = visit.both(
        lambda database: _groups(visit, database, chosen, _GROUPS),
        lambda database: _letters(visit, database, chosen, below, PAGE + 1),
    )
    return visit.page(
        "dead.html",
        groups=[group | {"like": like(group["error"] or "")} for group in groups],
        count=sum(group["messages"] for group in groups),
        is_all=len(groups) < _GROUPS,
        letters=letters[:PAGE],
        next_below=letters[PAGE - 1]["id"] if len(letters) > PAGE else None,
        filters={name: visit.query.get(name, "") for name in NAMES},
    )


def _groups(visit: Visit, database: OperatorProcedures, chosen: Filter, limit: int) -> list[Row]:
    if visit.session.is_operator:
        return database.summarize_dead(chosen, limit)
    return views.summarize_dead(database, chosen, limit=limit)


def _letters(visit: Visit, database: OperatorProcedures, chosen: Filter, below: int | None, limit: int) -> list[Row]:
    if visit.session.is_operator:
        rows = database.list_dead(chosen, below, limit)
        return [row | {"died_at": row["updated_at"]} for row in rows]
    return views.dead_letters(database, chosen, limit=limit, below_id=below)
