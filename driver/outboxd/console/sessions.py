"""Who is logged in: a session is a MySQL account, with connections of its own.

The password is not kept: it is encrypted with a one-time pad that is in the browser's cookie, and that this process
does not keep either. So what is in memory between two requests gives nobody a password, whatever is tried on it. With
both, the console connects again after MySQL was away, and closes connections that nobody uses.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from outboxd.console.jobs import Jobs
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings, SettingsError

IDLE_SECONDS = 3600
"""A session ends when it was not used for so long; a page that is open and looked at uses it."""
LONGEST_SECONDS = 12 * 3600
"""A session ends after so long, whatever is done."""
_MOST = 200
_MOST_OF_AN_ACCOUNT = 20
_CONNECTIONS = 3
_IDLE_CONNECTION_SECONDS = 60
_ANSWER_SECONDS = 20
_KEY_BYTES = 32
_PAD_BYTES = 256
"""As long as any password that MySQL takes."""
# What does not tell who somebody is: neither another password, nor a certificate or a socket of the console's own.
_OPTIONS = {
    *("ssl_ca", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity", "tls_versions", "tls_ciphersuites"),
    *("connection_timeout", "read_timeout", "write_timeout", "compress", "force_ipv6", "use_pure"),
}


def check(settings: Settings) -> None:
    """Raise SettingsError where people could not log in as themselves."""
    if "unix_socket" in settings.mysql_options:
        raise SettingsError(
            "setting mysql_options: unix_socket is not for the console: through it the server may take whoever logs in"
            " for the account of the console's own process"
        )


def settings_of(settings: Settings, account: str, password: str) -> Settings:
    """The settings with this account in place of the configured one, whose rights nobody gets."""
    url = urlsplit(settings.mysql_url)
    where = url.netloc.rpartition("@")[2]
    own = f"mysql://{quote(account, safe='')}:{quote(password, safe='')}@{where}{url.path}"
    options = {name: value for name, value in settings.mysql_options.items() if name in _OPTIONS}
    changes = {"mysql_url": own, "mysql_options": options, "stall_seconds": _ANSWER_SECONDS, "wait_ms": 0}
    return settings.model_copy(update=changes)


class Session:
    """One person's login. Its connections are used by one request each, and made anew from the sealed password."""

    def __init__(self, settings: Settings, key: bytes, account: str, password: str) -> None:
        self.account = account
        self.csrf = secrets.token_urlsafe(32)
        self.is_operator = False
        """Whether it may read what operators read: what is offered to it. What it may do, MySQL says each time."""
        self.jobs = Jobs()
        self.began = self.used = time.monotonic()
        self._settings = settings
        self._sealed = _with_pad(key, password.encode().ljust(_PAD_BYTES, b"\0"))
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, OperatorProcedures]] = []
        self._is_over = False

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        now = time.monotonic()
        return self._is_over or now - self.used > IDLE_SECONDS or now - self.began > LONGEST_SECONDS

    def connect(self, key: bytes, *, answers_in_time: bool = True) -> OperatorProcedures:
        """A connection that is the caller's own; it connects when it is first used."""
        password = _with_pad(key, self._sealed).rstrip(b"\0").decode()
        own = settings_of(self._settings, self.account, password)
        return OperatorProcedures(own, answers_in_time=answers_in_time)

    @contextmanager
    def database(self, key: bytes) -> Iterator[OperatorProcedures]:
        """Lend a connection, which may have been used before; a few at once, others wait."""
        with self._free:
            with self._lock:
                database = self._idle.pop()[1] if self._idle else None
            database = database or self.connect(key)
            try:
                yield database
            except BaseException:
                database.close()
                raise
            with self._lock:
                if database.is_connected and not self._is_over:
                    self._idle.append((time.monotonic(), database))
                    return
            database.close()

    def close_idle(self, seconds: float = 0) -> None:
        """Close the connections that were not used for so long."""
        until = time.monotonic() - seconds
        with self._lock:
            closing = [database for used, database in self._idle if used <= until]
            self._idle = [(used, database) for used, database in self._idle if used > until]
        for database in closing:
            database.close()

    def end(self) -> None:
        """Close all; what it has begun goes on to its end."""
        self._is_over = True
        self.close_idle()


class Sessions:
    """All sessions, by a hash of the key that their browsers have."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}

    def log_in(
        self, account: str, password: str, try_it: Callable[[OperatorProcedures], bool]
    ) -> tuple[bytes, Session]:
        """Log in to MySQL; returns the key for the cookie, and the session.

        try_it says whether the account is an operator's. Raises what it raises, and errors of MySQL.
        """
        if len(password.encode()) > _PAD_BYTES or "\0" in password:
            raise SettingsError("no account of MySQL has such a password")
        key = secrets.token_bytes(_KEY_BYTES + _PAD_BYTES)
        session = Session(self._settings, key, account, password)
        with session.database(key) as database:
            session.is_operator = try_it(database)
        with self._lock:
            self._make_room(account)
            self._sessions[_name(key)] = session
        return key, session

    def find(self, key: bytes) -> Session | None:
        """The session of a cookie; None: there is none, or it is over."""
        session = self._sessions.get(_name(key))
        if session is None or session.is_expired:
            return None
        session.used = time.monotonic()
        return session

    def log_out(self, key: bytes) -> None:
        """End a session."""
        with self._lock:
            session = self._sessions.pop(_name(key), None)
        if session:
            session.end()

    def tidy(self) -> None:
        """End what has expired, and close connections that nobody uses."""
        with self._lock:
            sessions = list(self._sessions.items())
        for name, session in sessions:
            session.close_idle(_IDLE_CONNECTION_SECONDS)
            if session.is_expired:
                self._end(name)

    def close(self) -> None:
        """End all, and stop what they have begun."""
        for name, session in list(self._sessions.items()):
            session.jobs.stop()
            self._end(name)

    def _end(self, name: bytes) -> None:
        session = self._sessions.pop(name, None)
        if session:
            session.end()

    def _make_room(self, account: str) -> None:
        """End the sessions that were not used for longest, where there are too many."""
        by_use = sorted(self._sessions.items(), key=lambda item: item[1].used)
        own = [name for name, session in by_use if session.account == account]
        for name in own[: max(0, len(own) + 1 - _MOST_OF_AN_ACCOUNT)]:
            self._end(name)
        for name, _ in by_use[: max(0, len(self._sessions) + 1 - _MOST)]:
            self._end(name)


def _name(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _with_pad(key: bytes, text: bytes) -> bytes:
    """Encrypts, and decrypts. The pad is random, as long as the text, and used for this text alone."""
    return bytes(letter ^ pad for letter, pad in zip(text, key[_KEY_BYTES:], strict=True))
