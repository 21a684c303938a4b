"""Starts the real daemon with faults inside: ``python -m tests.faults.launcher run ...`` is ``outboxd run ...``.

Which faults is told by $FAULTS, a JSON object of the members of ``Faults``. Nothing of the daemon is changed: it gets
a Kafka client that refuses records, or a connection that stops the process at a step of the relay's round.
"""

import json
import os
import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, Producer

from outboxd import cli, publisher, relay
from outboxd.database import Database, Message, Receipt

VARIABLE = "FAULTS"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Faults:
    """What to do: refuse one in so many records, but at_most so many; refuse a key; stop after one of STEPS."""

    seed: str = ""
    refuse_one_in: int = 0
    refuse_at_most: int = 1_000_000
    refuse_key: str = ""
    stop_after: str = ""

    def to_json(self) -> str:
        """As $FAULTS has it."""
        return json.dumps(asdict(self))


STEPS = ("claim", "produce", "acknowledgement")
"""After the claim's first row is read; when the whole batch is produced; when it is answered and not yet marked."""


def main() -> None:
    """Run the command `outboxd` with the faults of $FAULTS."""
    faults = Faults(**json.loads(os.environ[VARIABLE]))
    if faults.refuse_one_in or faults.refuse_key:
        vars(publisher)["Producer"] = _refusing(faults)
    if faults.stop_after:
        vars(relay)["Database"] = _stopping(faults.stop_after)
    cli.main()


def _refusing(faults: Faults) -> type[Producer]:
    chance = random.Random(faults.seed)
    refused_once: set[bytes] = set()

    class Refusing(Producer):
        """Refuses records as a broker with a create-policy would: the record's callback gets the error, later."""

        def __init__(self, configuration: dict[str, Any]) -> None:
            super().__init__(configuration)
            self._refused: list[Any] = []
            self._chosen = 0

        def produce(self, *topic: Any, **record: Any) -> None:
            if self._refuses(record):
                self._refused.append(record["on_delivery"])
            else:
                super().produce(*topic, **record)

        def poll(self, timeout: float = -1) -> int:
            refused = self._answer_refused()
            return refused + int(super().poll(0 if refused else timeout))

        def flush(self, timeout: float = -1) -> int:
            return int(super().flush(0 if self._answer_refused() else timeout))

        def _answer_refused(self) -> int:
            refused, self._refused = self._refused, []
            for on_delivery in refused:
                on_delivery(KafkaError(KafkaError.POLICY_VIOLATION, "injected"), None)
            return len(refused)

        def purge(self, *options: Any, **more: Any) -> None:
            self._refused.clear()
            super().purge(*options, **more)

        def _refuses(self, record: dict[str, Any]) -> bool:
            event = dict(record["headers"])["ce_id"]
            # A record that was refused in a batch is sent once more, alone, and has to be refused again.
            if event in refused_once:
                refused_once.remove(event)
                return True
            if record["key"] == faults.refuse_key:
                return True
            is_chosen = faults.refuse_one_in > 0 and chance.randrange(faults.refuse_one_in) == 0
            if is_chosen and self._chosen < faults.refuse_at_most:
                self._chosen += 1
                refused_once.add(event)
                log.debug("injected", id=event)
                return True
            return False

    return Refusing


def _stopping(step: str) -> type[Database]:
    stopped = False

    def stop_after(reached: str) -> None:
        nonlocal stopped
        if reached == step and not stopped:
            stopped = True
            log.debug("stops", after=step)
            os.kill(os.getpid(), signal.SIGSTOP)

    class Stopping(Database):
        """Stops the whole process once, at one step of the first round that has work."""

        def claim(self, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
            claimed = 0
            for message in super().claim(relay, limit, lease_seconds, wait_ms):
                claimed += 1
                if claimed == 1:
                    stop_after("claim")
                yield message
            if claimed:
                stop_after("produce")

        def mark_published(self, relay: str, receipts: Sequence[Receipt]) -> int:
            stop_after("acknowledgement")
            return super().mark_published(relay, receipts)

    return Stopping


if __name__ == "__main__":
    main()
