"""The daemon's one retry policy: wait for a server that is unavailable, log why once, go on when it is back."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

log = structlog.get_logger()
Result = TypeVar("Result")
_SAID_AGAIN_SECONDS = 60


class Unavailable(Exception):
    """MySQL or Kafka cannot be reached, or could not finish just now; nothing is lost by trying again.

    announced: the reason is in the log already, and whoever logged it logs the return, too.
    """

    def __init__(self, reason: str, *, announced: bool = False) -> None:
        super().__init__(reason)
        self.announced = announced


class TooLarge(Unavailable):
    """MySQL could not finish because of the transaction's size; for fewer messages it may go through."""


class Trouble:
    """What keeps one thing from being done: tells each reason in the log, and that it is over."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said: dict[str, float] = {}

    def tell(self, error: Unavailable) -> None:
        """Log the reason as `unavailable`, once a minute: it may change, as when the next server is read-only."""
        now = time.monotonic()
        if not error.announced and now - self._said.get(str(error), -_SAID_AGAIN_SECONDS) >= _SAID_AGAIN_SECONDS:
            self._said[str(error)] = now
            log.warning("unavailable", reason=str(error))

    def is_over(self) -> None:
        """Log `available`, if anything was told."""
        if self._said:
            log.info("available", after_seconds=round(time.monotonic() - self._began, 1))


def until_available(
    stop: threading.Event,
    action: Callable[[], Result],
    told: Callable[[str], None] = lambda _: None,
    *,
    raises_too_large: bool = False,
) -> Result:
    """Call action until it does not raise Unavailable, with exponential backoff from 0.1 to 5 seconds.

    Logs why not, and when it is over, see Trouble; `told` gets the reason after every attempt. Raises the last
    Unavailable once stop is set; and TooLarge at once, where the caller can divide what it asks for (raises_too_large).
    """
    trouble = Trouble()

    def say(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if isinstance(error, Unavailable):
            told(str(error))
            trouble.tell(error)

    def is_worth_it(error: BaseException) -> bool:
        return isinstance(error, Unavailable) and not (raises_too_large and isinstance(error, TooLarge))

    retrying = Retrying(
        retry=retry_if_exception(is_worth_it),
        wait=wait_exponential(multiplier=0.1, max=5) + wait_random(0, 0.1),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=say,
        reraise=True,
    )
    result = retrying(action)
    trouble.is_over()
    return result
