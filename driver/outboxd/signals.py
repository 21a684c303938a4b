"""Signals: a thread of their own takes them, from the first moment on.

A handler of Python's would wait for the end of a call that is under way, and run in the middle of a log line. And
the kernel ignores SIGTERM for the first process of a container, unless the process says what it does.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

_GIVEN_UP_SECONDS = 5
_ENDS = {signal.SIGTERM, signal.SIGINT}
_ALL = _ENDS | {signal.SIGHUP}


def end_on_sigterm() -> None:
    """End the process at once when SIGTERM comes. To be called, as those below, before there are other threads."""
    _take({signal.SIGTERM}, _end)


def interrupt_on_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does, and end the process where that takes more than 5 seconds."""
    _take({signal.SIGTERM}, _interrupt)


def call_on_ending(end: Callable[[signal.Signals], None], reload: Callable[[], None] | None = None) -> None:
    """Call `end` in the signals' thread when SIGTERM or SIGINT (Ctrl-C) comes, and do nothing else.

    Where there is a `reload`, it is called on SIGHUP.
    """
    if reload is None:
        _take(_ENDS, end)
    else:
        _take(_ALL, lambda number: reload() if number == signal.SIGHUP else end(number))


def _end(number: signal.Signals) -> None:
    os._exit(128 + number)


def _interrupt(number: signal.Signals) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(_GIVEN_UP_SECONDS)
    _end(number)


_act: Callable[[signal.Signals], None] = _end


def _take(numbers: set[signal.Signals], act: Callable[[signal.Signals], None]) -> None:
    global _act  # noqa: PLW0603
    _act = act
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    if not _taking.is_alive():
        _taking.start()


def _wait() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    while True:
        number = signal.sigwait(_ALL)
        _act(signal.Signals(number))


_taking = threading.Thread(target=_wait, name="signals", daemon=True)
