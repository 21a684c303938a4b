"""MySQL: one method a procedure. What a call means is told by the procedure's COMMENT."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import mysql.connector

from outboxd.connection import Connection, Row

_NO_SUCH_MESSAGE = 30004


@dataclass(frozen=True, slots=True)
class Receipt:
    """Names one claim of one message to its mark (see outbox_claim_v1)."""

    id: int
    receipt: datetime | None

    def to_json(self) -> dict[str, Any]:
        """As the marks of the relay take it."""
        return {"id": self.id, "receipt": self.receipt and self.receipt.isoformat(sep=" ")}


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed message."""

    id: int
    biz_type: str
    topic: str
    key: str
    payload: str
    headers: str | None
    created_at: datetime | None
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one consumed record (see outbox_consume_v1)."""

    id: int
    outcome: str
    error: str | None

    @property
    def is_not_reached(self) -> bool:
        """The call's time was up before this one's turn: it is for the next call."""
        return self.outcome == "not reached"


class Database(Connection):
    """A connection, and the procedures that the driver calls by it."""

    def installed(self) -> dict[int, str | None]:
        """outbox_installed_v1: the numbers of the migrations that are installed, each with the file that dropped it."""
        return {row["version"]: row["dropped_by"] for row in self.call("outbox_installed_v1")}

    def claim(self, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
        """outbox_claim_v1, row by row as the server sends them, so that a batch is never in memory as a whole."""
        for row in self.stream("outbox_claim_v1", relay, limit, lease_seconds, wait_ms):
            id_, biz_type, topic, key, payload, headers, created_at, receipt = row
            yield Message(id_, biz_type, topic, key, payload, headers, created_at, Receipt(id_, receipt))

    def heartbeat(self, relay: str, lease_seconds: int) -> None:
        """outbox_heartbeat_v1: keep the slots while waiting for Kafka."""
        self.call("outbox_heartbeat_v1", relay, lease_seconds)

    def leave(self, relay: str) -> None:
        """outbox_leave_v1: give the slots back at once."""
        self.call("outbox_leave_v1", relay)

    def mark_published(self, relay: str, receipts: Sequence[Receipt]) -> int:
        """outbox_mark_published_batch_v1; returns how many changed."""
        return self._mark("outbox_mark_published_batch_v1", relay, [receipt.to_json() for receipt in receipts])

    def mark_failed(self, relay: str, refused: Sequence[tuple[Receipt, str]]) -> int:
        """outbox_mark_failed_batch_v1 of receipts and reasons; returns how many changed."""
        return self._mark("outbox_mark_failed_batch_v1", relay, _with_reasons(refused))

    def mark_dead(self, relay: str, refused: Sequence[tuple[Receipt, str]]) -> int:
        """outbox_mark_dead_batch_v1 of receipts and reasons; returns how many changed."""
        return self._mark("outbox_mark_dead_batch_v1", relay, _with_reasons(refused))

    def slots_owned(self, relay: str) -> int:
        """outbox_slots_owned_v1: how many slots a relay owns under a live lease."""
        return int(self.call_out("outbox_slots_owned_v1", relay))

    def lag(self) -> Row:
        """outbox_lag_v1: how far relays and consumers are behind."""
        return self.call("outbox_lag_v1", None)[0]

    def recover_published(self, older_than_seconds: int, limit: int) -> int:
        """outbox_recover_published_v1; returns how many are to be sent again."""
        return int(self.call_out("outbox_recover_published_v1", older_than_seconds, limit))

    def consume(self, records: Sequence[tuple[int, str]]) -> list[Outcome]:
        """outbox_consume_v1 of outbox ids and payloads, by ascending id: the order in which the rows are locked."""
        batch = [{"id": id_, "payload": payload} for id_, payload in sorted(records, key=lambda record: record[0])]
        return [Outcome(**row) for row in self.call("outbox_consume_v1", json.dumps(batch, ensure_ascii=False))]

    def refuse(self, message_id: int, reason: str) -> Outcome:
        """outbox_mark_failed_v1 of a record that cannot be given to outbox_consume_v1."""
        try:
            self.call("outbox_mark_failed_v1", message_id, reason)
        except mysql.connector.Error as error:
            if error.errno != _NO_SUCH_MESSAGE:
                raise
            return Outcome(message_id, "unknown", None)
        return Outcome(message_id, "failed", reason)

    def status(self) -> list[Row]:
        """outbox_status_v1: a row a status."""
        return self.call("outbox_status_v1")

    def get(self, message_id: int) -> Row | None:
        """outbox_get_v1: all columns of one message, or None."""
        rows = self.call("outbox_get_v1", message_id)
        return rows[0] if rows else None

    def enqueue(self, biz_type: str, topic: str, key: str, payload: str, headers: str | None) -> None:
        """outbox_enqueue_with_options_v1, in the open transaction."""
        self.call_ignoring_out("outbox_enqueue_with_options_v1", biz_type, topic, key, payload, None, headers, None)

    def enqueue_chat(self, topic: str, key: str, user_id: int, chat_id: str, role: str, text: str) -> None:
        """outbox_enqueue_chat_history_v1, in the open transaction."""
        self.call_ignoring_out("outbox_enqueue_chat_history_v1", topic, key, user_id, chat_id, role, text, None)

    def _mark(self, procedure: str, relay: str, messages: list[dict[str, Any]]) -> int:
        if not messages:
            return 0
        # By ascending id, the order of locks, and not in that of the acknowledgements. In a transaction, because the
        # fence is a lock on the relay's slots: under autocommit it would end before the mark begins.
        batch = sorted(messages, key=lambda message: message["id"])
        return int(self.call_out_in_transaction(procedure, relay, json.dumps(batch, ensure_ascii=False)))


def _with_reasons(refused: Sequence[tuple[Receipt, str]]) -> list[dict[str, Any]]:
    return [receipt.to_json() | {"reason": reason} for receipt, reason in refused]
