"""What an idle daemon costs."""

import time
from dataclasses import asdict, dataclass

from tests.bench import cpu, daemon
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage

_KEY = "idle_cpu"


@dataclass(frozen=True, slots=True)
class _Idle:
    """Shares of one core."""

    mysqld_alone: float
    mysqld: float
    daemon: float
    kafka_added: float


def _sample(stage: Stage) -> _Idle:
    stage.clear()
    stage.settle()
    groups = {"mysqld": [stage.mysql.pid], "kafka": [stage.kafka.pid]}
    alone = _shares(stage, groups)
    topic = stage.new_topic()
    with daemon.run(stage, topic) as daemons:
        daemons.wait_until_shared()
        used = _shares(stage, groups | {"daemon": daemons.pids})
        daemons.check()
    return _Idle(alone["mysqld"], used["mysqld"], used["daemon"], used["kafka"] - alone["kafka"])


def _shares(stage: Stage, groups: cpu.Groups) -> dict[str, float]:
    before = cpu.now(groups)
    time.sleep(stage.sizes.idle_seconds)
    return before.cores_until(cpu.now(groups))


def _summarise(samples: list[_Idle]) -> Result:
    (idle,) = samples
    added = idle.mysqld - idle.mysqld_alone
    note = f"of one core: daemon {idle.daemon:.4f}, mysqld {added:.4f} more than its {idle.mysqld_alone:.4f}"
    return Result({_KEY: round(idle.daemon + added, 4)}, {_KEY: note}, {_KEY: {"mysqld_added": added, **asdict(idle)}})


MEASUREMENT = Measurement(keys=(_KEY,), title="CPU of an idle daemon", sample=_sample, summarise=_summarise)
