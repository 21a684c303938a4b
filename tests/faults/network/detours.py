"""Ways through proxies from the daemons to MySQL, and to every Kafka node."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.faults.network.proxy import Proxy
from tests.faults.stage import GROUP, Stage
from tests.kit.command import Setting
from tests.servers import process

# What does not answer for so long is given up: less than the defaults, which would take minutes of every run.
_PATIENCE: dict[str, Setting] = {"stall_seconds": 5, "kafka_options": {**GROUP, "socket.timeout.ms": 10_000}}


@dataclass(frozen=True, slots=True)
class Where:
    """To which servers the network is bad."""

    mysql: bool = True
    kafka: bool = True

    def __str__(self) -> str:
        """As in a report."""
        return " and ".join(name for name, is_bad in [("MySQL", self.mysql), ("Kafka", self.kafka)] if is_bad)


MYSQL, KAFKA, BOTH = Where(kafka=False), Where(mysql=False), Where()


@contextmanager
def detours(stage: Stage, where: Where, seed: int) -> Iterator[tuple[list[Proxy], dict[str, Setting]]]:
    """Proxies before the servers, and the settings that lead daemons through them."""
    proxies: list[Proxy] = []
    settings: dict[str, Setting] = dict(_PATIENCE)
    with ExitStack() as stack:
        if where.mysql:
            proxy = stack.enter_context(Proxy(stage.mysql.port, process.lasting_port(), str(seed)))
            proxies.append(proxy)
            settings["mysql_options"] = {"port": proxy.port}
        if where.kafka:
            ports = [stage.kafka.detour(node) for node in stage.kafka.nodes]
            proxies += [stack.enter_context(Proxy(target, told, str(seed))) for told, target in ports]
            settings["kafka_bootstrap"] = ",".join(f"{process.LOOPBACK}:{told}" for told, _ in ports)
        yield proxies, settings
