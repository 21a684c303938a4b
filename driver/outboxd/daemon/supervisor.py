"""The supervisor: starts the daemon's workers, one thread each, and ends them on a signal."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from typing import Protocol

import mysql.connector
import structlog
from confluent_kafka import KafkaException

from outboxd import signals
from outboxd.daemon.consumer import Consumer
from outboxd.daemon.recovery import Recovery
from outboxd.daemon.relay import Relay
from outboxd.daemon.sampler import Sampler
from outboxd.mysql.procedures import WorkerProcedures
from outboxd.observe import systemd, tracing
from outboxd.observe.health import Health, Pulse
from outboxd.observe.http import serving
from outboxd.retry import Unavailable, until_available
from outboxd.schema.compatibility import check_schema
from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()


class _Worker(Protocol):
    """What a thread of the daemon runs."""

    def run(self) -> None:
        """Work until the stop."""


_Start = Callable[[Pulse], _Worker]


def run(settings: Settings, *, relays: bool, consumers: bool) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once, with exit code 130.

    Raises SettingsError if consumers have no topics, SchemaError if the schema does not fit, and the error of the
    first worker that failed for good.
    """
    if consumers and not settings.topics:
        raise SettingsError("setting topics is missing: give --topics or OUTBOXD_TOPICS, or --only relay")
    if consumers and settings.consumer_workers > 1 and "group.instance.id" in settings.kafka_options:
        raise SettingsError(
            f"setting kafka_options: group.instance.id names one member of the group, and consumer_workers is"
            f" {settings.consumer_workers}: run one worker, or unset it"
        )
    stop = threading.Event()
    _stop_on_signals(stop)
    _give_up_in_time(stop, 2 * (settings.stop_seconds + settings.wait_ms / 1000))
    health = Health(stop, settings.stall_seconds + settings.wait_ms / 1000)
    with serving(settings, health) as served, tracing.starting():
        try:
            settings = until_available(stop, partial(_identified, settings))
        except Unavailable:
            return  # stopped while waiting for MySQL

        # Never the name of an earlier process: what that one left in flight must not pass for this one's.
        me = f"{settings.name}-{os.getpid()}-{secrets.token_hex(3)}"
        names = [f"{me}-{number}" for number in range(settings.relay_workers)] if relays else []
        starts: dict[str, _Start] = {
            f"relay-{number}": partial(Relay, settings, name, stop) for number, name in enumerate(names)
        }
        if relays:
            starts["recovery"] = partial(Recovery, settings, stop)
        if consumers:
            for number in range(settings.consumer_workers):
                starts[f"consumer-{number}"] = partial(Consumer, settings, stop)
        if served.address:
            starts["sampler"] = partial(Sampler, settings, names, health, stop)

        topics = settings.topics if consumers else None
        log.info(
            "started",
            name=me,
            workers=list(starts),
            source=settings.source,
            topics=topics,
            group=settings.group if consumers else None,
            metrics=served.address,
        )
        if served.problem:
            log.warning("no metrics", reason=served.problem)
        failures = _work_until_stopped(starts, health, stop)
        log.info("stopped", name=me)
    if failures:
        raise failures[0]


def _identified(settings: Settings) -> Settings:
    """Check the schema; returns the settings of the outbox that is installed there."""
    check_schema(settings)
    with WorkerProcedures(settings) as database:
        return settings.identified(*astuple(database.identity()))


def _work_until_stopped(starts: dict[str, _Start], health: Health, stop: threading.Event) -> list[Exception]:
    """Run all workers to their end; returns why some have failed, the first failure first."""
    failures: list[Exception] = []
    threads = [_Thread(name, start, stop, failures) for name, start in starts.items()]
    health.watch([thread.pulse for thread in threads])
    for thread in threads:
        thread.start()
    systemd.notify("READY=1")
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(systemd.watchdog_seconds() or 1)
        if not health.why_not_alive():
            systemd.notify("WATCHDOG=1")
    return failures


class _Thread(threading.Thread):
    """A worker's thread. A worker that fails for good stops the daemon, which then says why."""

    def __init__(self, name: str, start: _Start, stop: threading.Event, failures: list[Exception]) -> None:
        super().__init__(name=name)
        self.pulse = Pulse(name)
        self._start_worker = start
        self._stop_daemon = stop
        self._failures = failures

    def run(self) -> None:
        with structlog.contextvars.bound_contextvars(worker=self.name):
            try:
                self._start_worker(self.pulse).run()
            except Exception as error:
                is_explained = isinstance(error, mysql.connector.Error | KafkaException | SettingsError)
                log.error("failed", error=_said(error), exc_info=not is_explained)
                self.pulse.failure = error
                self._failures.append(error)
                self._stop_daemon.set()
            finally:
                self.pulse.has_ended = True


def _said(error: Exception) -> str:
    return f"Kafka: {error.args[0].str()}" if isinstance(error, KafkaException) else str(error)


def _give_up_in_time(stop: threading.Event, seconds: float) -> None:
    """End the process that long after the stop: a worker may hang in a server that does not answer."""

    def wait() -> None:
        stop.wait()
        time.sleep(seconds)
        workers = [thread.name for thread in threading.enumerate() if isinstance(thread, _Thread)]
        log.error("gave up", workers=workers, after_seconds=seconds)
        os._exit(1)

    threading.Thread(target=wait, name="gives up", daemon=True).start()


def _stop_on_signals(stop: threading.Event) -> None:
    def end(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()
        log.info("stopping", signal=number.name)
        systemd.notify("STOPPING=1")

    signals.call_on_ending(end)
