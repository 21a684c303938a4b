"""A MySQL session that calls procedures as an application would, each call returning plain Python values."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import mysql.connector
import pytest
from mysql.connector import errorcode
from mysql.connector.errors import DatabaseError

CHAT = "chat_history_persist"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failing:
    """The record of a message whose handler fails this time."""

    message: int


class Session:
    """One session: plain statements, calls of procedures, and what many tests do, named once."""

    def __init__(self, **arguments: Any) -> None:
        """Connect; the arguments are those of mysql.connector.connect()."""
        self._connection: Any = mysql.connector.connect(
            charset="utf8mb4", collation="utf8mb4_0900_bin", autocommit=True, **arguments
        )
        # So that a test that fails while a session of its waits for a lock does not wait for the default of 50 s.
        self.execute("SET innodb_lock_wait_timeout = 10")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; what it has not committed is rolled back."""
        self._connection.close()

    @property
    def session_id(self) -> int:
        """CONNECTION_ID(), to watch the session from another one."""
        return int(self._connection.connection_id)

    def rows(self, sql: str, *params: Any) -> list[Row]:
        """Run a statement or a script; return the rows of its last result set."""
        cursor = self._connection.cursor(dictionary=True, buffered=True)
        try:
            cursor.execute(sql, params)
            result: list[Row] = []
            while True:
                if cursor.with_rows:
                    result = cursor.fetchall()
                if not cursor.nextset():
                    return result
        finally:
            with suppress(DatabaseError):
                cursor.close()

    def execute(self, sql: str, *params: Any) -> None:
        """Run a statement or a script, without results."""
        self.rows(sql, *params)

    @property
    def is_connected(self) -> bool:
        """Whether the server answers in this session; asks it."""
        return bool(self._connection.is_connected())

    def kill_sessions(self, account: str) -> None:
        """End all sessions of an account; one that has ended by itself meanwhile is as good."""
        for session in self.column("SELECT id FROM performance_schema.processlist WHERE user = %s", account):
            try:
                self.execute(f"KILL {session}")
            except mysql.connector.Error as error:
                if error.errno != errorcode.ER_NO_SUCH_THREAD:
                    raise

    def row(self, sql: str, *params: Any) -> Row:
        """Return the only row."""
        (only,) = self.rows(sql, *params)
        return only

    def value(self, sql: str, *params: Any) -> Any:
        """Return the only column of the only row."""
        (only,) = self.row(sql, *params).values()
        return only

    def column(self, sql: str, *params: Any) -> list[Any]:
        """Return the first column of all rows."""
        return [next(iter(row.values())) for row in self.rows(sql, *params)]

    def call(self, name: str, *args: Any) -> list[Row]:
        """CALL a procedure; return the rows of its last result set."""
        return self.rows(f"CALL {name}({', '.join(['%s'] * len(args))})", *args)

    def out(self, name: str, *args: Any) -> Any:
        """CALL a procedure whose last parameter is OUT, and return that one."""
        places = ", ".join([*["%s"] * len(args), "@out"])
        self.rows(f"CALL {name}({places})", *args)
        return self.value("SELECT @out")

    # An application's calls, and a consumer's.

    def enqueue(
        self,
        key: str = "k",
        *,
        biz_type: str = CHAT,
        topic: str = "chat",
        payload: str | None = None,
        max_retry: int | None = None,
    ) -> int:
        """Enqueue a message; the payload defaults to a chat message that says the key."""
        text = chat_payload(key) if payload is None else payload
        return int(self.out("outbox_enqueue_v1", biz_type, topic, key, text, max_retry))

    def enqueue_with(self, biz_type: str, topic: str, key: str, payload: str, **options: object) -> int:
        """Enqueue a message with options of outbox_enqueue_with_options_v1."""
        text = json.dumps(options, ensure_ascii=False)
        return int(self.out("outbox_enqueue_with_options_v1", biz_type, topic, key, payload, text))

    def enqueue_batch(self, *messages: dict[str, Any], **common: object) -> int:
        """Enqueue a batch; members that all have in common are given once. Returns how many were stored."""
        defaults = {"biz_type": CHAT, "topic": "chat", "key": "k", "payload": "{}"} | common
        batch = json.dumps([defaults | message for message in messages], ensure_ascii=False)
        return int(self.out("outbox_enqueue_batch_v1", batch))

    def enqueue_bytes(
        self, body: bytes | None, content_type: str | None = "application/avro", key: str = "k", **options: object
    ) -> int:
        """Enqueue bytes of a publish-only type, or with None a tombstone."""
        text = json.dumps(options)
        return int(self.out("outbox_enqueue_bytes_v1", "bytes", "chat", key, body, content_type, text))

    def adopt(
        self,
        key: str = "k",
        *,
        biz_type: str = CHAT,
        topic: str = "chat",
        payload: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Insert a row as the legacy Go service does, which checks nothing: any text may be a topic."""
        self.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, headers)"
            " VALUES (%s, %s, %s, %s, %s)",
            biz_type,
            topic,
            key,
            chat_payload(key) if payload is None else payload,
            headers and json.dumps(headers),
        )
        return int(self.value("SELECT LAST_INSERT_ID()"))

    def enqueue_published(self, key: str = "k", **options: Any) -> int:
        """Enqueue a message and mark it published."""
        message = self.enqueue(key, **options)
        self.call("outbox_mark_published_v1", message)
        return message

    def enqueue_in(self, status: str, key: str = "k", **options: Any) -> int:
        """Enqueue a message and bring it to this status, as a relay and a consumer would."""
        message = self.enqueue(key, **options)
        if status in {"published", "consumed"}:
            self.call("outbox_mark_published_v1", message)
        if status == "consumed":
            self.call("outbox_persist_chat_history_v1", message, chat_payload(key))
        if status == "dead":
            self.call("outbox_mark_dead_v1", message, "as arranged")
        return message

    def message(self, message: int) -> Row:
        """Return the message's row as outbox_get_v1 returns it."""
        (only,) = self.call("outbox_get_v1", message)
        return only

    def messages(self) -> list[Row]:
        """Return every column of every message."""
        return self.rows("SELECT * FROM agent_outbox_messages ORDER BY id")

    def statuses(self) -> dict[int, str]:
        """Return id and status of every message."""
        rows = self.rows("SELECT id, status FROM agent_outbox_messages ORDER BY id")
        return {row["id"]: row["status"] for row in rows}

    def chats(self) -> list[str]:
        """Return the texts in chat_histories in the order in which they were written."""
        return [str(text) for text in self.column("SELECT message_content FROM chat_histories ORDER BY id")]

    def consume(self, *records: "int | Row | Failing") -> dict[int, str]:
        """Consume the records of these messages, or records as they are given; return the outcomes.

        As the daemon does, again for what had no time: on a busy machine one handler takes the time of its type.
        """
        rows = {row["id"]: row for row in self.consume_rows(*records)}
        while left := [row["id"] for row in rows.values() if (row["outcome"], row["error"]) == ("not reached", None)]:
            again = [record for record in records if _id_of(record) in left]
            rows |= {row["id"]: row for row in self.consume_rows(*again)}
        return {message: row["outcome"] for message, row in rows.items()}

    def consume_once(self, *records: "int | Row | Failing") -> dict[int, str]:
        """As consume(), by one call."""
        return {row["id"]: row["outcome"] for row in self.consume_rows(*records)}

    def consume_rows(self, *records: "int | Row | Failing") -> list[Row]:
        """As consume_once(), but return the rows of the result set."""
        failing = [record.message for record in records if isinstance(record, Failing)]
        own = [record.message if isinstance(record, Failing) else record for record in records]
        batch = [self.record(record) if isinstance(record, int) else record for record in own]
        with self._failing(failing):
            return self.call("outbox_consume_v1", json.dumps(batch))

    @contextmanager
    def _failing(self, messages: Sequence[int]) -> Iterator[None]:
        """Let these messages have a handler that fails, with the policy of their own business type."""
        if not messages:
            yield
            return
        ids = ", ".join(map(str, messages))
        self.execute(
            "CREATE PROCEDURE kit_fails (IN p_id BIGINT UNSIGNED, IN p_payload LONGTEXT CHARACTER SET utf8mb4)"
            " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it fails';"
            "INSERT INTO outbox_biz_types"
            " (biz_type, handler, ordering, max_retry, backoff_base_seconds, backoff_cap_seconds)"
            " SELECT DISTINCT CONCAT('fails ', t.biz_type), 'kit_fails', ordering, t.max_retry, backoff_base_seconds,"
            " backoff_cap_seconds FROM outbox_biz_types AS t JOIN agent_outbox_messages AS m USING (biz_type)"
            f" WHERE m.id IN ({ids});"
            f"UPDATE agent_outbox_messages SET biz_type = CONCAT('fails ', biz_type) WHERE id IN ({ids})"
        )
        try:
            yield
        finally:
            self.execute(
                f"UPDATE agent_outbox_messages SET biz_type = SUBSTR(biz_type, 7) WHERE id IN ({ids});"
                "DELETE FROM outbox_biz_types WHERE handler = 'kit_fails'; DROP PROCEDURE kit_fails"
            )

    def source(self) -> str:
        """Return the CloudEvents source of the outbox, by its identity."""
        return str(self.call("outbox_identity_v1")[0]["source"])

    def record(self, message: int, **changes: object) -> Row:
        """Return what a consumer says of the record of a message, but for these changes."""
        found = self.rows("SELECT topic, message_key, created_at FROM agent_outbox_messages WHERE id = %s", message)
        row: Row = found[0] if found else {"topic": "chat", "message_key": "k", "created_at": None}
        time = as_text(row["created_at"])
        return {"id": message, "created_at": time, "topic": row["topic"], "key": row["message_key"]} | changes

    def claim(
        self, relay: str = "relay-a", limit: int | None = 1000, lease: int | None = 30, wait_ms: int | None = 0
    ) -> list[Row]:
        """Claim a batch."""
        return self.call("outbox_claim_v1", relay, limit, lease, wait_ms)

    def claim_ids(self, relay: str = "relay-a", limit: int | None = 1000, wait_ms: int | None = 0) -> list[int]:
        """Claim a batch and return the ids only."""
        return [row["id"] for row in self.claim(relay, limit, wait_ms=wait_ms)]

    def mark(
        self,
        kind: str,
        claimed: Sequence[Mapping[str, Any]],
        relay: str = "relay-a",
        reason: str = "refused",
        places: Sequence[tuple[int, int]] = (),
    ) -> int:
        """Call outbox_mark_<kind>_batch_v1 for what a claim returned; return how many it marked.

        Of places, each is the partition and the offset of a record.
        """
        batch = [{"id": row["id"], "receipt": as_text(row["receipt"]), "reason": reason} for row in claimed]
        for element, (partition, offset) in zip(batch, places, strict=False):
            element |= {"partition": partition, "offset": offset}
        return int(self.out(f"outbox_mark_{kind}_batch_v1", relay, json.dumps(batch)))

    def owned(self, relay: str) -> set[int]:
        """Return the slots of a relay."""
        return set(self.column("SELECT slot FROM outbox_slots WHERE relay = %s", relay))

    def expire_lease(self, relay: str) -> None:
        """Let the relay's lease run out, as if it had not called for long."""
        self.execute(
            "UPDATE outbox_relays SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE relay = %s", relay
        )

    def make_due(self, *messages: int) -> None:
        """Let the backoff of messages that wait have passed."""
        for message in messages:
            self.execute(
                "UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6)"
                " WHERE id = %s AND status = 'pending'",
                message,
            )

    def register(self, biz_type: str, handler: str, ordering: str = "key", **policy: int | None) -> None:
        """Register a business type; clean() removes it again."""
        columns = {"biz_type": biz_type, "handler": handler, "ordering": ordering, **policy}
        places = ", ".join(["%s"] * len(columns))
        self.execute(f"INSERT INTO outbox_biz_types ({', '.join(columns)}) VALUES ({places})", *columns.values())

    def waits_for_lock(self, session_id: int) -> bool:
        """Tell whether another session waits for a row lock at this moment."""
        # Not information_schema.innodb_trx: that is a copy, not renewed while it is asked more often than every 0.1 s.
        return bool(
            self.value(
                "SELECT COUNT(*) FROM performance_schema.data_locks JOIN performance_schema.threads USING (thread_id)"
                " WHERE processlist_id = %s AND lock_status = 'WAITING'",
                session_id,
            )
        )

    def in_transaction(self) -> bool:
        """Tell whether this session has a transaction open."""
        try:
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        except DatabaseError as error:
            if error.errno != errorcode.ER_CANT_CHANGE_TX_CHARACTERISTICS:
                raise
            return True
        return False

    def is_in(self, session_id: int, state: str) -> bool:
        """Tell whether another session's statement is in this state of the process list."""
        return bool(
            self.value(
                "SELECT COUNT(*) FROM performance_schema.processlist WHERE id = %s AND state = %s", session_id, state
            )
        )

    def clean(self) -> None:
        """Remove what tests leave behind; the built-in business type stays."""
        self.execute(
            "DELETE FROM agent_outbox_messages;"
            "DELETE FROM chat_histories;"
            "DELETE FROM outbox_relays;"
            "DELETE FROM outbox_pauses;"
            "DELETE FROM outbox_audit;"
            "DELETE FROM outbox_dedup_keys;"
            "DELETE FROM outbox_subscriptions;"
            "DELETE FROM outbox_retry_topics;"
            "DELETE FROM outbox_failures;"
            "UPDATE outbox_installation SET max_payload_bytes = DEFAULT;"
            "UPDATE outbox_slots SET relay = NULL WHERE relay IS NOT NULL;"
            f"DELETE FROM outbox_biz_types WHERE biz_type <> '{CHAT}'"
        )


def _id_of(record: "int | Row | Failing") -> int:
    message = record.message if isinstance(record, Failing) else record
    return message if isinstance(message, int) else int(message["id"])


@contextmanager
def refused(errno: int, text: str) -> Iterator[None]:
    """Expect an error of outboxd: SQLSTATE 45000, this number, and a message that contains the text."""
    with pytest.raises(DatabaseError) as caught:
        yield
    assert (caught.value.sqlstate, caught.value.errno) == ("45000", errno)
    assert text in str(caught.value.msg)


def chat_payload(message: str = "hi", conversation: str = "c-1", role: str = "user", user: int = 7) -> str:
    """Return the payload of a chat message as the outbox stores it."""
    members = {"user_id": user, "conversation_id": conversation, "role": role, "message": message}
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False)


def as_text(time: datetime | None) -> str | None:
    """Write a time as MySQL does, for a receipt inside JSON."""
    return None if time is None else time.isoformat(sep=" ", timespec="microseconds")


def ids(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the ids of rows."""
    return [row["id"] for row in rows]


def reads(session: Session, call: Callable[[], object]) -> int:
    """Return how many rows and index entries a call of this session reads: its cost, whatever the machine."""
    session.execute("FLUSH STATUS")
    call()
    rows = session.rows("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%'")
    return sum(int(row["Value"]) for row in rows)


def pages_read(session: Session, call: Callable[[], object]) -> int:
    """Return how many pages the server looks into for all sessions during a call, also for what is not committed."""
    asked = (
        "SELECT variable_value FROM performance_schema.global_status"
        " WHERE variable_name = 'Innodb_buffer_pool_read_requests'"
    )
    before = int(session.value(asked))
    call()
    return int(session.value(asked)) - before


def log_end(session: Session) -> int:
    """Where the binary log ends."""
    version = int(str(session.value("SELECT VERSION()")).split(".", maxsplit=1)[0])
    return int(session.row("SHOW BINARY LOG STATUS" if version > 8 else "SHOW MASTER STATUS")["Position"])
