"""The daemon's one retry policy: wait for a server that is unavailable, log why once, go on when it is back."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

log = structlog.get_logger()
Result = TypeVar("Result")


class Unavailable(Exception):
    """MySQL or Kafka cannot be reached, or could not finish just now; nothing is lost by trying again.

    announced: the reason is in the log already, and whoever logged it logs the return, too.
    """

    def __init__(self, reason: str, *, announced: bool = False) -> None:
        super().__init__(reason)
        self.announced = announced


def until_available(stop: threading.Event, action: Callable[[], Result]) -> Result:
    """Call action until it does not raise Unavailable, with exponential backoff from 0.1 to 5 seconds.

    Logs each reason once as `unavailable` (after a failover the reason may change: the new server is read-only), and
    then `available`. Raises the last Unavailable once stop is set.
    """
    began = time.monotonic()
    said: set[str] = set()

    def say_once(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if isinstance(error, Unavailable) and not error.announced and str(error) not in said:
            said.add(str(error))
            log.warning("unavailable", reason=str(error))

    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_exponential(multiplier=0.1, max=5) + wait_random(0, 0.1),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=say_once,
        reraise=True,
    )
    result = retrying(action)
    if said:
        log.info("available", after_seconds=round(time.monotonic() - began, 1))
    return result
