"""A connection to MySQL, and the forms in which procedures are called on it."""

import functools
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from typing import Any, Self

import mysql.connector
from _mysql_connector import MySQLInterfaceError  # type: ignore[import-not-found]
from mysql.connector import errorcode, errors

from outboxd.mysql.errors import is_passing, is_too_large
from outboxd.observe import metrics
from outboxd.retry import TooLarge, Unavailable
from outboxd.settings import Settings, SettingsError

Row = dict[str, Any]

_LONG_CHARACTERS = 4096
_SESSION = (
    "SET SESSION transaction_isolation = 'READ-COMMITTED',"
    " innodb_lock_wait_timeout = {row_lock_seconds}, lock_wait_timeout = {table_lock_seconds}"
)


class Connection:
    """One connection, opened when first needed and again after it broke; not for use by two threads.

    Every method raises Unavailable where trying again may help (connection lost, deadlock, read-only server), and
    mysql.connector.Error otherwise; errors of outboxd's own have SQLSTATE 45000 (see outbox_internal_raise_v1).
    answers_in_time: give a call up after stall_seconds and wait_ms; otherwise wait for as long as it takes.
    waits_for_work: calls wait up to wait_ms in the server, which is no reason to enter them into its slow log.
    on: the calls are made on this connection to the same server, of `to_server`, which others use as well; those of the
    same thread only.
    """

    # How long a call waits for a row, and for a table: no longer than somebody should be left without a word in the
    # log (the server's default is a year).
    row_lock_seconds = 2
    table_lock_seconds = 10

    def __init__(
        self,
        settings: Settings,
        *,
        answers_in_time: bool = True,
        waits_for_work: bool = False,
        on: "Connection | None" = None,
    ) -> None:
        self._on = on
        self._qualifier = "" if on is None else f"`{settings.database.replace('`', '``')}`."
        self._arguments = settings.mysql_arguments()
        self._session = _SESSION.format(
            row_lock_seconds=self.row_lock_seconds, table_lock_seconds=self.table_lock_seconds
        )
        if waits_for_work:
            self._session += f", long_query_time = @@GLOBAL.long_query_time + {settings.wait_ms / 1000}"
        if answers_in_time:
            # A connection may be half-open: without a limit its worker would wait for ever.
            patience = settings.stall_seconds + math.ceil(settings.wait_ms / 1000)
            self._arguments = {"read_timeout": patience, "write_timeout": patience, **self._arguments}
        self._connection: Any = None
        # Sets variables by a prepared statement; made when there is something to set.
        self._setter: Any = None
        self._most_packet_bytes: int | None = None

    @classmethod
    def to_server(cls, settings: Settings) -> Self:
        """A connection for the databases of a server, and in none of them."""
        connection = cls(settings)
        connection._arguments = {**connection._arguments, "database": None}
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection: not before the first call, and not after it broke."""
        return self._connection is not None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with suppress(mysql.connector.Error):
                self._connection.disconnect()
            self._connection = self._setter = self._most_packet_bytes = None

    def most_packet_bytes(self) -> int:
        """max_allowed_packet of the session: no statement may be longer, and the server never changes it."""
        if self._most_packet_bytes is None:
            self._most_packet_bytes = int(self.query("SELECT @@max_allowed_packet")[0][0])
        return self._most_packet_bytes

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block between BEGIN and COMMIT, or ROLLBACK if it raises: enqueues as an application would."""
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

    def call(self, procedure: str, *arguments: object) -> list[Row]:
        """Call a procedure; returns the rows of its last result set, behind those of applications' handlers."""
        with self._cursor() as cursor:
            self._execute(cursor, procedure, arguments)
            first = _rows(cursor)
            return _drain(cursor) or first

    def call_out(self, procedure: str, *arguments: object) -> Any:
        """Call a procedure whose last parameter is OUT; returns its value."""
        return self.call_with_out(procedure, *arguments)[1]

    def call_with_out(self, procedure: str, *arguments: object) -> tuple[list[Row], Any]:
        """Call a procedure that has rows, and whose last parameter is OUT; returns the rows and its value."""
        return self._call_and_select(procedure, arguments, "@outboxd_out", is_out=True)

    def call_with_variable(self, procedure: str, variable: str, *arguments: object) -> tuple[list[Row], Any]:
        """Call a procedure that has rows, and sets a session variable; returns its rows and the variable's value."""
        return self._call_and_select(procedure, arguments, variable, is_out=False)

    def _call_and_select(
        self, procedure: str, arguments: Sequence[object], variable: str, *, is_out: bool
    ) -> tuple[list[Row], Any]:
        with self._cursor() as cursor:
            self._execute(cursor, procedure, arguments, [variable] if is_out else [], f"SELECT {variable} AS value")
            results = [_rows(cursor)]
            while (more := _next_rows(cursor)) is not None:
                results.append(more)
            # Behind the rows of applications' handlers come those of the procedure, and the value.
            return results[-2] if len(results) > 1 else [], results[-1][0]["value"]

    def stream(self, procedure: str, *arguments: object) -> Iterator[tuple[Any, ...]]:
        """Call a procedure; yields its rows as the server sends them, so that they are never in memory together."""
        with self._cursor() as cursor:
            self._execute(cursor, procedure, arguments)
            yield from cursor
            _drain(cursor)

    def query(self, statement: str, *arguments: object) -> list[Any]:
        """Execute a statement that is no procedure call; returns its rows."""
        with self._cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall()) if cursor.with_rows else []

    def run_script(self, script: str) -> None:
        """Execute a script of several statements, DELIMITER included (the connector splits it)."""
        with self._cursor() as cursor:
            cursor.execute(script)
            _drain(cursor)

    def _execute(
        self, cursor: Any, procedure: str, arguments: Sequence[object], out: Sequence[str] = (), then: str = ""
    ) -> None:
        """Execute a call, and the statement that is to follow it.

        The connector escapes a text that stands in a statement, and looks for DELIMITER in it, a command of the mysql
        client: slow for a long one, and wrong for one that has the word. Such a text goes as it is into a variable.
        """
        variables: list[str] = []
        places, values = [], []
        with metrics.timed(procedure):
            for argument in arguments:
                if isinstance(argument, str) and (len(argument) > _LONG_CHARACTERS or "delimiter" in argument.lower()):
                    variables.append(argument)
                    places.append(f"@outboxd_{len(variables)}")
                else:
                    places.append("%s")
                    values.append(argument)
            call = f"CALL {self._qualifier}{procedure}({', '.join([*places, *out])})"
            forget = (self._on or self)._set(variables) if variables else ""
            cursor.execute("; ".join(filter(None, [call, forget, then])), values)

    def _set(self, variables: Sequence[str]) -> str:
        """Set @outboxd_1 and so on; returns the statement that sets them to NULL."""
        setting, forget = _setting_and_forgetting(len(variables))
        if self._setter is None:
            self._setter = self._connection.cursor(prepared=True)
        self._setter.execute(setting, variables)
        return forget

    def _connect(self) -> Any:
        defaults = {
            "autocommit": True,
            "charset": "utf8mb4",
            "connection_timeout": 10,
            "init_command": self._session,
        }
        arguments = {**defaults, **self._arguments}
        try:
            return _connect_in_time(arguments, arguments["connection_timeout"] + arguments.get("read_timeout", 3600))
        except (AttributeError, TypeError, ValueError) as error:
            raise SettingsError(f"setting mysql_options: {error}") from error

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        if self._on is not None:
            with self._on._cursor() as cursor:
                yield cursor
            return
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
            passing = is_passing(error)
            # The server hangs up after a packet that is too large.
            finished = not passing and error.errno != errorcode.ER_NET_PACKET_TOO_LARGE
            if passing:
                kind = TooLarge if is_too_large(error) else Unavailable
                raise kind(f"MySQL: {error}") from error
            raise
        finally:
            if not finished:
                self.close()


def _connect_in_time(arguments: dict[str, Any], seconds: float) -> Any:
    """Connect in a thread of its own, and leave it behind if it hangs: no timeout covers the TLS handshake."""
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


@functools.cache
def _setting_and_forgetting(count: int) -> tuple[str, str]:
    """The statements that set so many variables, and set them to NULL. A prepared one is known by its identity."""
    variables = [f"@outboxd_{number + 1}" for number in range(count)]
    return (
        f"SET {', '.join(f'{name} = %s' for name in variables)}",
        f"SET {', '.join(f'{name} = NULL' for name in variables)}",
    )


def _rows(cursor: Any) -> list[Row]:
    names = cursor.column_names
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if cursor.with_rows else []


def _drain(cursor: Any) -> list[Row]:
    """Read a call to its end, which is a status result; returns the rows of the last result set."""
    rows: list[Row] = []
    while (more := _next_rows(cursor)) is not None:
        rows = more
    return rows


def _next_rows(cursor: Any) -> list[Row] | None:
    """The rows of the next result that has any; None at the end."""
    try:
        while cursor.nextset():
            if cursor.with_rows:
                return _rows(cursor)
    except MySQLInterfaceError as error:  # the connector translates those of the first statement only
        raise errors.get_mysql_exception(error.errno, msg=error.msg, sqlstate=error.sqlstate) from error
    return None
