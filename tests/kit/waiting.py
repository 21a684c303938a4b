"""Waiting for what others do: for a condition, and for a call in a thread."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class NotInTime(AssertionError):
    """What was waited for did not come; the message says what it was."""


def eventually(
    condition: Callable[[], bool],
    seconds: float = 60,
    what: str = "",
    *,
    check: Callable[[], None] = lambda: None,
    pause: float = 0.005,
) -> None:
    """Wait until the condition holds, looking again after each pause. Raises NotInTime after so many seconds.

    `check` is called meanwhile: it raises what makes further waiting useless.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:.0f} s: {what or condition}")
        time.sleep(pause)


@contextmanager
def background(call: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Run a call of another session in a thread; the block gets its future, and leaving the block waits for it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)
