"""A Kafka cluster of one or more nodes that may be stopped, killed, frozen and started again, alone or together."""

import json
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import kafka, process
from .errors import ServerError
from .kafka_install import KafkaInstall
from .lasting import wait_for_port

# So that a node that is gone is missed within seconds, and is not refused as its own double when it is back.
_ALERT = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
_INTERNAL_TOPICS = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")


class KafkaCluster:
    """Nodes 1 to `nodes`, each broker and controller; all topics have a replica on each, at most 3.

    Written is what a majority of the replicas has (min.insync.replicas). `properties` win over the ones given here.
    Run by Java, each node has a second listener: see ``detour``.
    """

    def __init__(
        self, install: KafkaInstall, folder: Path, nodes: int = 1, properties: Mapping[str, str] | None = None
    ) -> None:
        if nodes > 1 and install.java is None:
            raise ServerError("a cluster of several Kafka nodes needs Java: with Docker there can only be one")
        self.nodes = range(1, nodes + 1)
        self.replicas = min(nodes, 3)
        self._install, self._folder = install, folder
        self._ports = {node: process.lasting_port() for node in self.nodes}
        self._controllers = {node: process.lasting_port() for node in self.nodes}
        self._detours = {node: (process.lasting_port(), process.lasting_port()) for node in self.nodes}
        others = [port for detour in self._detours.values() for port in detour]
        if len({*self._ports.values(), *self._controllers.values(), *others}) < 4 * nodes:
            raise ServerError("two Kafka nodes were given the same port: try again")
        self._id = kafka.new_cluster_id()
        self._properties = self._of_all_nodes() | dict(properties or {})
        self._running: dict[int, kafka.RunningKafka] = {}
        self.bootstrap = self.bootstrap_of(*self.nodes)

    @property
    def alive(self) -> list[int]:
        """The nodes that run, frozen ones among them."""
        return sorted(self._running)

    @property
    def controller(self) -> int:
        """The node that leads the controllers' quorum, as the nodes' own files say."""
        states = [json.loads(self._quorum_state(node).read_text()) for node in self.alive]
        return int(max(states, key=lambda state: int(state["leaderEpoch"]))["leaderId"])

    def pid(self, node: int) -> int:
        """The process of a node that runs."""
        return self._running[node].pid

    def port(self, node: int) -> int:
        """Where clients reach a node."""
        return self._ports[node]

    def detour(self, node: int) -> tuple[int, int]:
        """A port on which nobody listens, and the node's port to which a proxy there has to lead.

        A client that comes through these ports is told the first ones of all nodes, and never leaves them.
        """
        if self._install.java is None:
            raise ServerError("a Kafka node run by Docker has no second listener")
        return self._detours[node]

    def bootstrap_of(self, *nodes: int) -> str:
        """These nodes only: the first one that a new client asks is not one that is down or frozen."""
        return ",".join(f"{process.LOOPBACK}:{self._ports[node]}" for node in nodes)

    def start(self) -> None:
        """Start all nodes that do not run, at the same time, and wait until they answer."""
        missing = [node for node in self.nodes if node not in self._running]
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            starting = {node: pool.submit(self._start, node) for node in missing}
            for node, running in starting.items():
                self._running[node] = running.result()

    def stop(self) -> None:
        """Shut down all nodes that run, at the same time."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(kafka.RunningKafka.stop, self._running.values()))
        self._running.clear()

    def shut_down(self, node: int) -> None:
        """Shut down a node in order: it gives away what it leads."""
        self._running.pop(node).stop()

    def kill(self, *nodes: int) -> None:
        """End nodes as a power cut does, or all."""
        victims = nodes or self.alive
        for node in victims:
            self._send(node, signal.SIGKILL)
        for node in victims:
            self._running.pop(node).stop()
            wait_for_port(self._ports[node])

    def freeze(self, node: int) -> None:
        """Let a node answer nothing, and close nothing."""
        self._send(node, signal.SIGSTOP)

    def thaw(self, node: int) -> None:
        """Let it go on."""
        self._send(node, signal.SIGCONT)

    def _start(self, node: int) -> kafka.RunningKafka:
        return kafka.start(
            self._install,
            self._folder / f"node-{node}",
            port=self._ports[node],
            controller_port=self._controllers[node],
            node_id=node,
            cluster_id=self._id,
            properties=self._listeners(node) | self._properties,
        )

    def _listeners(self, node: int) -> dict[str, str]:
        if self._install.java is None:
            return {}
        host, port, controller = process.LOOPBACK, self._ports[node], self._controllers[node]
        told, listens = self._detours[node]
        return {
            "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller},DETOUR://{host}:{listens}",
            "advertised.listeners": f"PLAINTEXT://{host}:{port},DETOUR://{host}:{told}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT",
        }

    def _send(self, node: int, number: signal.Signals) -> None:
        os.kill(self._running[node].pid, number)

    def _quorum_state(self, node: int) -> Path:
        return self._folder / f"node-{node}" / "logs" / "__cluster_metadata-0" / "quorum-state"

    def _of_all_nodes(self) -> dict[str, str]:
        if len(self.nodes) == 1:
            return _ALERT
        voters = ",".join(f"{node}@{process.LOOPBACK}:{port}" for node, port in self._controllers.items())
        replicas, majority = str(self.replicas), str(self.replicas // 2 + 1)
        return {
            # As in most clusters: a topic that is deleted stays away until somebody makes it.
            "auto.create.topics.enable": "false",
            "controller.quorum.voters": voters,
            "default.replication.factor": replicas,
            "min.insync.replicas": majority,
            **{f"{topic}.replication.factor": replicas for topic in _INTERNAL_TOPICS},
            **{f"{topic}.min.isr": majority for topic in _INTERNAL_TOPICS if topic != "offsets.topic"},
            **_ALERT,
        }
