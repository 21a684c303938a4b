"""The sampler: looks up lag, slots and brokers every sample_seconds, for the metrics and for /readyz."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import mysql.connector
import structlog
from confluent_kafka.admin import AdminClient

from outboxd.kafka.client import LASTING_SECONDS, connect, why_silent
from outboxd.mysql.procedures import RelayProcedures
from outboxd.observe import metrics
from outboxd.observe.health import Health, Pulse
from outboxd.retry import Unavailable
from outboxd.settings import Settings

log = structlog.get_logger()

_LOCK_WAIT_SECONDS = 3


class Sampler:
    """Samples for Health; `relays` are the names of this daemon's relays."""

    def __init__(
        self, settings: Settings, relays: Sequence[str], health: Health, stop: threading.Event, pulse: Pulse
    ) -> None:
        self._settings = settings
        self._relays = relays
        self._health = health
        self._stop = stop
        self._pulse = pulse
        self._database = RelayProcedures(settings)
        self._kafka = self._connect()
        self._kafka_answered_at = time.monotonic()

    def run(self) -> None:
        """Sample until stop is set. A failed sample makes the daemon not ready, and never ends it."""
        pause_seconds = self._settings.sample_seconds
        with self._database:
            while not self._stop.is_set():
                self._pulse.beat(idle_seconds=pause_seconds)
                self._health.sampled(
                    MySQL=self._why_mysql_is_not_ready(),
                    Kafka=self._why_kafka_is_not_ready(),
                    good_for_seconds=3 * pause_seconds + 10,
                )
                for pulse in self._health.pulses:
                    metrics.held_up_seconds.labels(pulse.worker).set(pulse.held_up[0])
                for _ in range(pause_seconds):
                    if self._stop.wait(1):
                        break
                    self._kafka.poll(0)  # else its errors pile up, and its token runs out

    def _why_mysql_is_not_ready(self) -> str | None:
        try:
            metrics.show_lag(self._database.lag())
            slots = sum(self._database.slots_owned(relay) for relay in self._relays)
            lock_wait = self._lock_wait()
        except Unavailable as error:
            return str(error)
        except mysql.connector.Error as error:  # such as a right that was not given
            log.warning("not sampled", reason=str(error))
            return f"MySQL: {error}"
        metrics.slots_owned.set(slots)
        if lock_wait:
            return lock_wait
        return "no slots are owned" if self._relays and not slots else None

    def _lock_wait(self) -> str | None:
        """The lock that calls wait for longest, where that is more than a moment. Told in the log."""
        wait = self._database.lock_wait()
        if wait is None or wait[1] < _LOCK_WAIT_SECONDS:
            return None
        state, seconds = wait
        log.warning("waits for a lock", state=state, seconds=seconds)
        return f"MySQL: {state.lower()} for {seconds} s"

    def _connect(self) -> Any:
        return connect(AdminClient, self._settings, {"error_cb": lambda _: None})

    def _why_kafka_is_not_ready(self) -> str | None:
        reason = why_silent(self._kafka)
        now = time.monotonic()
        if reason is None:
            self._kafka_answered_at = now
        elif now - self._kafka_answered_at >= LASTING_SECONDS:
            self._kafka, self._kafka_answered_at = self._connect(), now
        return reason and f"Kafka: {reason}"
