"""What an error of MySQL means: passing trouble, arguments that were rejected, or neither."""

from mysql.connector import errorcode, errors

# The server's trouble: trying again may help, and nothing else does. The list of outbox_internal_judge_error_v1, which
# keeps these from counting against messages.
SERVERS_OWN = {
    errorcode.ER_CANT_LOCK,
    errorcode.ER_CANT_OPEN_FILE,
    1021,  # disk full
    1026,  # error on write
    1030,  # error of the storage engine
    errorcode.ER_OPEN_AS_READONLY,
    errorcode.ER_OUTOFMEMORY,
    errorcode.ER_OUT_OF_SORTMEMORY,
    errorcode.ER_CON_COUNT_ERROR,
    errorcode.ER_OUT_OF_RESOURCES,
    errorcode.ER_SERVER_SHUTDOWN,
    errorcode.ER_RECORD_FILE_FULL,
    errorcode.ER_CANT_CREATE_THREAD,
    1180,  # error during commit
    1181,  # error during rollback
    errorcode.ER_TRANS_CACHE_FULL,
    errorcode.ER_TOO_MANY_USER_CONNECTIONS,
    errorcode.ER_LOCK_TABLE_FULL,
    errorcode.ER_USER_LIMIT_REACHED,
    errorcode.ER_QUERY_INTERRUPTED,
    errorcode.ER_STACK_OVERRUN_NEED_MORE,
    errorcode.ER_MAX_PREPARED_STMT_COUNT_REACHED,
    errorcode.ER_TOO_MANY_CONCURRENT_TRXS,
    errorcode.ER_STMT_CACHE_FULL,
    errorcode.ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION,
    errorcode.ER_READ_ONLY_MODE,
    errorcode.ER_INNODB_READ_ONLY,
    errorcode.ER_TEMP_FILE_WRITE_FAILURE,
    errorcode.ER_INNODB_FORCED_RECOVERY,
    1927,  # connection killed
    3015,  # the storage engine is out of memory
    errorcode.ER_INNODB_UNDO_LOG_FULL,
    errorcode.ER_QUERY_TIMEOUT,
    errorcode.ER_SERVER_OFFLINE_MODE,
    3100,  # group replication rejects the commit
    3101,  # group replication rolls back
    3168,  # the server is not available
    3169,  # the session was killed
    3231,  # more rows than group replication takes
    3985,  # no memory for table locks
    3989,  # the database is read only
    errorcode.ER_CLIENT_INTERACTION_TIMEOUT,
    4081,  # memory of all connections
    4082,  # memory of a connection
    6411,  # too many statements
}
_PASSING = SERVERS_OWN | {
    errorcode.ER_LOCK_DEADLOCK,
    errorcode.ER_LOCK_WAIT_TIMEOUT,
    errorcode.ER_OPTION_PREVENTS_STATEMENT,  # read only
    errorcode.ER_UNKNOWN_ERROR,  # of a killed multi-table UPDATE, now and then, instead of "interrupted"
}
_CONNECTION = {
    errorcode.ER_NET_READ_ERROR,
    errorcode.ER_NET_READ_INTERRUPTED,
    errorcode.ER_NET_WRITE_INTERRUPTED,
    errorcode.ER_NET_ERROR_ON_WRITE,
}
_CLIENT_ERRORS = range(2000, 2100)


def is_passing(error: errors.Error) -> bool:
    """Whether trying again may help: trouble of the server or of the connection."""
    if error.errno in {None, -1}:  # the connector's own, such as "MySQL Connection not available"
        return isinstance(error, errors.OperationalError | errors.InterfaceError | errors.InternalError)
    return error.errno in _PASSING or error.errno in _CONNECTION or error.errno in _CLIENT_ERRORS


def is_too_large(error: errors.Error) -> bool:
    """Whether the server gave the call up because its transaction is larger than max_binlog_cache_size.

    No handler of a procedure catches this one: the call must be made again for fewer messages.
    """
    return error.errno == errorcode.ER_TRANS_CACHE_FULL


def is_rejection(error: errors.Error) -> bool:
    """Whether a procedure or the server rejected the arguments: SQLSTATE 45000 or 22xxx."""
    return error.sqlstate is not None and (error.sqlstate == "45000" or error.sqlstate.startswith("22"))
