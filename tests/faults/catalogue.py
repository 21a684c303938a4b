"""All faults, by group and name, in the sizes of a full run."""

from tests.faults.daemons import faults as daemon_faults
from tests.faults.fleet import faults as fleet_faults
from tests.faults.input import bad_handlers, foreign, handler_locks, inputs, sizes
from tests.faults.kafka import faults as kafka_faults
from tests.faults.keys import delays, order, slots
from tests.faults.keys.slots import Change
from tests.faults.mysql import faults as mysql_faults
from tests.faults.network import faults as network_faults
from tests.faults.report import Run

_GENTLE = [Change(starts=16), Change(stops=7), Change(starts=3), Change(stops=8, starts=8)]
_ROUGH = [Change(kills=5), Change(starts=4), Change(kills=6), Change(starts=11, stops=2, kills=2), Change(kills=8)]

GROUPS: dict[str, dict[str, Run]] = {
    "keys": {
        "order": lambda stage, seed: order.run(stage, seed, order.Size(12_000, applications=8))[1],
        "disorder": lambda stage, seed: order.run(stage, seed, order.Size(2_000), ordering="none")[1],
        "stuck": lambda stage, _: delays.stuck_keys(stage, 1000),
        "slow": lambda stage, _: delays.slow_key(stage, 300, 0.2),
    },
    "slots": {
        "sharing": lambda stage, seed: slots.sharing(stage, seed, _GENTLE, _ROUGH, 6_000),
        "frozen": lambda stage, _: slots.frozen(stage, 900),
        "hot": lambda stage, _: slots.batches(stage, 20_000, 1),
        "wide": lambda stage, _: slots.batches(stage, 100_000, 100_000),
    },
    "daemon": daemon_faults.FAULTS,
    "kafka": kafka_faults.FAULTS,
    "mysql": mysql_faults.FAULTS,
    "fleet": fleet_faults.FAULTS,
    "network": network_faults.FAULTS,
    "input": {
        "payloads": lambda stage, _: inputs.payloads(stage),
        "sizes": lambda stage, _: sizes.sizes(stage),
        "packets": lambda stage, _: sizes.packets(stage),
        "names": lambda stage, _: inputs.names(stage),
        "foreign-records": lambda stage, _: foreign.foreign_records(stage),
        "handlers": lambda stage, _: bad_handlers.handlers(stage),
        "deadlocks": lambda stage, _: handler_locks.deadlocks(stage, 5),
        "lock-waits": lambda stage, _: handler_locks.lock_waits(stage),
        "long-work": lambda stage, _: handler_locks.long_work(stage, 1.0),
    },
}


def find(words: list[str]) -> dict[str, Run]:
    """The faults of these names, or of these groups; all where there is none. Raises KeyError for an unknown word."""
    every = {name: run for group in GROUPS.values() for name, run in group.items()}
    found: dict[str, Run] = {}
    for word in words or GROUPS:
        found |= GROUPS[word] if word in GROUPS else {word: every[word]}
    return found
