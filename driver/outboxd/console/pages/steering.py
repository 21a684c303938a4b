"""Steering: asks how many messages are meant, begins, and shows how far it is."""

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response

from outboxd.console.actions import ACTIONS, Action, Extent, by_id, matching
from outboxd.console.choosing import NAMES, number, which
from outboxd.console.jobs import Job, TooMany
from outboxd.console.visit import Visit, Wrong, address, local
from outboxd.console.words import times
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import Filter, OperatorProcedures

_MOST_IDS = 500
_PREVIEW = 10
_AT_ONCE_SECONDS = 1.5
_LONGEST_REASON = 500


def ask(visit: Visit) -> Response:
    """How many messages are meant, and the first of them."""
    action = _action(visit.query.get("action", ""))
    messages = _ids(visit.query.getlist("id"))
    chosen = which(visit.query)
    if messages:
        with visit.database() as database:
            rows = [_one(database, message) for message in messages]
        count = sum(row["status"] in action.of for row in rows)
    elif visit.query.get("all"):
        count, rows = visit.both(
            lambda database: database.count(action.status, **chosen._asdict()),
            lambda database: _preview(database, action, chosen),
        )
    else:
        raise Wrong("nothing is selected: go back, and mark some messages")
    return visit.page(
        "ask.html",
        action=action,
        action_name=visit.query["action"],
        messages=messages,
        rows=rows,
        count=count,
        filters={name: visit.query.get(name, "") for name in NAMES if visit.query.get(name)},
        back=_back(visit, visit.query.get("back", "")),
    )


def act(visit: Visit) -> Response:
    """Begin; then to the page that it was begun on, or where it takes longer, to the page that shows its progress."""
    action = _action(visit.value("action"))
    messages = _ids(visit.values("id"))
    extent = _extent(action, visit)
    back = _back(visit, visit.value("back"))
    if messages:
        total, work = len(messages), by_id(action, messages, extent)
        title = f"{action.verb} {times(total, action.noun)}"
    elif visit.value("all"):
        given = {name: visit.value(name) for name in NAMES}
        count = number(visit.value("count"), "count")
        if not count:
            raise Wrong("there is nothing to do: none matches")
        total, work = count, matching(action, which(given), count, extent)
        title = f"{action.verb} {times(total, action.noun)}{_in_words(given)}"
    else:
        raise Wrong("nothing is selected: go back, and mark some messages")
    job = Job(title, total, action.done, back)
    database = visit.session.connect(visit.key, answers_in_time=False)
    try:
        name = visit.session.jobs.start(job, database, work)
    except TooMany:
        raise Wrong("other actions of yours are still under way: wait for their end", 429) from None
    if job.is_over.wait(_AT_ONCE_SECONDS):
        if job.refusal:
            return visit.page("refused.html", 403, refusal=job.refusal)
        return RedirectResponse(_with(back, name), 303)
    return RedirectResponse(visit.console.at(f"/job/{name}"), 303)


def progress(visit: Visit) -> Response:
    """How far an action is."""
    name = visit.request.path_params["name"]
    job = visit.session.jobs.find(name)
    if job is None:
        raise Wrong("there is no such action of this session; the audit has what was done", 404)
    return visit.page("job.html", job=job, name=name, every=None if job.is_over.is_set() else 1)


def stop(visit: Visit) -> Response:
    """Stop an action behind the part that is under way."""
    name = visit.request.path_params["name"]
    job = visit.session.jobs.find(name)
    if job is not None:
        job.is_stopped.set()
    return RedirectResponse(visit.console.at(f"/job/{name}"), 303)


def _action(name: str) -> Action:
    if name not in ACTIONS:
        raise Wrong(f"an action is one of {', '.join(ACTIONS)}")
    return ACTIONS[name]


def _ids(given: list[str]) -> list[int]:
    found = [number(text, "the id") for text in given]
    messages = sorted({message for message in found if message is not None})
    if len(messages) > _MOST_IDS:
        raise Wrong(f"mark at most {_MOST_IDS} messages, or take all that match")
    return messages


def _extent(action: Action, visit: Visit) -> Extent:
    reason = visit.value("reason")[:_LONGEST_REASON] if action.has_reason else ""
    rate = number(visit.value("per_second"), "messages a second") if action.has_rate else None
    return Extent(reason or None, rate or None)


def _one(database: OperatorProcedures, message: int) -> Row:
    rows, _ = database.find(from_id=message, to_id=message)
    return rows[0] if rows else {"id": message, "status": "not there", "topic": "", "message_key": "", "last_error": ""}


def _preview(database: OperatorProcedures, action: Action, chosen: Filter) -> list[Row]:
    if action.status == "dead":
        return database.list_dead(chosen, None, _PREVIEW)
    return database.list_failing(chosen, None, _PREVIEW)


def _in_words(given: Mapping[str, str]) -> str:
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in given.items() if value)
    return f" ({said})" if said else ""


def _back(visit: Visit, wanted: str) -> str:
    """A page of the console to go back to."""
    return local(wanted) or visit.console.at("/dead")


def _with(back: str, name: str) -> str:
    path, _, query = back.partition("?")
    return f"{address(path, {})}?{query}&done={name}" if query else f"{path}?done={name}"
