"""A fleet in one daemon: what many idle tenants cost, and how shards on servers of their own add up."""

import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from tests.bench import cpu
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import BenchError, Stage
from tests.kit.command import Setting
from tests.kit.daemon import Daemon
from tests.kit.server import Server
from tests.kit.session import CHAT, Session, chat_payload
from tests.servers import mysql, mysql_install

_CPU, _MB, _SHARDS = "fleet_idle_cpu", "fleet_idle_mb", "fleet_shards_per_s"
_REST_SECONDS = 3
_PATIENCE_S = 180.0
_CONNECTIONS = "SELECT COUNT(*) FROM performance_schema.processlist WHERE user = 'outboxd'"


@dataclass(frozen=True, slots=True)
class _Idle:
    """What a daemon with so many tenants of one server needs while all rest; cores, megabytes, seconds."""

    tenants: int
    daemon_cores: float
    mysqld_cores: float
    mysqld_alone_cores: float
    daemon_mb: float
    threads: int
    connections: int
    first_message_seconds: float


@contextmanager
def _daemon(
    stage: Stage, topic: str, urls: Mapping[str, str], settings: Mapping[str, Setting], processes: int = 1
) -> Iterator[Sequence[Daemon]]:
    """Daemons with a table for each database, started."""
    folder = stage.folder / topic
    folder.mkdir()
    tables = [f'[databases.{name}]\nmysql_url = "{url}"\n' for name, url in urls.items()]
    (folder / "outboxd.toml").write_text("".join(tables), encoding="utf-8")
    base = {name: value for name, value in stage.daemon_settings(topic).items() if name != "mysql_url"}
    started = [
        Daemon(
            folder,
            {**base, **settings},
            command=(sys.executable, "-m", "outboxd"),
            variables={"PYTHONPATH": str(stage.code)},
        )
        for _ in range(processes)
    ]
    try:
        for daemon in started:
            daemon.start()
        for daemon in started:
            daemon.says("started", seconds=_PATIENCE_S)
        yield started
    finally:
        for daemon in started:
            daemon.terminate()
        for daemon in started:
            daemon.wait_or_kill(60)


def _sample_idle(stage: Stage) -> _Idle:
    names = [f"tenant_{number:03}" for number in range(stage.sizes.tenants)]
    for name in names:
        stage.install(name)
    try:
        return _idle(stage, names)
    finally:
        for name in names:
            stage.drop(name)


def _idle(stage: Stage, names: Sequence[str]) -> _Idle:
    stage.settle()
    pids = {"mysqld": [stage.mysql.pid]}
    alone = _cores(stage, pids)
    topic = stage.new_topic()
    urls = {name: str(stage.daemon_settings(topic, name)["mysql_url"]) for name in names}
    settings: dict[str, Setting] = {"rest_seconds": _REST_SECONDS, "metrics_address": "127.0.0.1:0"}
    with _daemon(stage, topic, urls, settings) as (daemon,):
        (started,) = daemon.events("started")
        page = f"http://{started['metrics']}/metrics"
        daemon.eventually(lambda: _resting(page) == len(names), "all rest", _PATIENCE_S)
        time.sleep(stage.sizes.shared_seconds)
        cores = _cores(stage, pids | {"daemon": [daemon.pid]})
        process = psutil.Process(daemon.pid)
        with stage.connect(names[0]) as session:
            connections = int(
                session.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = 'outboxd'")
            )
            began = time.monotonic()
            message = session.enqueue("k", topic=topic, payload=chat_payload("wake up"))
            daemon.eventually(lambda: session.statuses()[message] == "consumed", "a tenant is woken", _PATIENCE_S)
            woken = time.monotonic() - began
        return _Idle(
            len(names),
            cores["daemon"],
            cores["mysqld"],
            alone["mysqld"],
            process.memory_info().rss / 1e6,
            process.num_threads(),
            connections,
            woken,
        )


def _resting(page: str) -> int:
    with urllib.request.urlopen(page, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(line.startswith("outboxd_resting{") and line.endswith(" 1.0") for line in lines)


def _cores(stage: Stage, groups: cpu.Groups) -> dict[str, float]:
    before = cpu.now(groups)
    time.sleep(stage.sizes.idle_seconds)
    return before.cores_until(cpu.now(groups))


def _summarise_idle(samples: list[_Idle]) -> Result:
    (idle,) = samples
    added = idle.mysqld_cores - idle.mysqld_alone_cores
    note = (
        f"of one core, {idle.tenants} tenants: daemon {idle.daemon_cores:.4f}, mysqld {added:.4f} more than its"
        f" {idle.mysqld_alone_cores:.4f}; the first message after a rest took {idle.first_message_seconds:.1f} s"
    )
    memory = f"{idle.tenants} tenants: {idle.threads} threads, {idle.connections} connections"
    return Result(
        {_CPU: round(idle.daemon_cores + added, 4), _MB: round(idle.daemon_mb, 1)},
        {_CPU: note, _MB: memory},
        {_CPU: asdict(idle)},
    )


@dataclass(frozen=True, slots=True)
class _Drained:
    """How so many shards drained what they had together."""

    shards: int
    messages: int
    per_s: float
    cores: dict[str, float]


def _sample_shards(stage: Stage) -> list[_Drained]:
    most = max(stage.sizes.shards)
    install = mysql_install.find()
    with ExitStack() as cleanup:
        servers = []
        for number in range(most):
            data = stage.folder / f"shard-{number}"
            cleanup.callback(shutil.rmtree, data, ignore_errors=True)
            running = mysql.start(install, data, extra=["--innodb-buffer-pool-size=256M"])
            cleanup.callback(running.stop)
            Server(host=running.host, port=running.port, user="root").create_database("shard")
            Server(host=running.host, port=running.port, user="root").migrate("shard")
            running.create_database("shard", "outboxd", stage.password)
            servers.append(running)
        return [_drain(stage, servers[:shards]) for shards in stage.sizes.shards]


def _drain(stage: Stage, servers: Sequence[mysql.RunningMySQL]) -> _Drained:
    """The backlog is the same whatever the number of shards; each conversation is in one of them."""
    topic = stage.new_topic()
    urls = {f"shard-{n}": one.url("outboxd", stage.password, "shard") for n, one in enumerate(servers)}
    chats = stage.chat[: stage.sizes.scale_messages]
    with ExitStack() as cleanup:
        sessions = [
            cleanup.enter_context(Server(host=one.host, port=one.port, user="root").connect("shard")) for one in servers
        ]
        for session in sessions:
            session.clean()
        (daemon,) = cleanup.enter_context(_daemon(stage, topic, urls, {"metrics_address": ""}))
        groups = {
            "mysqld": [one.pid for one in servers],
            "kafka": [stage.kafka.pid],
            "daemons": [daemon.pid],
        }
        time.sleep(stage.sizes.shared_seconds)
        for number, session in enumerate(sessions):
            session.execute("START TRANSACTION")
            own = [chat for chat in chats if hash(chat.conversation_id) % len(sessions) == number]
            _insert(session, topic, own)
        began, moment = time.monotonic(), cpu.now(groups)
        for session in sessions:
            session.execute("COMMIT")
        daemon.eventually(lambda: sum(map(_written, sessions)) >= len(chats), "all is consumed", _PATIENCE_S)
        seconds = time.monotonic() - began
        cores = moment.cores_until(cpu.now(groups))
        if sum(map(_written, sessions)) != len(chats):
            raise BenchError(f"{len(chats)} messages became {[_written(session) for session in sessions]} rows")
    return _Drained(len(servers), len(chats), len(chats) / seconds, cores)


def _insert(session: Session, topic: str, chats: Sequence[Any]) -> None:
    now = "UTC_TIMESTAMP(6)"
    for start in range(0, len(chats), 1000):
        part = chats[start : start + 1000]
        places = ", ".join([f"('{CHAT}', %s, %s, %s, 'pending', 0, 20, {now}, {now}, {now})"] * len(part))
        session.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, status, retry_count, max_retry,"
            f" next_retry_at, created_at, updated_at) VALUES {places}",
            *(value for chat in part for value in (topic, chat.conversation_id, chat.payload)),
        )


def _written(session: Session) -> int:
    return int(session.value("SELECT COUNT(*) FROM chat_histories"))


def _summarise_shards(samples: list[list[_Drained]]) -> Result:
    """The median run of each number of shards, over all turns."""
    typical = [sorted(drains, key=_per_s)[len(drains) // 2] for drains in zip(*samples, strict=True)]
    last = typical[-1]
    used = ", ".join(f"{name} {last.cores[name]:.2f}" for name in ("mysqld", "kafka", "daemons", "machine"))
    return Result(
        {_SHARDS: {str(drained.shards): round(drained.per_s, 1) for drained in typical}},
        {_SHARDS: f"one daemon, a mysqld for each shard; with {last.shards}, of {cpu.cores()} cores: {used}"},
        {_SHARDS: {"samples": [[asdict(drained) for drained in drains] for drains in samples]}},
    )


def _per_s(drained: _Drained) -> float:
    return drained.per_s


IDLE = Measurement(keys=(_CPU, _MB), title="idle tenants of one server", sample=_sample_idle, summarise=_summarise_idle)
SHARDS = Measurement(
    keys=(_SHARDS,), title="shards on servers of their own", sample=_sample_shards, summarise=_summarise_shards
)
