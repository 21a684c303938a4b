"""Whether all members of the consumer group serve the same databases. What one cannot route it must not read."""

import threading
import time
from typing import Any

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from outboxd.fleet import serve_the_same
from outboxd.kafka.client import connect
from outboxd.kafka.group import members
from outboxd.settings import Settings

log = structlog.get_logger()
_LOOK_SECONDS = 5.0
_PATIENCE_SECONDS = 3.0


class Agreement:
    """Looks at the members of a fleet's group, for all consumers of this daemon.

    A consumer joins while nobody in the group serves other databases. So where daemons get another configuration one
    after the other, the old ones go on, and the new ones join when the last of those has left. Of two that have joined
    at the same moment, one leaves.
    """

    def __init__(self, settings: Settings, *, is_fleet: bool) -> None:
        """`settings` are the group's. is_fleet: a database without a table has its group by itself."""
        self._settings = settings
        # Whoever sets client.id is known by that, and by nothing else.
        self._is_on = is_fleet and "client.id" not in settings.kafka_options
        self._lock = threading.Lock()
        self._admin: Any = None
        self._look_at = 0.0
        self._others: list[str] = []
        self._is_told = False

    def why_not_join(self) -> str | None:
        """Who is in the group and serves other databases; None: nobody, as far as Kafka tells."""
        others = self._look()
        return (others and f"{', '.join(others)} in group {self._settings.group} serve other databases") or None

    def why_leave(self) -> str | None:
        """The same, once this daemon is in the group: None for one of two that exclude each other."""
        mine = _token(self._settings.client_id)
        return self.why_not_join() if any(_token(other) < mine for other in self._look()) else None

    def _look(self) -> list[str]:
        with self._lock:
            if self._is_on and time.monotonic() >= self._look_at:
                self._others = self._ask()
                self._look_at = time.monotonic() + _LOOK_SECONDS / (5 if self._others else 1)
            return self._others

    def _ask(self) -> list[str]:
        if self._admin is None:
            self._admin = connect(AdminClient, self._settings, {"error_cb": lambda _: None})
        group = self._settings.group
        try:
            there = {member.client_id for member in members(self._admin, group, _PATIENCE_SECONDS)}
        except KafkaException as error:
            if not self._is_told:
                self._is_told = True
                log.warning("group not examined", group=group, reason=f"Kafka: {error.args[0].str()}")
            return self._others
        mine = _token(self._settings.client_id)
        return sorted(member for member in there if not serve_the_same(_token(member), mine))


def _token(client_id: str) -> str:
    return client_id.rpartition("-")[2]
