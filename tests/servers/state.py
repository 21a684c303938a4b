"""What `up` remembers: which processes it started, on which ports, and the account's password."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import process
from .errors import ServerError


@dataclass(frozen=True)
class Server:
    """One server as last started; `identity` tells its process from a later one with the same pid."""

    pid: int
    identity: str
    port: int
    socket: str = ""

    def runs(self) -> bool:
        """Whether exactly this process still runs."""
        return process.identity(self.pid) == self.identity


@dataclass(frozen=True)
class State:
    """The content of state.json. Ended servers stay in it, for the sake of their ports."""

    mysql: Server | None = None
    kafka: Server | None = None
    password: str = ""

    def with_server(self, name: str, server: Server) -> "State":
        """A copy in which the server `name` (mysql or kafka) is `server`."""
        return replace(self, mysql=server) if name == "mysql" else replace(self, kafka=server)

    def server(self, name: str) -> Server | None:
        """The server `name` (mysql or kafka)."""
        return self.mysql if name == "mysql" else self.kafka


def read(path: Path) -> State:
    """Read state.json; a missing one is the empty state. Raises ServerError for a damaged one."""
    try:
        content = json.loads(path.read_text())
        servers = {name: Server(**content[name]) if content[name] else None for name in ("mysql", "kafka")}
        return State(servers["mysql"], servers["kafka"], str(content["password"]))
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"{path} is damaged; end its servers by hand, then remove it") from None


def write(path: Path, state: State) -> None:
    """Write state.json, readable for its owner only: it holds a password."""
    write_private(path, json.dumps(asdict(state), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, with mode 0600: no reader ever sees a half of it."""
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(fresh, path)
