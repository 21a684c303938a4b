"""The samplers: look up lag, slots and brokers every sample_seconds, for the metrics and for /readyz."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mysql.connector
import structlog
from confluent_kafka.admin import AdminClient

from outboxd.daemon.database import Database
from outboxd.kafka.client import LASTING_SECONDS, connect, why_silent
from outboxd.mysql.procedures import RelayProcedures
from outboxd.observe import metrics
from outboxd.observe.health import Health, Pulse
from outboxd.observe.scope import working_for
from outboxd.retry import Unavailable
from outboxd.settings import Settings

log = structlog.get_logger()

_LOCK_WAIT_SECONDS = 3
_RESTING_SECONDS = 60
"""How often databases that rest are looked at."""
# Counting what waits takes up to a tenth of a second where it is much: then it is done less often.
_LAG_SHARE = 200
_LAG_SECONDS = 30


@dataclass(slots=True)
class Sampled:
    """A database, and when it was sampled last."""

    database: Database
    calls: RelayProcedures
    at: float = float("-inf")
    lag_due_at: float = float("-inf")
    lag_took: deque[float] = field(default_factory=lambda: deque(maxlen=5))

    def show_lag(self) -> None:
        """Look up the lag, where that is due: so that it takes less than half a percent of the time."""
        began = time.monotonic()
        if began >= self.lag_due_at:
            metrics.show_lag(self.calls.lag())
            # The quickest of the last few: what it costs, without what it has waited for others.
            self.lag_took.append(time.monotonic() - began)
            self.lag_due_at = began + min(_LAG_SHARE * min(self.lag_took), _LAG_SECONDS)


class Sampler:
    """Samples the databases of one server for Health."""

    def __init__(self, databases: Sequence[Database], health: Health, stop: threading.Event, pulse: Pulse) -> None:
        self._connection = RelayProcedures.to_server(databases[0].given)
        self._sampled = [
            Sampled(database, RelayProcedures(database.given, on=self._connection)) for database in databases
        ]
        self._health = health
        self._stop = stop
        self._pulse = pulse

    def run(self) -> None:
        """Sample until stop is set. A failed sample makes the daemon not ready, and never ends it."""
        pause_seconds = self._sampled[0].database.given.sample_seconds
        with self._connection:
            while not self._stop.is_set():
                self._pulse.beat(idle_seconds=pause_seconds)
                for one in self._sampled:
                    if self._stop.is_set():
                        break
                    with working_for(one.database.name):
                        self._show(one, pause_seconds)
                self._health.show_held_up()
                self._stop.wait(pause_seconds)

    def _show(self, one: Sampled, pause_seconds: int) -> None:
        if one.database.is_known and one.database.failure is None:
            self._sample(one, pause_seconds)
        else:
            metrics.slots_owned.labels().set(0)
        metrics.served.labels().set(one.database.is_served)

    def _sample(self, one: Sampled, pause_seconds: int) -> None:
        if one.database.is_resting:
            metrics.slots_owned.labels().set(0)
            if time.monotonic() - one.at < _RESTING_SECONDS:
                return
        lack = self._why_not_ready(one)
        one.at = time.monotonic()
        seconds = _RESTING_SECONDS if one.database.is_resting else pause_seconds
        told = f"{one.database.name}: {lack}" if lack and one.database.is_named else lack
        self._health.tell(one.database.name, told, good_for_seconds=3 * seconds + 10)

    def _why_not_ready(self, one: Sampled) -> str | None:
        calls, relays, is_resting = one.calls, one.database.relays, one.database.is_resting
        try:
            one.show_lag()
            slots = 0 if is_resting else sum(calls.slots_owned(relay) for relay in relays)
            lock_wait = self._lock_wait(calls)
        except Unavailable as error:
            return str(error)
        except mysql.connector.Error as error:  # such as a right that was not given
            log.warning("not sampled", reason=str(error))
            return f"MySQL: {error}"
        metrics.slots_owned.labels().set(slots)
        if lock_wait:
            return lock_wait
        return "no slots are owned" if relays and not slots and not is_resting else None

    def _lock_wait(self, calls: RelayProcedures) -> str | None:
        """The lock that calls wait for longest, where that is more than a moment. Told in the log."""
        wait = calls.lock_wait()
        if wait is None or wait[1] < _LOCK_WAIT_SECONDS:
            return None
        state, seconds = wait
        log.warning("waits for a lock", state=state, seconds=seconds)
        return f"MySQL: {state.lower()} for {seconds} s"


class KafkaSampler:
    """Asks the brokers whether they answer, for Health."""

    def __init__(self, settings: Settings, health: Health, stop: threading.Event, pulse: Pulse) -> None:
        self._settings = settings
        self._health = health
        self._stop = stop
        self._pulse = pulse
        self._kafka = self._connect()
        self._answered_at = time.monotonic()

    def run(self) -> None:
        """Ask until stop is set."""
        pause_seconds = self._settings.sample_seconds
        while not self._stop.is_set():
            self._pulse.beat(idle_seconds=pause_seconds)
            self._health.tell("Kafka", self._why_not_ready(), good_for_seconds=3 * pause_seconds + 10)
            for _ in range(pause_seconds):
                if self._stop.wait(1):
                    break
                self._kafka.poll(0)  # else its errors pile up, and its token runs out

    def _connect(self) -> Any:
        return connect(AdminClient, self._settings, {"error_cb": lambda _: None})

    def _why_not_ready(self) -> str | None:
        reason = why_silent(self._kafka)
        now = time.monotonic()
        if reason is None:
            self._answered_at = now
        elif now - self._answered_at >= LASTING_SECONDS:
            self._kafka, self._answered_at = self._connect(), now
        return reason and f"Kafka: {reason}"
