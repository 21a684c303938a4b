"""Why MySQL refuses, and what is to be done: one hint for each of its errors, the right one."""

import re
from contextlib import closing

import mysql.connector
from mysql.connector import errorcode

from outboxd.commands.doctor.finding import Finding, error
from outboxd.retry import Unavailable
from outboxd.settings import Settings

_UNREACHABLE = (2002, 2003, 2006, 2013, 2055)
_ROLES = (
    "SELECT DISTINCT role_name, is_default = 'YES' OR is_mandatory = 'YES' FROM information_schema.applicable_roles"
    " ORDER BY role_name"
)
_HINTS = {
    1040: "all connections are in use (max_connections): close what is idle, or raise it; batches need few sessions",
    1045: (
        "the password in mysql_url is wrong (quoted as in URLs: @ is %40), or {user} has no account for this host:"
        " SELECT user, host FROM mysql.user WHERE user = '{user}'"
    ),
    1049: "correct the database in mysql_url, or make it: CREATE DATABASE `{database}`, then outboxd migrate",
    1130: "the server takes no connections from this host: CREATE USER '{user}'@'%', or with this host's address",
    1226: "the account's own limit is reached (MAX_USER_CONNECTIONS and others): ALTER USER '{user}' raises it",
    1820: "the account's password has expired: ALTER USER '{user}' IDENTIFIED BY ...",
    1862: "the account's password has expired: ALTER USER '{user}' IDENTIFIED BY ...",
    2005: "the host {host} in mysql_url is not known here: correct it, or the name service",
    2026: "TLS: check ssl_ca and the other ssl_ options of mysql_options against the server's certificate",
    2059: "the account's authentication plugin is not known here: ALTER USER '{user}' IDENTIFIED WITH another one",
    2061: "the account's authentication plugin is not known here: ALTER USER '{user}' IDENTIFIED WITH another one",
    3118: "the account is locked: ALTER USER '{user}' ACCOUNT UNLOCK",
    3159: "the server wants TLS: take ssl_disabled out of mysql_options",
}


def why_not(raised: Unavailable | mysql.connector.Error, settings: Settings) -> Finding:
    """What an error of connecting or calling means."""
    cause = raised.__cause__ if isinstance(raised, Unavailable) else raised
    number = cause.errno if isinstance(cause, mysql.connector.Error) else None
    state = str(raised).removeprefix("MySQL: ")
    where = settings.mysql_arguments()
    if number == errorcode.ER_NO_SUCH_USER:
        return definer_is_gone(state)
    if found := re.match(r".*?([A-Z ]+) command denied to user '(.*)'@'(.*)' for ", state):
        right, user, host = found[1].strip(), found[2], found[3]
        if user != where.get("user"):  # the account's own rights are another finding
            grant = f"GRANT {right} ON `{settings.database}`.* TO '{user}'@'{host}'"
            return error("definer", state, f"procedures run with the rights of '{user}', which lacks this one: {grant}")
    if number == errorcode.ER_DBACCESS_DENIED_ERROR:
        return error("rights", state, _no_right_on_the_database(settings))
    if number in _UNREACHABLE:
        return error("MySQL", state, f"see that {where.get('host')}:{where.get('port')} answers")
    to_do = _HINTS.get(number or 0, "check mysql_url and mysql_options, and the server's error log")
    known = {name: where.get(name) for name in ("user", "database", "host")}
    return error("MySQL", state, to_do.format(**known))


def definer_is_gone(state: str) -> Finding:
    """Error 1449, which names the account."""
    found = re.search(r"\('(.*)'@'(.*)'\)", state)
    account = f"'{found[1]}'@'{found[2]}'" if found else "that account"
    return error(
        "definer",
        state,
        f"procedures run with the rights of who applied the migrations, and that account is gone: CREATE USER {account}"
        " with the rights that sql/README.md lists (Install), locked if nobody needs to log in",
    )


def inactive_roles(settings: Settings) -> list[str]:
    """The roles of outboxd that the account has, and that are not active when it logs in."""
    arguments = {name: value for name, value in settings.mysql_arguments().items() if name != "database"}
    try:
        with closing(mysql.connector.connect(**arguments)) as session, closing(session.cursor()) as cursor:
            cursor.execute(_ROLES)
            return [str(role) for role, is_default in cursor.fetchall() if not is_default]
    except mysql.connector.Error:
        return []


def _no_right_on_the_database(settings: Settings) -> str:
    user, database = settings.mysql_arguments().get("user"), settings.database
    if roles := inactive_roles(settings):
        return f"{user} has the roles {', '.join(roles)}, but not by default: SET DEFAULT ROLE ALL TO '{user}'"
    return (
        f"apply sql/grants.sql to {database} (if there is such a database), then:"
        f" GRANT outbox_relay, outbox_consumer TO '{user}'; SET DEFAULT ROLE ALL TO '{user}'"
    )
