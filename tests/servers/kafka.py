"""Starts a private Kafka node (KRaft, broker and controller in one) on a data folder."""

import base64
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from . import process
from .errors import ServerError
from .kafka_install import KafkaInstall

START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 30.0
_HEAP = ("-Xms128m", "-Xmx512m")
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Compiles little and collects in one thread: a start takes a third less CPU."""
_LOG4J = Path(__file__).with_name("log4j2.properties")


@dataclass(frozen=True)
class RunningKafka:
    """A Kafka node that answers clients at `bootstrap` (host:port)."""

    pid: int
    bootstrap: str
    port: int
    data_dir: Path
    identity: str

    def stop(self) -> None:
        """Shut it down, by force after STOP_DEADLINE_S; harmless if it has ended already."""
        process.stop(self.pid, self.identity, STOP_DEADLINE_S)


def start(
    install: KafkaInstall,
    data_dir: Path,
    *,
    port: int | None = None,
    controller_port: int | None = None,
    node_id: int = 1,
    cluster_id: str | None = None,
    properties: Mapping[str, str] | None = None,
    is_measured: bool = False,
) -> RunningKafka:
    """Start a node on `data_dir`, which is formatted if new, and wait until it answers a client.

    `properties` are server properties that win over the ones given here. The nodes of a cluster
    need the same `cluster_id` (see ``new_cluster_id``), a `node_id` and a `controller_port` each,
    and the property ``controller.quorum.voters`` (``1@127.0.0.1:PORT,2@...``); as a node answers
    only once a majority runs, such nodes must be started at the same time, from several threads.
    With `is_measured` it is compiled as in production, which pays after minutes; else it starts quickly.
    Run by Docker, the node keeps its data in the container, so it is lost at the end.
    Raises ServerError, with the end of the log, if it does not start within START_DEADLINE_S.
    """
    port = port or process.free_port()
    process.require_free(port)
    controller_port = controller_port or process.free_port()
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    settings = _settings(node_id, port, controller_port, data_dir / "logs") | dict(properties or {})
    log = data_dir / "server.log"
    if install.docker is not None:
        command = _docker_command(install.docker, install.image, port, controller_port, settings)
    else:
        config = data_dir / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not (data_dir / "logs" / "meta.properties").is_file():
            _format(install, config, cluster_id or new_cluster_id())
        compiled = () if is_measured else _SHORT_LIVED
        command = [*_java(install, log), *_HEAP, *compiled, "kafka.Kafka", str(config)]
    pid = process.spawn(command, log)
    known_as = process.identity(pid) or ""
    bootstrap = f"{process.LOOPBACK}:{port}"
    try:
        _wait_until_ready(pid, bootstrap, log)
    except BaseException:
        process.stop(pid, known_as, STOP_DEADLINE_S)
        raise
    return RunningKafka(pid, bootstrap, port, data_dir, known_as)


def new_cluster_id() -> str:
    """A random cluster id in Kafka's notation; it never starts with a dash, which looks like an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _settings(node_id: int, port: int, controller_port: int, logs: Path) -> dict[str, str]:
    """The server properties of a small single node."""
    host = process.LOOPBACK
    return {
        "process.roles": "broker,controller",
        "node.id": str(node_id),
        "controller.quorum.voters": f"{node_id}@{host}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(logs),
        "auto.create.topics.enable": "true",
        "num.partitions": "8",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }


def _java(install: KafkaInstall, log: Path) -> list[str]:
    logging = [f"-Dlog4j2.configurationFile={_LOG4J}", f"-Doutboxd.kafka.log={log}"]
    return [str(install.java), "-cp", f"{install.jars}/*", *logging]


def _format(install: KafkaInstall, config: Path, cluster_id: str) -> None:
    """Give a new data folder its identity, as Kafka demands before the first start."""
    java = [*_java(install, config.with_name("format.log")), *_SHORT_LIVED]
    command = [*java, "kafka.tools.StorageTool", "format"]
    arguments = ["--cluster-id", cluster_id, "--config", str(config), "--ignore-formatted"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise ServerError(f"Kafka could not format its storage:\n{output[-2000:]}")


def _docker_command(
    docker: Path, image: str, port: int, controller_port: int, settings: Mapping[str, str]
) -> list[str]:
    """The command that runs the node in a container; it ends when the command is ended.

    The port is the same inside, as the node also talks to itself by its advertised address.
    """
    inside = dict(settings) | {
        "controller.quorum.voters": f"{settings['node.id']}@localhost:{controller_port}",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://localhost:{controller_port}",
        "log.dirs": "/tmp/kafka-logs",
    }
    command = [str(docker), "run", "--rm", "-p", f"{process.LOOPBACK}:{port}:{port}"]
    for key, value in inside.items():
        command += ["-e", f"KAFKA_{key.upper().replace('.', '_')}={value}"]
    return [*command, image]


def _wait_until_ready(pid: int, bootstrap: str, log: Path) -> None:
    """Wait for the answer to a metadata request that names a broker."""
    end = time.monotonic() + START_DEADLINE_S
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
    while True:
        try:
            if client.list_topics(timeout=1.0).brokers:
                return
        except KafkaException:
            pass
        process.pause(pid, "Kafka", end, log)
