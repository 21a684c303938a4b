"""The procedures of outboxd: one method each, named after it. The procedure's COMMENT is its manual.

A class holds what one role may call (see sql/grants.sql), so that `names` of a class tells what its users call.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from outboxd.messages import (
    Arrival,
    Consumption,
    Identity,
    Inbox,
    Message,
    Outcome,
    Receipt,
    Received,
    Refusal,
    to_json,
)
from outboxd.mysql.connection import Connection, Row

_Calls = TypeVar("_Calls", bound=Connection)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def procedure(
    name: str,
) -> Callable[
    [Callable[Concatenate[_Calls, str, _Arguments], _Result]], Callable[Concatenate[_Calls, _Arguments], _Result]
]:
    """Make a method the call of this procedure: it gets the name as its first argument, and `names` finds it."""

    def bind(
        method: Callable[Concatenate[_Calls, str, _Arguments], _Result],
    ) -> Callable[Concatenate[_Calls, _Arguments], _Result]:
        @functools.wraps(method)
        def call(self: _Calls, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            return method(self, name, *arguments, **named)

        vars(call)["procedure"] = name
        return call

    return bind


def names(calls: type[Connection]) -> set[str]:
    """The procedures that a class calls, those of its base classes included."""
    members = (getattr(calls, member) for member in dir(calls))
    return {member.procedure for member in members if hasattr(member, "procedure")}


class MonitorProcedures(Connection):
    """What monitoring calls."""

    @procedure("outbox_lock_waits_v1")
    def lock_wait(self, name: str) -> tuple[str, int] | None:
        """What calls wait for longest, other than rows: the server's words for it, and for how many seconds."""
        rows = self.call(name)
        return (rows[0]["state"], int(rows[0]["seconds"])) if rows else None

    @procedure("outbox_identity_v1")
    def identity(self, name: str) -> Identity:
        """Who this outbox is."""
        return Identity(**self.call(name)[0])

    @procedure("outbox_lag_v1")
    def lag(self, name: str) -> Row:
        """How far relays and consumers are behind."""
        return self.call(name, None)[0]

    @procedure("outbox_doctor_v1")
    def doctor(self, name: str) -> list[Row]:
        """What is wrong, as far as the server knows: level (ok, warning, error), kind, what, to_do."""
        return self.call(name)


class WorkerProcedures(MonitorProcedures):
    """What relays and consumers call."""

    @procedure("outbox_installed_v1")
    def installed(self, name: str) -> list[Row]:
        """The migrations that are installed: version, file, dropped_by, and what of it is gone from the server."""
        return self.call(name)


class RelayProcedures(WorkerProcedures):
    """What a relay calls."""

    @procedure("outbox_claim_v1")
    def claim(self, name: str, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
        """The next batch, row by row as the server sends it: it is never in memory as a whole."""
        return self._messages(name, relay, limit, lease_seconds, wait_ms)

    @procedure("outbox_claim_more_v1")
    def claim_more(self, name: str, relay: str, limit: int, wait_ms: int) -> Iterator[Message]:
        """What is new since the last claim, while that is not marked; as `claim`."""
        return self._messages(name, relay, limit, wait_ms)

    @procedure("outbox_heartbeat_v1")
    def heartbeat(self, name: str, relay: str, lease_seconds: int) -> None:
        """Renew the lease of the relay's slots."""
        self.call(name, relay, lease_seconds)

    @procedure("outbox_leave_v1")
    def leave(self, name: str, relay: str) -> None:
        """Give the relay's slots back at once."""
        self.call(name, relay)

    @procedure("outbox_mark_published_batch_v1")
    def mark_published_batch(self, name: str, relay: str, receipts: Sequence[Receipt]) -> int:
        """Returns how many messages changed."""
        return self._mark(name, relay, [receipt.as_element() for receipt in receipts])

    @procedure("outbox_mark_failed_batch_v1")
    def mark_failed_batch(self, name: str, relay: str, refusals: Sequence[Refusal]) -> int:
        """Returns how many messages changed."""
        return self._mark(name, relay, _with_reasons(refusals))

    @procedure("outbox_mark_dead_batch_v1")
    def mark_dead_batch(self, name: str, relay: str, refusals: Sequence[Refusal]) -> int:
        """Returns how many messages changed."""
        return self._mark(name, relay, _with_reasons(refusals))

    @procedure("outbox_mark_topics_unavailable_v1")
    def mark_topics_unavailable(self, name: str, reasons: Mapping[str, str]) -> None:
        """Let the messages of these topics wait, for the reasons given."""
        topics = [{"topic": topic, "reason": reason} for topic, reason in reasons.items()]
        self.call(name, to_json(topics))

    @procedure("outbox_slots_owned_v1")
    def slots_owned(self, name: str, relay: str) -> int:
        """How many slots the relay owns under a live lease."""
        return int(self.call_out(name, relay))

    @procedure("outbox_list_due_v1")
    def is_due(self, name: str) -> bool:
        """Whether a message is pending and due, whoever's slot it is in."""
        return bool(self.call(name, 1))

    @procedure("outbox_recover_published_v1")
    def recover_published(self, name: str, older_than_seconds: int, limit: int) -> int:
        """Returns how many messages are pending again."""
        return int(self.call_out(name, older_than_seconds, limit))

    def _messages(self, name: str, *arguments: object) -> Iterator[Message]:
        for row in self.stream(name, *arguments):
            id_, biz_type, topic, key, value, content_type, headers, created_at, receipt = row
            given = Receipt(id_, receipt)
            yield Message(id_, biz_type, topic, key, value, content_type, headers, created_at, given)

    def _mark(self, name: str, relay: str, messages: list[dict[str, Any]]) -> int:
        if not messages:
            return 0
        # By ascending id, the order of locks, and not in that of the acknowledgements.
        batch = sorted(messages, key=lambda message: message["id"])
        return int(self.call_out(name, relay, to_json(batch)))


class ConsumerProcedures(WorkerProcedures):
    """What a consumer calls."""

    # While a handler waits for a lock, all other messages wait with it.
    row_lock_seconds = 1
    table_lock_seconds = 1

    @procedure("outbox_consume_v1")
    def consume(self, name: str, arrivals: Iterable[Arrival]) -> Consumption:
        """Let the messages of these records take effect."""
        rows, times = self.call_with_variable(name, "@outbox_times", _by_id(arrivals))
        seconds: defaultdict[str, float] = defaultdict(float)
        for of_handlers in json.loads(times):
            for biz_type, microseconds in of_handlers.items():
                seconds[biz_type] += microseconds / 1e6
        return Consumption([Outcome(**row) for row in rows], dict(seconds))

    @procedure("outbox_recognize_v1")
    def recognize(self, name: str, arrivals: Iterable[Arrival]) -> list[Outcome]:
        """Tell what outbox_consume_v1 would make of these records, and change nothing."""
        return [Outcome(**row) for row in self.call(name, _by_id(arrivals))]

    @procedure("outbox_inbox_v1")
    def inbox(self, name: str) -> Inbox:
        """Whether records of others can take effect here."""
        row = self.call(name)[0]
        return Inbox(int(row["subscriptions"]), frozenset(json.loads(row["retry_topics"] or "[]")))

    @procedure("outbox_receive_v1")
    def receive(self, name: str, records: Sequence[str]) -> list[Received]:
        """Store those of these records (Foreign in JSON) for which there is a subscription, and those alone.

        Returns one result for each, in their order.
        """
        return [Received(**row) for row in self.call(name, f"[{','.join(records)}]")]


class DaemonProcedures(RelayProcedures, ConsumerProcedures):
    """What `outboxd run` calls."""


class ApplicationProcedures(Connection):
    """What an application calls, in its own transaction."""

    @procedure("outbox_enqueue_batch_v1")
    def enqueue_batch(self, name: str, messages: str) -> int:
        """Enqueue a JSON array of messages; returns how many were stored: the others have a dedup key that is known."""
        return int(self.call_out(name, messages))


class Filter(NamedTuple):
    """Which dead letters or failing messages are meant, as their procedures take it; None: all.

    error_like is a pattern of LIKE, before a time of death or of the last failure in UTC.
    """

    topic: str | None = None
    biz_type: str | None = None
    message_key: str | None = None
    error_like: str | None = None
    before: datetime | None = None


class OperatorProcedures(MonitorProcedures):
    """What operators call."""

    @procedure("outbox_status_v1")
    def status(self, name: str) -> list[Row]:
        """A row for each status."""
        return self.call(name)

    @procedure("outbox_get_v1")
    def get(self, name: str, message_id: int) -> Row | None:
        """All columns of one message, or None."""
        rows = self.call(name, message_id)
        return rows[0] if rows else None

    @procedure("outbox_list_failures_v1")
    def list_failures(self, name: str, message_id: int) -> list[Row]:
        """The failures of one message, the first one first."""
        return self.call(name, message_id)

    @procedure("outbox_count_v1")
    def count(
        self,
        name: str,
        status: str,
        *,
        topic: str | None = None,
        biz_type: str | None = None,
        message_key: str | None = None,
        error_like: str | None = None,
        before: datetime | None = None,
        from_id: int | None = None,
        to_id: int | None = None,
    ) -> int:
        """How many messages of a status, or failing ones, match all filters that are given."""
        return int(self.call_out(name, status, topic, biz_type, message_key, error_like, before, from_id, to_id))

    @procedure("outbox_find_v1")
    def find(
        self,
        name: str,
        *,
        topic: str | None = None,
        biz_type: str | None = None,
        message_key: str | None = None,
        status: str | None = None,
        from_id: int | None = None,
        to_id: int | None = None,
        from_at: datetime | None = None,
        to_at: datetime | None = None,
        is_newest_first: bool = False,
        past_id: int | None = None,
        limit: int | None = None,
    ) -> tuple[list[Row], int | None]:
        """A page of messages without their payloads, and how far it has looked; None: it has seen all."""
        ids = (from_id, to_id, from_at, to_at, is_newest_first, past_id, limit)
        return self.call_with_out(name, topic, biz_type, message_key, status, *ids)

    @procedure("outbox_lane_v1")
    def lane(self, name: str, topic: str, message_key: str, limit: int) -> list[Row]:
        """The open messages of a topic and key in their order, and what each waits for."""
        return self.call(name, topic, message_key, limit)

    @procedure("outbox_list_failing_v1")
    def list_failing(self, name: str, which: Filter, after_id: int | None, limit: int) -> list[Row]:
        """The failing messages with the lowest ids, without their payloads."""
        return self.call(name, *which, after_id, limit)

    @procedure("outbox_retry_v1")
    def retry(self, name: str, message_id: int) -> bool:
        """Whether the message waited for its time, and now is due."""
        return bool(self.call_out(name, message_id))

    @procedure("outbox_retry_failing_v1")
    def retry_failing(self, name: str, which: Filter, limit: int) -> int:
        """Returns how many failing messages are due now that were not."""
        return int(self.call_out(name, *which, limit))

    @procedure("outbox_give_up_v1")
    def give_up(self, name: str, message_id: int, reason: str | None) -> bool:
        """Whether the message was open, and now is dead."""
        return bool(self.call_out(name, message_id, reason))

    @procedure("outbox_give_up_failing_v1")
    def give_up_failing(self, name: str, which: Filter, reason: str | None, limit: int) -> int:
        """Returns how many failing messages are dead now."""
        return int(self.call_out(name, *which, reason, limit))

    @procedure("outbox_list_dead_v1")
    def list_dead(self, name: str, which: Filter, below_id: int | None, limit: int) -> list[Row]:
        """The dead letters with the highest ids, without their payloads."""
        return self.call(name, *which, below_id, limit)

    @procedure("outbox_summarize_dead_v1")
    def summarize_dead(self, name: str, which: Filter, limit: int) -> list[Row]:
        """Dead letters by business type and error, the most frequent first."""
        return self.call(name, *which, limit)

    @procedure("outbox_requeue_v1")
    def requeue(self, name: str, message_id: int) -> bool:
        """Whether the message was dead, and now is pending."""
        return bool(self.call_out(name, message_id))

    @procedure("outbox_requeue_dead_v1")
    def requeue_dead(self, name: str, which: Filter, per_second: int | None, limit: int) -> int:
        """Returns how many dead letters are pending again."""
        return int(self.call_out(name, *which, per_second, limit))

    @procedure("outbox_discard_v1")
    def discard(self, name: str, message_id: int) -> bool:
        """Whether the message was dead, and now is deleted."""
        return bool(self.call_out(name, message_id))

    @procedure("outbox_discard_dead_v1")
    def discard_dead(self, name: str, which: Filter, limit: int) -> int:
        """Returns how many dead letters were deleted."""
        return int(self.call_out(name, *which, limit))

    @procedure("outbox_pause_v1")
    def pause(self, name: str, topic: str | None, biz_type: str | None) -> Row:
        """Returns what is paused, since when and by whom, and whether that is new."""
        return self.call(name, topic, biz_type)[0]

    @procedure("outbox_resume_v1")
    def resume(self, name: str, topic: str | None, biz_type: str | None) -> Row:
        """Returns what is relayed, and whether it was paused."""
        return self.call(name, topic, biz_type)[0]

    @procedure("outbox_purge_v1")
    def purge(self, name: str, before: datetime, limit: int) -> tuple[int, int]:
        """Returns how many consumed messages were deleted, and how many were left out: a foreign key points to them."""
        row = self.call(name, before, limit)[0]
        return int(row["deleted"]), int(row["referenced"])

    @procedure("outbox_purge_dead_v1")
    def purge_dead(self, name: str, before: datetime, limit: int) -> int:
        """Returns how many dead letters were deleted."""
        return int(self.call(name, before, limit)[0]["deleted"])

    @procedure("outbox_purge_dedup_keys_v1")
    def purge_dedup_keys(self, name: str, before: datetime, limit: int) -> int:
        """Returns how many dedup keys were deleted."""
        return int(self.call(name, before, limit)[0]["deleted"])

    @procedure("outbox_replay_v1")
    def replay(
        self,
        name: str,
        from_id: int | None,
        to_id: int | None,
        biz_type: str | None,
        topic: str | None,
        limit: int,
    ) -> tuple[list[Row], int]:
        """Returns a row with last_id and to_id, if anything was replayed, and how many messages were."""
        rows, replayed = self.call_with_out(name, from_id, to_id, biz_type, topic, limit)
        return rows, int(replayed)

    @procedure("outbox_register_biz_type_v1")
    def register_biz_type(
        self,
        name: str,
        biz_type: str,
        *,
        handler: str | None,
        ordering: str | None,
        max_retry: int | None,
        backoff_base: int | None,
        backoff_cap: int | None,
    ) -> Row:
        """Change what is given, backoffs in seconds; returns the whole policy, and whether anything changed.

        An empty handler takes it away: the type is publish-only.
        """
        return self.call(name, biz_type, handler, ordering, max_retry, backoff_base, backoff_cap)[0]

    @procedure("outbox_delete_biz_type_v1")
    def delete_biz_type(self, name: str, biz_type: str) -> bool:
        """Whether there was such a type; one that is still used is refused."""
        return bool(self.call(name, biz_type)[0]["changed"])

    @procedure("outbox_new_identity_v1")
    def new_identity(self, name: str) -> Identity:
        """Give this outbox another identity, and return that."""
        return Identity(**self.call(name)[0])

    @procedure("outbox_register_bytes_v1")
    def register_bytes(self, name: str, biz_type: str, takes_bytes: bool) -> bool:
        """Say whether a registered business type takes bytes; returns whether that changed anything."""
        return bool(self.call(name, biz_type, takes_bytes)[0]["changed"])

    @procedure("outbox_subscribe_v1")
    def subscribe(self, name: str, source: str, event_type: str, biz_type: str) -> bool:
        """Let records of others take effect here; returns whether that changed anything."""
        return bool(self.call(name, source, event_type, biz_type)[0]["changed"])

    @procedure("outbox_unsubscribe_v1")
    def unsubscribe(self, name: str, source: str, event_type: str) -> bool:
        """End a subscription; returns whether there was one."""
        return bool(self.call(name, source, event_type)[0]["changed"])

    @procedure("outbox_list_subscriptions_v1")
    def list_subscriptions(self, name: str, limit: int) -> list[Row]:
        """The subscriptions, by source and type."""
        return self.call(name, limit)

    @procedure("outbox_register_batch_handler_v1")
    def register_batch_handler(self, name: str, biz_type: str, batch_handler: str | None) -> bool:
        """Give a registered business type a batch handler, or none; returns whether that changed anything."""
        return bool(self.call(name, biz_type, batch_handler)[0]["changed"])


class Database(DaemonProcedures, ApplicationProcedures, OperatorProcedures):
    """A connection with all procedures, for the commands: these wait for locks as any other."""

    row_lock_seconds = Connection.row_lock_seconds
    table_lock_seconds = Connection.table_lock_seconds


def _by_id(arrivals: Iterable[Arrival]) -> str:
    """By ascending id: the order in which rows are locked."""
    ordered = sorted(arrivals, key=lambda arrival: arrival.id)
    return to_json([arrival.as_element() for arrival in ordered])


def _with_reasons(refusals: Sequence[Refusal]) -> list[dict[str, Any]]:
    return [receipt.as_element() | {"reason": reason} for receipt, reason in refusals]
