"""A value that takes a while to look up: kept, and renewed in a thread when somebody asks for it and it is old."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()

Value = TypeVar("Value")
_LATEST = 5
LOOKS = "looks"
"""The name of the threads that look values up."""


class Renewed(Generic[Value]):
    """The value that was looked up last. Nobody asks: nothing is looked up."""

    def __init__(self, least_seconds: float, share: float) -> None:
        """least_seconds: its age, at least, when it is looked up again; share: of the time, that looking may take."""
        self._least_seconds = least_seconds
        self._share = share
        self._lock = threading.Lock()
        self._is_looking = False
        self._is_there = threading.Event()
        self._value: Value | None = None
        self._renew_at = 0.0
        self._took: deque[float] = deque(maxlen=_LATEST)
        self.seconds = least_seconds
        """After how many seconds it is renewed."""
        self.problem = ""
        """Why it could not be looked up the last time."""

    def get(self, look: Callable[[], Value], wait_seconds: float) -> Value | None:
        """The value; where it is old, `look` is called in a thread. Waits a moment for the first one.

        None: there is none yet. What `look` raises is `problem`, and the value stays as it is.
        """
        with self._lock:
            if not self._is_looking and time.monotonic() >= self._renew_at:
                self._is_looking = True
                # In the context of whoever asks: log lines have the name of the database.
                renewing = copy_context()
                threading.Thread(target=renewing.run, args=(self._renew, look), name=LOOKS, daemon=True).start()
        self._is_there.wait(wait_seconds)
        return self._value

    def _renew(self, look: Callable[[], Value]) -> None:
        began = time.monotonic()
        try:
            self._value, self.problem = look(), ""
            self._is_there.set()
        except Exception as error:
            if not self.problem:
                log.warning("not looked up", reason=str(error))
            self.problem = str(error) or repr(error)
        finally:
            # The quickest of the last few: what it costs, without what it has waited for others.
            self._took.append(time.monotonic() - began)
            self.seconds = max(self._least_seconds, min(self._took) / self._share)
            self._renew_at = began + self.seconds
            self._is_looking = False
