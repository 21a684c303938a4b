"""The development servers: `up` starts them for good, `down` ends them, their data stays."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from . import download, kafka, kafka_install, mysql, mysql_install, process, state
from .errors import ServerError
from .paths import cache_dir
from .progress import say, step

ACCOUNT = "outboxd"
_STOP_DEADLINE_S = {"mysql": mysql.STOP_DEADLINE_S, "kafka": kafka.STOP_DEADLINE_S}


def up(*, with_kafka: bool, mysql_port: int | None, kafka_port: int | None) -> None:
    """Make sure MySQL and Kafka run, and write ``.cache/servers.env``.

    A running server is kept; an ended one is started again on its data, on its port if that is
    free. Everything that can be checked beforehand is, before anything is downloaded or started.
    Raises ServerError if a server cannot be had or an asked port is taken.
    """
    with _locked_state() as path:
        known = state.read(path)
        _check_port("mysql", known.mysql, mysql_port)
        if with_kafka:
            _check_port("kafka", known.kafka, kafka_port)
            _require_kafka()
        if not (path.parent / "mysql").is_dir():
            download.require_disk(path.parent)
        mysql_programs = mysql_install.find()
        kafka_programs = kafka_install.find() if with_kafka else None
        known = _up_mysql(path, known, mysql_programs, mysql_port)
        if kafka_programs is not None:
            known = _up_kafka(path, known, kafka_programs, kafka_port)
        lines = _env_lines(path, known, mysql_programs)
        state.write_private(_env_file(), "".join(f"{line}\n" for line in lines))
    say(f"ready; the addresses are in {_env_file()}")


def down() -> None:
    """End exactly the processes that `up` started; harmless if none runs."""
    with _locked_state() as path:
        known = state.read(path)
        for name in ("kafka", "mysql"):
            server = known.server(name)
            if server is None:
                continue
            if server.runs():
                with step(f"stopping {name}"):
                    process.stop(server.pid, server.identity, _STOP_DEADLINE_S[name])
            if server.socket:
                mysql.remove_socket(Path(server.socket))
                known = known.with_server(name, state.Server(server.pid, server.identity, server.port))
                state.write(path, known)
        _env_file().unlink(missing_ok=True)


def status() -> list[str]:
    """One line about each server."""
    known = state.read(_folder() / "state.json")
    lines = []
    for name in ("mysql", "kafka"):
        server = known.server(name)
        if server is not None and server.runs():
            lines.append(f"{name}: runs on {process.LOOPBACK}:{server.port}, pid {server.pid}")
        else:
            lines.append(f"{name}: does not run")
    return lines


def open_client() -> NoReturn:
    """Become the mysql client, on the database that `up` prepared. Raises ServerError where MySQL does not run."""
    known = state.read(_folder() / "state.json")
    if known.mysql is None or not known.mysql.runs():
        raise ServerError("MySQL does not run; start it with `up`")
    program = str(mysql_install.find().mysql)
    address = [f"--host={process.LOOPBACK}", f"--port={known.mysql.port}", f"--user={ACCOUNT}", ACCOUNT]
    os.execve(program, [program, *address], {**os.environ, "MYSQL_PWD": known.password})


def _folder() -> Path:
    folder = cache_dir() / "servers"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _env_file() -> Path:
    return cache_dir() / "servers.env"


@contextmanager
def _locked_state() -> Iterator[Path]:
    """The path of state.json, while no other process changes it or its servers."""
    folder = _folder()
    with download.locked(folder / "lock"):
        yield folder / "state.json"


def _check_port(name: str, server: state.Server | None, asked: int | None) -> None:
    """Raise ServerError if the server cannot be on the asked port."""
    if asked is None:
        return
    if server is None or not server.runs():
        process.require_free(asked)
    elif server.port != asked:
        raise ServerError(f"{name} runs on port {server.port} already; stop it first with `down`")


def _require_kafka() -> None:
    reason = kafka_install.available()
    if reason is not None:
        raise ServerError(f"{reason}; or use --no-kafka")


def _port(server: state.Server | None, asked: int | None) -> int | None:
    """The asked port, else the one it had before if that is free, else None for any."""
    if asked is None and server is not None and process.port_is_free(server.port):
        return server.port
    return asked


def _up_mysql(path: Path, known: state.State, install: mysql_install.MySQLInstall, asked: int | None) -> state.State:
    if known.mysql is not None and known.mysql.runs():
        return known
    if known.mysql is not None and known.mysql.socket:
        mysql.remove_socket(Path(known.mysql.socket))
    with step("starting MySQL"):
        server = mysql.start(install, path.parent / "mysql", port=_port(known.mysql, asked))
    entry = state.Server(server.pid, server.identity, server.port, str(server.socket))
    known = state.State(entry, known.kafka, known.password or secrets.token_hex(16))
    state.write(path, known)
    return known


def _up_kafka(path: Path, known: state.State, install: kafka_install.KafkaInstall, asked: int | None) -> state.State:
    if known.kafka is not None and known.kafka.runs():
        return known
    with step("starting Kafka"):
        server = kafka.start(install, path.parent / "kafka", port=_port(known.kafka, asked), is_measured=True)
    known = known.with_server("kafka", state.Server(server.pid, server.identity, server.port))
    state.write(path, known)
    return known


def _env_lines(path: Path, known: state.State, install: mysql_install.MySQLInstall) -> list[str]:
    """Prepare the database and give the lines of servers.env for the servers that run."""
    entry = known.mysql
    assert entry is not None
    server = mysql.RunningMySQL(
        pid=entry.pid,
        host=process.LOOPBACK,
        port=entry.port,
        socket=Path(entry.socket),
        data_dir=path.parent / "mysql",
        client=install.mysql,
        identity=entry.identity,
    )
    server.create_database(ACCOUNT, ACCOUNT, known.password)
    lines = [f"OUTBOXD_MYSQL_URL={server.url(ACCOUNT, known.password, ACCOUNT)}"]
    if known.kafka is not None and known.kafka.runs():
        lines.append(f"OUTBOXD_KAFKA_BOOTSTRAP={process.LOOPBACK}:{known.kafka.port}")
    return lines
