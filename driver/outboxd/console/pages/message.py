"""One message: its columns, payload, failures, timeline, and its neighbours in the lane."""

import json
from datetime import datetime
from typing import NamedTuple

from starlette.responses import RedirectResponse, Response

from outboxd.console import listing, words
from outboxd.console.choosing import number
from outboxd.console.visit import Visit, Wrong
from outboxd.mysql import views
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import Filter, OperatorProcedures

_SHOWN_LETTERS = 50_000
_NEIGHBOURS = 5
_NEAR = 2_000  # ids that are looked through for neighbours, on each side


class Moment(NamedTuple):
    """Something that happened to the message. kind: ok, wrong, or wait."""

    at: datetime
    what: str
    kind: str
    detail: str = ""


def message(visit: Visit) -> Response:
    """The page. An account of monitoring sees dead and failing messages without payloads."""
    message_id = number(visit.request.path_params["id"], "the id")
    assert message_id is not None
    if not visit.session.is_operator:
        return _without_payload(visit, message_id)
    with visit.database() as database:
        found = database.get(message_id)
        if found is None:
            raise Wrong(f"there is no message {message_id}", 404)
        failures = database.list_failures(message_id)
        if visit.query.get("format") in {"csv", "json"}:
            rows = failures if visit.query.get("list") == "failures" else [found]
            return listing.asked_for(visit.query["format"], f"message-{message_id}", rows)
        lane = database.lane(found["topic"], found["message_key"], _NEIGHBOURS)
        before = _near(database, found, is_before=True)
        after = _near(database, found, is_before=False)
        now = views.now(database)
    text, raw = _payload(found)
    return visit.page(
        "message.html",
        message=found,
        failures=failures,
        moments=_timeline(found, failures),
        now=now,
        formatted=text,
        raw=raw,
        is_cut=len(raw) > _SHOWN_LETTERS,
        shown=_SHOWN_LETTERS,
        headers=json.loads(found["headers"]) if found["headers"] else {},
        origin=json.loads(found["origin"]) if found["origin"] else {},
        head=lane[0] if lane else None,
        before=before,
        after=after,
    )


def payload(visit: Visit) -> Response:
    """The payload as it is, as a file."""
    message_id = number(visit.request.path_params["id"], "the id")
    assert message_id is not None
    with visit.database() as database:
        found = database.get(message_id)
    if found is None:
        raise Wrong(f"there is no message {message_id}", 404)
    is_json = found["content_type"] is None
    body = found["payload"].encode() if is_json else bytes(found["body"] or b"")
    name = f"message-{message_id}.{'json' if is_json else 'bin'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type="application/octet-stream", headers=headers)


def go(visit: Visit) -> Response:
    """What is typed into the field on each page: an id leads to the message, anything else is a key to look for."""
    text = visit.query.get("q", "").strip()
    if text.isascii() and text.isdigit():
        return RedirectResponse(visit.console.at(f"/message/{text}"), 303)
    return RedirectResponse(visit.console.at("/search", {"key": text}), 303)


def _without_payload(visit: Visit, message_id: int) -> Response:
    with visit.database() as database:
        for rows in (
            views.dead_letters(database, Filter(), limit=1, message_id=message_id),
            views.failing(database, Filter(), limit=1, message_id=message_id),
        ):
            if rows:
                return visit.page("message_monitor.html", message=rows[0])
        database.get(message_id)  # which MySQL refuses, and says why
    raise Wrong(f"there is no message {message_id}", 404)


def _near(database: OperatorProcedures, found: Row, *, is_before: bool) -> list[Row]:
    """The next messages of the same lane, as far as they are near; those before, the latest last."""
    low, high = (max(0, found["id"] - _NEAR), found["id"] - 1) if is_before else (found["id"] + 1, found["id"] + _NEAR)
    rows, _ = database.find(
        topic=found["topic"],
        message_key=found["message_key"],
        from_id=low,
        to_id=high,
        is_newest_first=is_before,
        limit=_NEIGHBOURS,
    )
    return rows[::-1] if is_before else rows


def _payload(found: Row) -> tuple[str, str]:
    """The payload as it is shown, formatted and raw."""
    if found["content_type"] is None:
        raw: str = found["payload"]
        return words.formatted(raw[:_SHOWN_LETTERS]), raw
    if found["body"] is None:
        return "", ""
    body = bytes(found["body"])
    return words.dumped(body), body.hex()


def _timeline(found: Row, failures: list[Row]) -> list[Moment]:
    moments = [Moment(found["created_at"], "enqueued", "ok")]
    for row in failures:
        where = {"relay": "Kafka refused it", "consumer": "its handler failed", "operator": "given up"}
        what = f"failure {row['failure']}: {where.get(row['stage'], row['stage'])}"
        errno = f"{row['errno']}: " if row["errno"] else ""
        moments.append(Moment(row["at"], what, "wrong", errno + (row["error"] or "")))
    if found["published_at"]:
        place = found["kafka_partition"]
        where_to = f"partition {place}, offset {found['kafka_offset']}" if place is not None else ""
        moments.append(Moment(found["published_at"], "published to Kafka", "ok", where_to))
    if found["consumed_at"]:
        moments.append(Moment(found["consumed_at"], "consumed", "ok"))
    if found["status"] == "dead":
        moments.append(Moment(found["updated_at"], "died", "wrong"))
    moments.sort(key=lambda moment: moment.at)
    if found["next_retry_at"]:
        moments.append(Moment(found["next_retry_at"], "is due", "wait"))
    return moments
