"""MySQL Router in front of servers: found in PATH, or fetched from the distribution's packages without root."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from . import apt, process
from .errors import ServerError

_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 5.0
_LIBRARIES = ("lib/*-linux-gnu*", "usr/lib/*-linux-gnu*", "usr/lib/mysql-router")

# Nobody is locked out for connections that broke.
_CONFIG = """\
[DEFAULT]
plugin_folder={plugins}
logging_folder={folder}
runtime_folder={folder}
data_folder={folder}
keyring_path={folder}/keyring
unknown_config_option=error

[logger]
level=INFO

[routing:outbox]
bind_address={host}
bind_port={port}
destinations={destinations}
routing_strategy={strategy}
protocol=classic
client_ssl_mode=PASSTHROUGH
server_ssl_mode=AS_CLIENT
connect_timeout=2
max_connect_errors=1000000
"""


FIRST = "next-available"
"""To the first, and for good to the next one once that cannot be reached: a source that comes back gets nothing."""
IN_TURN = "round-robin"
"""To each in turn."""


class Router:
    """Leads every connection to one of the servers, by a strategy."""

    host = process.LOOPBACK

    def __init__(self, folder: Path, ports: Sequence[int], strategy: str = FIRST) -> None:
        self._strategy = strategy
        self.port = process.lasting_port()
        self._folder = folder
        self._ports = ports
        self._process: tuple[int, str] | None = None

    def start(self) -> None:
        """Start it. Raises ServerError where it cannot be had, or does not listen within a deadline."""
        command, plugins = _find()
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "mysqlrouter.conf"
        destinations = ",".join(f"{self.host}:{port}" for port in self._ports)
        config.write_text(
            _CONFIG.format(
                plugins=plugins,
                folder=self._folder,
                host=self.host,
                port=self.port,
                destinations=destinations,
                strategy=self._strategy,
            )
        )
        log = self._folder / "output.log"
        pid = process.spawn([*command, f"--config={config}"], log)
        self._process = pid, process.identity(pid) or ""
        end = monotonic() + _START_DEADLINE_S
        while process.port_is_free(self.port):
            process.pause(pid, "MySQL Router", end, log)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            process.stop(*self._process, _STOP_DEADLINE_S)
            self._process = None


def _find() -> tuple[Sequence[str], Path]:
    """The first words of its command line, and the folder of its plugins."""
    found = shutil.which("mysqlrouter")
    if found:
        prefix = Path(found).resolve().parent.parent
        with suppress(StopIteration):
            return [found], next(prefix.glob("lib*/mysqlrouter/plugin"), None) or next(prefix.glob("lib*/mysqlrouter"))
    if apt.source().vendor != "debian":
        raise ServerError("no mysqlrouter in PATH: install MySQL Router")
    root = apt.fetched("mysql-router", ["mysql-router"], "MySQL Router") / "root"
    folders = [folder for pattern in _LIBRARIES for folder in root.glob(pattern)]
    loader = next(file for folder in folders for file in sorted(folder.glob("ld*.so.*")))
    command = [str(loader), "--library-path", os.pathsep.join(map(str, folders)), str(root / "usr/bin/mysqlrouter")]
    return command, root / "usr/lib/mysqlrouter/plugin"
