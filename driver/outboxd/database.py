"""MySQL: one connection, one method a procedure. What a call means is told by the procedure's COMMENT."""

import json
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import mysql.connector
from _mysql_connector import MySQLInterfaceError  # type: ignore[import-not-found]
from mysql.connector import errorcode, errors

from outboxd import metrics
from outboxd.retry import Unavailable
from outboxd.settings import Settings, SettingsError

# The server's state, not the call's: trying again may help. All else is an error to be shown.
_DISK_FULL = 1021
_NO_SUCH_MESSAGE = 50004
_SERVER_IS_NOT_AVAILABLE = 3168
_PASSING = {
    errorcode.ER_CON_COUNT_ERROR,
    errorcode.ER_LOCK_DEADLOCK,
    errorcode.ER_LOCK_WAIT_TIMEOUT,
    errorcode.ER_OPTION_PREVENTS_STATEMENT,  # read only
    errorcode.ER_QUERY_INTERRUPTED,
    errorcode.ER_READ_ONLY_MODE,
    errorcode.ER_RECORD_FILE_FULL,
    errorcode.ER_SERVER_OFFLINE_MODE,
    errorcode.ER_TOO_MANY_USER_CONNECTIONS,
    errorcode.ER_UNKNOWN_ERROR,  # so says a multi-table UPDATE that was killed, now and then, instead of "interrupted"
    errorcode.ER_USER_LIMIT_REACHED,
    _DISK_FULL,
    _SERVER_IS_NOT_AVAILABLE,
}
_CONNECTION = {
    errorcode.ER_CLIENT_INTERACTION_TIMEOUT,
    errorcode.ER_NET_READ_ERROR,
    errorcode.ER_NET_READ_INTERRUPTED,
    errorcode.ER_NET_WRITE_INTERRUPTED,
    errorcode.ER_NET_ERROR_ON_WRITE,
    errorcode.ER_SERVER_SHUTDOWN,
}
_CLIENT_ERRORS = range(2000, 2100)


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
    def is_waiting(self) -> bool:
        """The call's time was up before this one's turn: it is for the next call."""
        return self.outcome == "waiting"


class Database:
    """One connection, opened when first needed and again after it broke; not for use by two threads.

    Every method raises Unavailable where trying again may help (connection lost, deadlock, read-only server), and
    mysql.connector.Error otherwise; errors of outboxd's own have SQLSTATE 45000 (see outbox_raise_v1).
    """

    def __init__(self, settings: Settings, *, answers_in_time: bool = True) -> None:
        self._arguments = settings.mysql_arguments()
        if answers_in_time:
            # A connection may be half-open: without a limit its worker would wait for ever.
            patience = settings.stall_seconds + math.ceil(settings.wait_ms / 1000)
            self._arguments = {"read_timeout": patience, "write_timeout": patience, **self._arguments}
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with suppress(mysql.connector.Error):
                self._connection.disconnect()
            self._connection = None

    def installed(self) -> dict[int, str | None]:
        """outbox_installed_v1: the numbers of the migrations that are installed, each with the file that dropped it."""
        return {row["version"]: row["dropped_by"] for row in self.call("outbox_installed_v1")}

    def claim(self, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
        """outbox_claim_v1, row by row as the server sends them, so that a batch is never in memory as a whole."""
        with self._cursor() as cursor:
            _execute_call(cursor, "outbox_claim_v1", relay, limit, lease_seconds, wait_ms)
            for row in cursor:
                id_, biz_type, topic, key, payload, headers, created_at, receipt = row
                yield Message(id_, biz_type, topic, key, payload, headers, created_at, Receipt(id_, receipt))
            _drain(cursor)

    def heartbeat(self, relay: str, lease_seconds: int) -> None:
        """outbox_heartbeat_v1: keep the slots while waiting for Kafka."""
        self._call("outbox_heartbeat_v1", relay, lease_seconds)

    def leave(self, relay: str) -> None:
        """outbox_leave_v1: give the slots back at once."""
        self._call("outbox_leave_v1", relay)

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

    def lag(self) -> dict[str, Any]:
        """outbox_lag_v1: how far relays and consumers are behind."""
        return self.call("outbox_lag_v1", None)[0]

    def recover_published(self, older_than_seconds: int, limit: int) -> int:
        """outbox_recover_published_v1; returns how many are to be sent again."""
        return int(self.call_out("outbox_recover_published_v1", older_than_seconds, limit))

    def consume(self, records: Sequence[tuple[int, str]]) -> list[Outcome]:
        """outbox_consume_v1 of outbox ids and payloads, by ascending id: the order in which the rows are locked."""
        batch = [{"id": id_, "payload": payload} for id_, payload in sorted(records, key=lambda record: record[0])]
        with self._cursor() as cursor:
            _execute_call(cursor, "outbox_consume_v1", json.dumps(batch, ensure_ascii=False))
            rows = cursor.fetchall()
            # The last result set is the procedure's own: what handlers of applications select comes before it.
            return [Outcome(*row) for row in _drain(cursor) or rows]

    def refuse(self, message_id: int, reason: str) -> Outcome:
        """outbox_mark_failed_v1 of a record that cannot be given to outbox_consume_v1."""
        try:
            self._call("outbox_mark_failed_v1", message_id, reason)
        except mysql.connector.Error as error:
            if error.errno != _NO_SUCH_MESSAGE:
                raise
            return Outcome(message_id, "unknown", None)
        return Outcome(message_id, "failed", reason)

    def status(self) -> list[dict[str, Any]]:
        """outbox_status_v1: a row a status."""
        return self.call("outbox_status_v1")

    def get(self, message_id: int) -> dict[str, Any] | None:
        """outbox_get_v1: all columns of one message, or None."""
        rows = self.call("outbox_get_v1", message_id)
        return rows[0] if rows else None

    def enqueue(self, biz_type: str, topic: str, key: str, payload: str, headers: str | None) -> None:
        """outbox_enqueue_with_options_v1, in the open transaction."""
        self._call_in("outbox_enqueue_with_options_v1", biz_type, topic, key, payload, None, headers, None)

    def enqueue_chat(self, topic: str, key: str, user_id: int, chat_id: str, role: str, text: str) -> None:
        """outbox_enqueue_chat_history_v1, in the open transaction."""
        self._call_in("outbox_enqueue_chat_history_v1", topic, key, user_id, chat_id, role, text, None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN ... COMMIT, or ROLLBACK where the block raises: for enqueuing, as an application would."""
        with self._cursor() as cursor:
            cursor.execute("START TRANSACTION")
        try:
            yield
        except BaseException:
            with suppress(Unavailable, mysql.connector.Error), self._cursor() as cursor:
                cursor.execute("ROLLBACK")
            raise
        with self._cursor() as cursor:
            cursor.execute("COMMIT")

    def call(self, procedure: str, *arguments: object) -> list[dict[str, Any]]:
        """A procedure that has no method of its own: the rows of its result set."""
        with self._cursor() as cursor:
            _execute_call(cursor, procedure, *arguments)
            names = cursor.column_names
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            _drain(cursor)
            return rows

    def call_out(self, procedure: str, *arguments: object) -> Any:
        """A procedure that has no method of its own, whose last parameter is OUT: the value of that."""
        self._call_in(procedure, *arguments)
        return self.query("SELECT @outboxd_out")[0][0]

    def query(self, statement: str, *arguments: object) -> list[Any]:
        """Rows of a statement that is no procedure call: the demo's and the migrations' own."""
        with self._cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall()) if cursor.with_rows else []

    def run_script(self, script: str) -> None:
        """Execute a script of several statements, DELIMITER included (the connector splits it)."""
        with self._cursor() as cursor:
            cursor.execute(script)
            _drain(cursor)

    def _call(self, procedure: str, *arguments: object) -> list[Any]:
        with self._cursor() as cursor:
            _execute_call(cursor, procedure, *arguments)
            rows = list(cursor.fetchall()) if cursor.with_rows else []
            _drain(cursor)
            return rows

    def _call_in(self, procedure: str, *arguments: object) -> None:
        """Call a procedure whose last parameter is OUT, and leave that in @outboxd_out."""
        with self._cursor() as cursor:
            _execute_call(cursor, procedure, *arguments, out="@outboxd_out")
            _drain(cursor)

    def _mark(self, procedure: str, relay: str, messages: list[dict[str, Any]]) -> int:
        if not messages:
            return 0
        # By ascending id, the order of locks, and not in that of the acknowledgements. In a transaction, because the
        # fence is a lock on the relay's slots: under autocommit it would end before the mark begins. Sent as one, so
        # that the server ends it, and gives the locks back, whatever becomes of this process and of the network.
        batch = sorted(messages, key=lambda message: message["id"])
        call, values = _call(procedure, (relay, json.dumps(batch, ensure_ascii=False)), "@outboxd_out")
        try:
            with self._cursor() as cursor, metrics.timed(procedure):
                cursor.execute(f"START TRANSACTION; {call}; SELECT @outboxd_out; COMMIT", values)
                return int(_drain(cursor)[0][0])
        except mysql.connector.Error:
            self.close()  # and with it the transaction
            raise

    def _connect(self) -> Any:
        defaults = {
            "autocommit": True,
            "charset": "utf8mb4",
            "connection_timeout": 10,
            # A lock is waited for no longer than a message may hold up those of other keys behind it.
            "init_command": "SET SESSION transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 2",
        }
        arguments = {**defaults, **self._arguments}
        try:
            return _connect_in_time(arguments, arguments["connection_timeout"] + arguments.get("read_timeout", 3600))
        except (AttributeError, TypeError, ValueError) as error:
            raise SettingsError(f"setting mysql_options: {error}") from error

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        finished = False
        try:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.cursor()
            yield cursor
            cursor.close()
            finished = True
        except mysql.connector.Error as error:
            # Tried again on a new connection: the old one may be gone, or left inside a transaction by a killed call.
            passing = _is_passing(error)
            # The server hangs up after a packet that is too large.
            finished = not passing and error.errno != errorcode.ER_NET_PACKET_TOO_LARGE
            if passing:
                raise Unavailable(f"MySQL: {error}") from error
            raise
        finally:
            if not finished:
                self.close()


def _connect_in_time(arguments: dict[str, Any], seconds: float) -> Any:
    """Connect in a thread of its own, which is left behind where it hangs: no timeout covers the TLS handshake."""
    made: Future[Any] = Future()

    def connect() -> None:
        try:
            connection = mysql.connector.connect(**arguments)
        except Exception as error:
            with suppress(InvalidStateError):
                made.set_exception(error)
            return
        try:
            made.set_result(connection)
        except InvalidStateError:
            connection.close()  # too late: nobody waits for it

    threading.Thread(target=connect, name="connects", daemon=True).start()
    try:
        return made.result(seconds)
    except FutureTimeoutError:
        made.cancel()
        raise errors.OperationalError(f"no connection to MySQL within {seconds} s") from None


def _execute_call(cursor: Any, procedure: str, *arguments: object, out: str | None = None) -> None:
    with metrics.timed(procedure):
        cursor.execute(*_call(procedure, arguments, out))


def _call(procedure: str, arguments: Sequence[object], out: str | None) -> tuple[str, list[object]]:
    """The statement, and the values for its places.

    The connector looks for DELIMITER, a command of the mysql client, in the values, too, and would change the text of
    a message that has the word, or send a part of it as a statement. So such a value is sent in hexadecimal digits.
    """
    places, values = [], []
    for argument in arguments:
        is_misread = isinstance(argument, str) and "delimiter" in argument.lower()
        places.append("_utf8mb4 X%s" if is_misread else "%s")
        values.append(str(argument).encode().hex() if is_misread else argument)
    return f"CALL {procedure}({', '.join([*places, *([out] if out else [])])})", values


def _is_passing(error: errors.Error) -> bool:
    if error.errno in {None, -1}:  # the connector's own, such as "MySQL Connection not available"
        return isinstance(error, errors.OperationalError | errors.InterfaceError | errors.InternalError)
    return error.errno in _PASSING or error.errno in _CONNECTION or error.errno in _CLIENT_ERRORS


def _with_reasons(refused: Sequence[tuple[Receipt, str]]) -> list[dict[str, Any]]:
    return [receipt.to_json() | {"reason": reason} for receipt, reason in refused]


def _drain(cursor: Any) -> list[Any]:
    """Read what is left of a call, which ends with a status result; returns the rows of the last result set in it."""
    rows: list[Any] = []
    try:
        while cursor.nextset():
            if cursor.with_rows:
                rows = cursor.fetchall()
    except MySQLInterfaceError as error:  # the connector translates those of the first statement only
        raise errors.get_mysql_exception(error.errno, msg=error.msg, sqlstate=error.sqlstate) from error
    return rows


def is_refusal(error: errors.Error) -> bool:
    """Whether a procedure or the server refused the arguments (SQLSTATE 45000, 22xxx), rather than being in trouble."""
    return error.sqlstate is not None and (error.sqlstate == "45000" or error.sqlstate.startswith("22"))
