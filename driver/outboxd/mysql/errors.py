"""What an error of MySQL means: passing trouble, arguments that were rejected, or neither."""

from mysql.connector import errorcode, errors

"""outboxd's own error for an id that does not exist (see outbox_internal_raise_v1)."""

# Trouble of the server and not of the call: trying again may help.
_DISK_FULL = 1021
_ERROR_ON_WRITE = 1026
_ERROR_OF_THE_STORAGE_ENGINE = 1030
_ERROR_DURING_COMMIT = 1180
_GROUP_REJECTS_THE_COMMIT = 3100
_GROUP_ROLLS_BACK = 3101
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
    errorcode.ER_UNKNOWN_ERROR,  # of a killed multi-table UPDATE, now and then, instead of "interrupted"
    errorcode.ER_USER_LIMIT_REACHED,
    _DISK_FULL,
    _ERROR_DURING_COMMIT,
    _ERROR_OF_THE_STORAGE_ENGINE,
    _ERROR_ON_WRITE,
    _GROUP_REJECTS_THE_COMMIT,
    _GROUP_ROLLS_BACK,
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


def is_passing(error: errors.Error) -> bool:
    """Whether trying again may help: trouble of the server or of the connection."""
    if error.errno in {None, -1}:  # the connector's own, such as "MySQL Connection not available"
        return isinstance(error, errors.OperationalError | errors.InterfaceError | errors.InternalError)
    return error.errno in _PASSING or error.errno in _CONNECTION or error.errno in _CLIENT_ERRORS


def is_rejection(error: errors.Error) -> bool:
    """Whether a procedure or the server rejected the arguments: SQLSTATE 45000 or 22xxx."""
    return error.sqlstate is not None and (error.sqlstate == "45000" or error.sqlstate.startswith("22"))
