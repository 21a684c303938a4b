"""What `outboxd doctor` examines in MySQL: the server, the schema, and the rights of the account."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import mysql.connector
from mysql.connector import errorcode

from outboxd.commands.doctor.connecting import definer_is_gone, inactive_roles
from outboxd.commands.doctor.finding import Finding, error, error_if, warn_if
from outboxd.mysql.connection import Connection
from outboxd.mysql.procedures import DaemonProcedures, WorkerProcedures, names
from outboxd.schema import migrations, presence
from outboxd.schema.compatibility import SchemaError, check_schema
from outboxd.schema.migrations import MigrationError
from outboxd.settings import Settings

_OLDEST = (8, 0, 45)
_APART_SECONDS = 2
_LAST_ID = 2**64 - 2  # of a BIGINT UNSIGNED: behind it no row can be inserted (error 1467)
_SPARE_IDS = 10**9
_JUMP = 10**9
_LONG_LOCK_SECONDS = 10
_HELD = (
    "SELECT t.processlist_id, t.processlist_user, t.processlist_host, locked.object_name,"
    " GREATEST(IF(e.state = 'ACTIVE', e.timer_wait / 1e12, 0), IF(locked.is_table, t.processlist_time, 0)) AS seconds"
    " FROM (SELECT thread_id, object_name, FALSE AS is_table FROM performance_schema.data_locks"
    " WHERE object_schema = DATABASE() UNION SELECT owner_thread_id, object_name, TRUE"
    " FROM performance_schema.metadata_locks WHERE object_schema = DATABASE() AND object_type = 'TABLE'"
    " AND lock_status = 'GRANTED' AND lock_type IN ('SHARED_NO_READ_WRITE', 'SHARED_READ_ONLY', 'EXCLUSIVE')) AS locked"
    " JOIN performance_schema.threads AS t ON t.thread_id = locked.thread_id"
    " JOIN performance_schema.events_transactions_current AS e ON e.thread_id = locked.thread_id"
    " HAVING seconds >= %s ORDER BY seconds DESC LIMIT 1"
)
_IDS = (
    "SELECT t.auto_increment, (SELECT COALESCE(MAX(id), 0) FROM"
    " agent_outbox_messages) FROM information_schema.tables AS t WHERE t.table_schema = DATABASE()"
    " AND t.table_name = 'agent_outbox_messages'"
)


def findings(database: WorkerProcedures, settings: Settings) -> Iterator[Finding]:
    """Examine everything; raises Unavailable and mysql.connector.Error as Connection does."""
    yield from _server(database)
    yield from _durability(database)
    yield _clocks(database)
    yield from _schema(database, settings)
    yield from _told_by_the_server(database, settings)
    yield _scheduler(database)
    yield _locks(database)


def _server(database: Connection) -> Iterator[Finding]:
    ((version, sql_mode, isolation, binary_log),) = database.query(
        "SELECT VERSION(), @@GLOBAL.sql_mode, @@SESSION.transaction_isolation, @@SESSION.binlog_format"
    )
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    is_wrong = "mariadb" in version.lower() or numbers < _OLDEST
    yield error_if(is_wrong, "server version", version, "use MySQL 8.0.45 or newer, and not MariaDB")
    yield warn_if(
        "STRICT_" not in sql_mode,
        "sql_mode",
        sql_mode or "(empty)",
        "SET PERSIST sql_mode = CONCAT_WS(',', @@GLOBAL.sql_mode, 'STRICT_TRANS_TABLES'): outboxd's procedures have a"
        " mode of their own, but whatever else writes to its tables may be cut off without a word",
    )
    yield warn_if(
        isolation != "READ-COMMITTED",
        "isolation",
        f"{isolation} in the daemon's sessions",
        "take init_command out of mysql_options: the daemon sets READ-COMMITTED there",
    )
    yield error_if(
        binary_log == "STATEMENT",
        "binary log",
        binary_log,
        "SET PERSIST binlog_format = 'ROW': with STATEMENT nothing can be written under READ COMMITTED",
    )


def _durability(database: Connection) -> Iterator[Finding]:
    flush, sync = database.query("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog")[0]
    for subject, name, value in (
        ("redo log", "innodb_flush_log_at_trx_commit", flush),
        ("binary log sync", "sync_binlog", sync),
    ):
        yield warn_if(
            value != 1,
            subject,
            f"{name} is {value}",
            f"SET PERSIST {name} = 1: a crash or a failover may lose transactions that were told committed, with their"
            " messages; Kafka may have records of them already, which then are foreign",
        )


def _clocks(database: Connection) -> Finding:
    before = datetime.now(UTC).replace(tzinfo=None)
    theirs: datetime = database.query("SELECT UTC_TIMESTAMP(6)")[0][0]
    after = datetime.now(UTC).replace(tzinfo=None)
    apart = (theirs - before - (after - before) / 2).total_seconds()
    return warn_if(
        abs(apart) > _APART_SECONDS,
        "clocks",
        f"MySQL's is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this host's",
        "let NTP set both: outboxd goes by MySQL's alone, but logs and graphs have this host's",
    )


def _schema(database: WorkerProcedures, settings: Settings) -> Iterator[Finding]:
    try:
        missing = migrations.pending(database)
    except MigrationError as wrong:
        yield error("migrations", str(wrong), "use the outboxd and the files of one release")
        return
    except mysql.connector.Error as wrong:
        if wrong.errno != errorcode.ER_TABLEACCESS_DENIED_ERROR:
            raise
        yield _schema_as_the_daemon_sees_it(database, settings)
        return
    if missing:
        first = f"{len(missing)} missing, the first is {missing[0].file}"
        yield error("migrations", first, "outboxd migrate, and then apply sql/grants.sql")
    differences = [error("migrations", found.what, found.to_do) for found in presence.differences(database)]
    yield from differences
    if not missing and not differences:
        yield Finding("migrations", "all installed, none edited")


def _schema_as_the_daemon_sees_it(database: WorkerProcedures, settings: Settings) -> Finding:
    try:
        check_schema(database, settings.database)
    except SchemaError as wrong:
        return error("migrations", str(wrong), "outboxd migrate of the release in use, as the owner of the tables")
    except mysql.connector.Error as wrong:
        if wrong.errno != errorcode.ER_PROCACCESS_DENIED_ERROR:
            raise
        return Finding("migrations", "this account may not see them")
    return Finding("migrations", "all installed (whether one was edited, only the owner of the tables can see)")


def _told_by_the_server(database: WorkerProcedures, settings: Settings) -> Iterator[Finding]:
    """The account's rights, and what outbox_doctor_v1 finds; nothing where the schema is not there."""
    try:
        found = [Finding(row["kind"], row["what"], row["to_do"], row["level"]) for row in database.doctor()]
    except mysql.connector.Error as wrong:
        if wrong.errno == errorcode.ER_SP_DOES_NOT_EXIST:
            return
        yield _rights(database, settings)
        if wrong.errno == errorcode.ER_NO_SUCH_USER:
            yield definer_is_gone(str(wrong))
        elif wrong.errno != errorcode.ER_PROCACCESS_DENIED_ERROR:
            raise
        return
    yield _rights(database, settings)
    yield _ids(database)
    yield from found


def _locks(database: Connection) -> Finding:
    """The session that has kept locks of this database for longest; needs SELECT on performance_schema."""
    try:
        held = database.query(_HELD, _LONG_LOCK_SECONDS)
    except mysql.connector.Error as wrong:
        if wrong.errno != errorcode.ER_TABLEACCESS_DENIED_ERROR:
            raise
        return Finding("locks", "this account may not see them: it needs SELECT on performance_schema")
    if not held:
        return Finding("locks", f"no session has kept any for {_LONG_LOCK_SECONDS} s")
    session, user, host, table, seconds = held[0]
    return error(
        "locks",
        f"session {session} ({user}@{host}) has kept locks on {table} for {seconds:.0f} s",
        f"end its transaction, or KILL {session}: what it has locked waits, and so do later messages of the same keys",
    )


def _ids(database: Connection) -> Finding:
    try:
        database.query("SET SESSION information_schema_stats_expiry = 0")
        ((next_id, last_id),) = database.query(_IDS)
    except mysql.connector.Error as wrong:
        if wrong.errno not in (errorcode.ER_TABLEACCESS_DENIED_ERROR, errorcode.ER_COLUMNACCESS_DENIED_ERROR):
            raise
        return Finding("ids", "this account may not see them")
    next_id = next_id or 1
    if next_id > _LAST_ID - _SPARE_IDS:
        return error(
            "ids",
            f"the next is {next_id}, and the last that there can be {_LAST_ID}: soon every enqueue fails",
            "if a row with such an id was made by hand, delete it, and ALTER TABLE agent_outbox_messages"
            f" AUTO_INCREMENT = {last_id if last_id < _LAST_ID - _SPARE_IDS else 1}",
        )
    return warn_if(
        next_id - last_id > _JUMP,
        "ids",
        f"the next is {next_id}, the last message has {last_id}",
        "look who inserts with an id of its own, or sets insert_id: ids are the outbox's own, and do not come back",
    )


def _rights(database: Connection, settings: Settings) -> Finding:
    ((account, roles),) = database.query("SELECT CURRENT_USER(), CURRENT_ROLE()")
    rows = database.query(  # the first does not show what an account may by its roles
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
        " UNION SELECT specific_name FROM information_schema.role_routine_grants WHERE specific_schema = DATABASE()"
    )
    lacks = sorted(names(DaemonProcedures) - {name for (name,) in rows})
    quoted = "'{}'@'{}'".format(*account.rsplit("@", 1))
    to_do = (
        f"apply sql/grants.sql, then: GRANT outbox_relay, outbox_consumer TO {quoted}; SET DEFAULT ROLE ALL TO {quoted}"
    )
    if lacks and (inactive := inactive_roles(settings)):
        to_do = f"{quoted} has the roles {', '.join(inactive)}, but not by default: SET DEFAULT ROLE ALL TO {quoted}"
    return error_if(
        bool(lacks),
        "rights",
        f"{account} may {'not call ' + ', '.join(lacks) if lacks else 'call what the daemon calls'}; roles: {roles}",
        to_do,
    )


def _scheduler(database: Connection) -> Finding:
    is_on = database.query("SELECT @@GLOBAL.event_scheduler")[0][0] == "ON"
    rows = database.query(
        "SELECT LOWER(status) FROM information_schema.events"
        " WHERE event_schema = DATABASE() AND event_name = 'outbox_retention'"
    )
    event = rows[0][0] if rows else "not to be seen by this account"
    return warn_if(
        event == "enabled" and not is_on,
        "event scheduler",
        f"{'on' if is_on else 'off'}; the event outbox_retention is {event}",
        "SET PERSIST event_scheduler = ON: nothing is purged without it",
    )
