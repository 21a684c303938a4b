"""The consumer group, as Kafka's brokers know it: who reads which partition, and how many records wait there."""

import threading
from dataclasses import astuple, dataclass, field

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from outboxd.console.renewed import Renewed
from outboxd.console.sampler import Lend
from outboxd.kafka import group
from outboxd.kafka.client import connect
from outboxd.settings import Settings, SettingsError

_LEAST_SECONDS = 10
_SHARE = 0.5
_PATIENCE_SECONDS = 5
_FIRST_WAIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the group. client, host: who reads it; behind: how many records wait, None: nothing committed."""

    topic: str
    partition: int
    client: str | None
    host: str | None
    committed: int | None
    end: int | None

    @property
    def behind(self) -> int | None:
        """How many records wait to be read."""
        return None if self.committed is None or self.end is None else max(0, self.end - self.committed)


@dataclass(frozen=True, slots=True)
class State:
    """What Kafka says. problem: why it says nothing."""

    group: str
    brokers: int = 0
    members: list[str] = field(default_factory=list)
    partitions: list[Partition] = field(default_factory=list)
    problem: str = ""


class Consumers:
    """Asks Kafka while somebody looks, with the console's own Kafka settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state: Renewed[State] = Renewed(_LEAST_SECONDS, _SHARE)
        self._kafka: AdminClient | None = None
        self._group = settings.group
        self._lock = threading.Lock()

    @property
    def problem(self) -> str:
        """Why it could not be asked the last time, other than for what Kafka says."""
        return self._state.problem

    def get(self, lend: Lend) -> State | None:
        """The latest state; None: Kafka has not answered yet."""
        return self._state.get(lambda: self._look(lend), _FIRST_WAIT_SECONDS)

    def _look(self, lend: Lend) -> State:
        if not self._group:
            with lend() as database:
                self._group = self._settings.identified(*astuple(database.identity())).group
        try:
            if self._kafka is None:
                self._kafka = connect(AdminClient, self._settings, {})
            brokers = len(self._kafka.list_topics(timeout=_PATIENCE_SECONDS).brokers)
            members = group.members(self._kafka, self._group, _PATIENCE_SECONDS)
            committed = group.committed(self._kafka, self._group, _PATIENCE_SECONDS)
            readers = {place: member for member in members for place in member.partitions}
            ends = group.ends(self._kafka, {**committed, **dict.fromkeys(readers, 0)}, _PATIENCE_SECONDS)
        except KafkaException as error:
            return State(self._group, problem=str(error.args[0].str()))
        except SettingsError as error:
            return State(self._group, problem=str(error))
        partitions = [
            Partition(
                *place,
                readers[place].client_id if place in readers else None,
                readers[place].host if place in readers else None,
                committed.get(place),
                ends.get(place),
            )
            for place in sorted(ends)
        ]
        return State(self._group, brokers, sorted(member.client_id for member in members), partitions)
