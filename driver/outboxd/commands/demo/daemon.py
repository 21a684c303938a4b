"""The daemon of the demo, a process of its own, and the Kafka that it uses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from outboxd.commands.demo.errors import DemoError
from outboxd.kafka.client import connect
from outboxd.settings import Settings


class DaemonProcess:
    """The real daemon, as a process of its own."""

    def __init__(self, settings: Settings, folder: Path, *arguments: str) -> None:
        """`arguments` are further ones of `outboxd run`."""
        self.session_seconds = settings.kafka_options["session.timeout.ms"] // 1000
        self._arguments = arguments
        self._log = folder / f"{settings.database}.log"
        no_file = folder / "outboxd.toml"  # a mapping in the user's file would be merged with that of the environment
        no_file.touch()
        given = {f"OUTBOXD_{name.upper()}": _as_text(getattr(settings, name)) for name in settings.model_fields_set}
        self._environment = {**os.environ, **given, "OUTBOXD_CONFIG": str(no_file)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with its log behind that of the one before."""
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "outboxd", "run", *self._arguments]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill_and_restart(self) -> None:
        """End it by SIGKILL, and start another."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self.start()

    def check_alive(self) -> None:
        """Raise DemoError if it has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise DemoError(f"the daemon ended with exit code {self._process.returncode}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """End it by SIGTERM, or after 30 s by SIGKILL."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def kafka(settings: Settings, broker: str | None, topic: str) -> Iterator[str]:
    """Make the topic on the broker, or on a mock cluster that exists while the block runs; gives the address."""
    # The options are for the broker: the mock cluster knows no TLS and no passwords.
    options = settings.kafka_options if broker else {"test.mock.num.brokers": 1}
    where = settings.model_copy(update={"kafka_bootstrap": broker or "", "kafka_options": options})
    client = connect(Producer, where, {"log_level": 0})
    try:
        brokers = client.list_topics(topic, timeout=10).brokers.values()  # asking for a topic creates it
    except KafkaException as error:
        raise DemoError(f"no Kafka broker answers at {broker}: {error.args[0].str()}") from error
    yield broker or ",".join(f"{known.host}:{known.port}" for known in brokers)


def _as_text(value: object) -> str:
    """The value of a setting as the environment has it."""
    if isinstance(value, list):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, dict) else str(value)
