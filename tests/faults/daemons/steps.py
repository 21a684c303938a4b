"""Fault points of the daemon: steps of a round at which its process stops or kills itself, as the launcher says."""

import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import structlog
from confluent_kafka import Consumer

from outboxd.messages import Arrival, Consumption, Message, Receipt
from outboxd.mysql.procedures import ConsumerProcedures, RelayProcedures

RELAY_STEPS = ("claim", "produce", "acknowledgement", "mark")
"""The claim's first row is read; the batch is produced; it is answered and not yet marked; it is marked."""
BEFORE_MARK = RELAY_STEPS[:3]
CONSUMER_STEPS = ("poll", "consumption", "offsets")
"""Records are read and not yet handed to the procedure; it has committed, and the offsets not; they are stored."""
STOPPED, KILLED = "stops", "dies"
"""What is logged before the process does so, with the step as the member `after`."""

Reached = Callable[[str], None]
log = structlog.get_logger()


class Steps:
    """Decides at each step whether the process ends, stops, or goes on."""

    def __init__(self, seed: str, stop_after: str, stop_one_in: int, kill_one_in: int) -> None:
        self._chance = random.Random(seed)
        self._stop_after, self._stop_one_in, self._kill_one_in = stop_after, stop_one_in, kill_one_in
        self._workers = threading.Lock()

    def reached(self, step: str) -> None:
        """A worker has come to a step."""
        with self._workers:
            if self._is_drawn(self._kill_one_in):
                _end(KILLED, step, signal.SIGKILL)
            if step == self._stop_after or self._is_drawn(self._stop_one_in):
                self._stop_after = ""
                _end(STOPPED, step, signal.SIGSTOP)

    def _is_drawn(self, one_in: int) -> bool:
        return one_in > 0 and self._chance.randrange(one_in) == 0


def relaying(reached: Reached) -> type[RelayProcedures]:
    """The relay's connection."""

    class Relaying(RelayProcedures):
        def claim(self, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
            claimed = 0
            for message in super().claim(relay, limit, lease_seconds, wait_ms):
                claimed += 1
                if claimed == 1:
                    reached("claim")
                yield message
            if claimed:
                reached("produce")

        def mark_published_batch(self, relay: str, receipts: Sequence[Receipt]) -> int:
            if not receipts:
                return 0
            reached("acknowledgement")
            marked = super().mark_published_batch(relay, receipts)
            reached("mark")
            return marked

    return Relaying


def consuming(reached: Reached) -> type[ConsumerProcedures]:
    """The consumer's connection."""

    class Consuming(ConsumerProcedures):
        def consume(self, arrivals: Iterable[Arrival]) -> Consumption:
            reached("poll")
            done = super().consume(arrivals)
            reached("consumption")
            return done

    return Consuming


def committing(reached: Reached) -> type[Consumer]:
    """The consumer's Kafka client."""

    class Committing(Consumer):
        def store_offsets(self, *arguments: Any, **more: Any) -> None:
            super().store_offsets(*arguments, **more)
            reached("offsets")

    return Committing


def _end(what: str, step: str, number: signal.Signals) -> None:
    log.debug(what, after=step)
    # To this thread: the process as a whole would get it a little later, and the thread be past the step.
    signal.pthread_kill(threading.get_ident(), number)
