"""Starts the real daemon with faults inside: ``python -m tests.faults.launcher run ...`` is ``outboxd run ...``.

$FAULTS says which faults: a JSON object of the members of ``Faults``. Nothing of the daemon is changed: it gets
a Kafka client that refuses records, connections that stop or kill the process at a step, or another name.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from outboxd.commands.main import main as run_command
from outboxd.daemon import consumer, delivery, relay, supervisor
from outboxd.kafka import producer
from outboxd.observe.health import Pulse
from tests.faults import refusals
from tests.faults.daemons import steps
from tests.faults.daemons.steps import Steps

VARIABLE = "FAULTS"
STEPS = steps.BEFORE_MARK


@dataclass(frozen=True, slots=True)
class Faults:
    """What to do.

    Refuse one in so many records, but at_most so many; refuse a key. Stop once, the first time after one of the steps;
    stop or kill the process at one in so many steps. Have the setting `name`, or be the relay `relay` whatever process
    else is it.
    """

    seed: str = ""
    refuse_one_in: int = 0
    refuse_at_most: int = 1_000_000
    refuse_key: str = ""
    stop_after: str = ""
    stop_one_in: int = 0
    kill_one_in: int = 0
    name: str = ""
    relay: str = ""

    def to_json(self) -> str:
        """As $FAULTS has it."""
        return json.dumps(asdict(self))


def main() -> None:
    """Run the command `outboxd` with the faults of $FAULTS."""
    faults = Faults(**json.loads(os.environ[VARIABLE]))
    if faults.refuse_one_in or faults.refuse_key:
        chooser = refusals.Chooser(faults.seed, faults.refuse_one_in, faults.refuse_at_most, faults.refuse_key)
        vars(producer)["Producer"] = refusals.refusing(chooser)
    if faults.stop_after or faults.stop_one_in or faults.kill_one_in:
        reached = Steps(faults.seed, faults.stop_after, faults.stop_one_in, faults.kill_one_in).reached
        vars(relay)["RelayProcedures"] = steps.relaying(reached)
        vars(delivery)["ConsumerProcedures"] = steps.consuming(reached)
        vars(consumer)["KafkaConsumer"] = steps.committing(reached)
    if faults.name:
        os.environ["OUTBOXD_NAME"] = faults.name
    if faults.relay:
        vars(supervisor)["Relay"] = _under_one_name(faults.relay)
    run_command()


def _under_one_name(name: str) -> Any:
    """The relay, which gets this name instead of the daemon's own; the worker's number stays."""

    def named(database: Any, own_name: str, pulse: Pulse) -> relay.Relay:
        return relay.Relay(database, f"{name}-{own_name.rpartition('-')[2]}", pulse)

    return named


if __name__ == "__main__":
    main()
