"""The one retry policy of the driver: wait for a server that is away, say so once, go on when it is back."""

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

log = structlog.get_logger()
Result = TypeVar("Result")


class Unavailable(Exception):
    """MySQL or Kafka cannot be reached, or could not finish just now; nothing is lost by trying again."""


def until_available(stop: threading.Event, action: Callable[[], Result]) -> Result:
    """Call action until it does not raise Unavailable, with exponential backoff from 0.1 to 5 seconds.

    The first failure is logged, and the return. Once stop is set the last Unavailable is raised.
    """

    def say_once(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            log.warning("waiting", reason=str(state.outcome.exception()))

    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_exponential_jitter(initial=0.1, max=5, jitter=0.1),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=say_once,
        reraise=True,
    )
    result = retrying(action)
    if retrying.statistics.get("attempt_number", 1) > 1:
        log.info("back", after_seconds=round(retrying.statistics["delay_since_first_attempt"], 1))
    return result
