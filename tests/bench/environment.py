"""What a run was made with: machine, versions, settings and sizes."""

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import confluent_kafka
import psutil

from outboxd.settings import Settings
from tests.bench import cpu
from tests.bench.stage import Stage
from tests.servers import kafka_install

_VARIABLES = (
    "version",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
    "log_bin",
    "binlog_format",
    "innodb_flush_method",
    "innodb_buffer_pool_size",
    "innodb_redo_log_capacity",
    "transaction_isolation",
)
_DAEMON_SETTINGS = ("relay_workers", "consumer_workers", "batch_size", "lease_seconds", "wait_ms")
_COMMITS = 50


def describe(stage: Stage, chat_file: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Everything that another run would have to have in common with this one."""
    with stage.connect() as session:
        rows = session.rows("SHOW GLOBAL VARIABLES")
        variables = {row["Variable_name"]: row["Value"] for row in rows if row["Variable_name"] in _VARIABLES}
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name in _DAEMON_SETTINGS}
    return {
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": cpu.cores(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "commit_ms": _commit_ms(stage),
        },
        "versions": {
            "mysql": variables.pop("version"),
            "kafka": kafka_install.kafka_version(),
            "python": platform.python_version(),
            "mysql-connector-python": version("mysql-connector-python"),
            "confluent-kafka": version("confluent-kafka"),
            "librdkafka": confluent_kafka.libversion()[0],
        },
        "mysql": variables,
        "daemon": defaults | stage.settings,
        "chat": chat_file.name,
        "sizes": asdict(stage.sizes),
        "measured": list(keys),
    }


def _commit_ms(stage: Stage) -> float:
    """The median time of a commit that changes one row: what this machine's disk costs each of them."""
    stage.settle()
    times: list[float] = []
    with stage.connect() as session:
        for number in range(_COMMITS):
            started = time.monotonic()
            session.execute("UPDATE outbox_slots SET relay = %s WHERE slot = 0", str(number))
            times.append(time.monotonic() - started)
    return round(median(times) * 1000, 3)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
