"""The steering that pages offer, each a procedure for one message and one for all that match."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from outboxd.console.jobs import Job
from outboxd.mysql import views
from outboxd.mysql.procedures import Filter, OperatorProcedures

MOST = 1_000_000
"""How many messages one call takes at most."""
_PART = 2_000


@dataclass(frozen=True, slots=True)
class Extent:
    """How an action is done: reason for those that record one, per_second for those that spread what they do."""

    reason: str | None = None
    per_second: int | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of steering. status: what outbox_count_v1 calls what it is for; of: the statuses of one message."""

    verb: str
    done: str
    status: str
    noun: str
    of: tuple[str, ...]
    effect: str
    one: Callable[[OperatorProcedures, int, Extent], bool]
    many: Callable[[OperatorProcedures, Filter, int, Extent], int]
    is_final: bool = False
    has_reason: bool = False
    has_rate: bool = False
    in_parts: bool = True


ACTIONS = {
    "requeue": Action(
        verb="Requeue",
        done="requeued",
        status="dead",
        noun="dead letter",
        of=("dead",),
        effect="They are sent again, with all their retries.",
        one=lambda database, message, _: database.requeue(message),
        many=lambda database, which, limit, extent: database.requeue_dead(which, extent.per_second, limit),
        has_rate=True,
    ),
    "discard": Action(
        verb="Discard",
        done="discarded",
        status="dead",
        noun="dead letter",
        of=("dead",),
        effect="They are deleted for good. The audit keeps what they were, without payloads.",
        one=lambda database, message, _: database.discard(message),
        many=lambda database, which, limit, _: database.discard_dead(which, limit),
        is_final=True,
    ),
    "retry": Action(
        verb="Retry",
        done="due now",
        status="failing",
        noun="failing message",
        of=("pending",),
        effect="They are tried again now, without waiting for their time.",
        one=lambda database, message, _: database.retry(message),
        many=lambda database, which, limit, _: database.retry_failing(which, limit),
        in_parts=False,
    ),
    "give-up": Action(
        verb="Give up",
        done="given up",
        status="failing",
        noun="failing message",
        of=("pending", "published"),
        effect="They become dead letters, and what waits behind them goes on.",
        one=lambda database, message, extent: database.give_up(message, extent.reason),
        many=lambda database, which, limit, extent: database.give_up_failing(which, extent.reason, limit),
        is_final=True,
        has_reason=True,
    ),
}


def by_id(action: Action, messages: list[int], extent: Extent) -> Callable[[Job, OperatorProcedures], None]:
    """Change these messages one by one; what is not as the action needs it is named, and what it is instead."""

    def work(job: Job, database: OperatorProcedures) -> None:
        for message in messages:
            if job.is_stopped.is_set():
                return
            if action.one(database, message, extent):
                job.done += 1
            else:
                job.remarks.append(_why_not(action, database, message))

    return work


def matching(action: Action, which: Filter, count: int, extent: Extent) -> Callable[[Job, OperatorProcedures], None]:
    """Change all that match, in parts. What comes to match meanwhile is left alone: it was not counted."""

    def work(job: Job, database: OperatorProcedures) -> None:
        if not action.in_parts or extent.per_second:
            # The procedure itself takes what matches when it begins, and keeps the rate within one call.
            job.done = action.many(database, which, min(count, MOST), extent)
            return
        before = _earlier(which.before, views.now(database))
        while not job.is_stopped.is_set() and job.done < count:
            changed = action.many(database, which._replace(before=before), min(_PART, count - job.done), extent)
            job.done += changed
            if not changed:
                break
        if job.done < count and not job.is_stopped.is_set():
            job.remarks.append("the others are not so any more, or somebody else works on them")

    return work


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return min(one, other) if one else other


def _why_not(action: Action, database: OperatorProcedures, message: int) -> str:
    rows, _ = database.find(from_id=message, to_id=message)
    if not rows:
        return f"message {message} is not there any more"
    status = rows[0]["status"]
    if status in action.of:
        return f"message {message} is as it was: it is due already"
    return f"message {message} is not {' or '.join(action.of)} any more but {status}"
