"""The consumer: polls records, routes each to the database that it is for, and commits offsets behind what is done."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outboxd.daemon.agreement import Agreement
from outboxd.daemon.backlog import Entry, Partition
from outboxd.daemon.database import Database
from outboxd.daemon.delivery import Delivery
from outboxd.daemon.foreigners import Foreigners
from outboxd.kafka.client import Outage, connect
from outboxd.kafka.records import ForeignRecord, arrival, headers_in, source_in
from outboxd.observe import metrics
from outboxd.observe.health import Health, Pulse
from outboxd.observe.scope import working_for
from outboxd.settings import Settings

log = structlog.get_logger()
# Offsets are stored by hand, and committed by the client: at intervals, before it gives partitions away, and at the
# end. A commit by hand fails in the middle of a rebalance. And little memory for records fetched ahead.
_PROPERTIES = {
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1_000,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    # Also how long a request to join the group is waited for on a connection that is half-open.
    "max.poll.interval.ms": 60_000,
    "socket.timeout.ms": 15_000,
    "topic.metadata.refresh.interval.ms": 2_000,
    "allow.auto.create.topics": True,
    "fetch.wait.max.ms": 500,
    # How long it stops fetching once it has enough; a second by default, in which a backlog's consumer runs dry.
    "fetch.queue.backoff.ms": 20,
    "queued.min.messages": 5_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 262_144,
    # Kafka's own topics, which no pattern means.
    "topic.blacklist": "^__",
}
_OF_THE_CLASSIC_PROTOCOL = {"partition.assignment.strategy", "session.timeout.ms"}
_POLL_SECONDS = 0.5
# How long a poll may be put off because of calls that are under way: the group must keep its member.
_LONGEST_SECONDS_WITHOUT_POLL = 1.0
_REFUSED_SECONDS = 10
# Of a partition, before it is paused; and of all values that wait to be received.
_MOST_WAITING = 5_000
_MOST_BYTES = 64 << 20


def _properties(settings: Settings) -> dict[str, Any]:
    """The brokers set what the new rebalance protocol (KIP-848) needs: the client refuses the properties of the old."""
    if settings.kafka_options.get("group.protocol") != "consumer":
        return _PROPERTIES
    return {name: value for name, value in _PROPERTIES.items() if name not in _OF_THE_CLASSIC_PROTOCOL}


class Consumer:
    """One consumer worker, a member of the consumer group.

    It reads each record once. Those of an outbox go to the database that has it, those of others to the databases that
    may have subscribed to them, and each database takes its own in a thread of its own (Delivery). While a database has
    not said yet who it is, records that may be for it wait.

    A crash between a procedure's commit and that of the offset, up to a second later, makes Kafka deliver records
    again, and the procedure finds their messages consumed.
    """

    def __init__(
        self,
        settings: Settings,
        databases: Sequence[Database],
        agreement: Agreement,
        health: Health,
        stop: threading.Event,
        pulse: Pulse,
    ) -> None:
        """`settings` are those of the group: its name, the brokers."""
        self._settings = settings
        self._agreement = agreement
        self._health = health
        self._stop = stop
        # Ends the deliveries: at the stop, or where this worker fails.
        self._is_over = threading.Event()
        self._pulse = pulse
        # Held while is looked at what waits.
        self._lock = threading.RLock()
        self._finished = threading.Condition(self._lock)
        self._pulses = [Pulse(pulse.worker, one.name, named=one.is_named) for one in databases]
        self._deliveries = [
            Delivery(one, self._lock, self._finished, self._is_over, own)
            for one, own in zip(databases, self._pulses, strict=True)
        ]
        # Records that may be for databases which are not known yet, and who has got them already.
        self._undecided: list[tuple[Any, frozenset[str]]] = []
        self._unknown = list(self._deliveries)
        # Those with subscriptions.
        self._inboxes: list[Delivery] = []
        self._by_source: dict[str, Delivery] = {}
        self._subscribed: set[str] = set()
        self._outage = Outage()
        self._kafka = self._connect()
        self._foreigners = Foreigners()
        self._paused: set[Partition] = set()
        self._ends: dict[Partition, int] = {}
        self._stored: dict[Partition, int] = {}

    def run(self) -> None:
        """Consume until stop is set, then leave the group. Raises KafkaException for a fatal error."""
        for pulse in self._pulses:
            self._health.watch(pulse)
        for delivery in self._deliveries:
            delivery.start()
        try:
            self._consume()
        finally:
            self._is_over.set()
            with self._lock:
                for delivery in self._deliveries:
                    delivery.wake()
            for delivery in self._deliveries:
                delivery.join()
            self._store()
            self._kafka.close()  # commits what is stored
            self._health.forget(*self._pulses)

    def _consume(self) -> None:
        """Consume until stop is set, while no member of the group serves other databases."""
        # Before the first subscription: another one makes the member join again.
        while self._meet() and len(self._unknown) == len(self._deliveries):
            if self._stop.wait(_POLL_SECONDS / 10):
                return
            self._pulse.beat()
        while not self._stop.is_set():
            if reason := self._agreement.why_not_join():
                self._stand_aside(reason)
            self._work()

    def _work(self) -> None:
        """Consume until stop is set, or this member has to leave."""
        while not self._stop.is_set():
            if reason := self._agreement.why_leave():
                self._store()
                self._stand_aside(reason)
                return
            self._round()

    def _stand_aside(self, reason: str) -> None:
        """Be in no group while there are members that serve other databases."""
        log.warning("stands aside", group=self._settings.group, reason=reason)
        if self._subscribed:
            self._kafka.close()
        while reason and not self._stop.wait(_POLL_SECONDS):
            self._pulse.beat()
            self._pulse.is_held_up(reason)
            reason = self._agreement.why_not_join() or ""
        if self._subscribed:
            self._start_client()
        log.info("joins", group=self._settings.group)

    def _connect(self) -> Any:
        callbacks = {"error_cb": self._outage.on_error, "on_commit": self._on_commit}
        properties = {**_properties(self._settings), "group.id": self._settings.group, **callbacks}
        return connect(KafkaConsumer, self._settings, properties)

    def _round(self) -> None:
        if self._outage.needs_new_client(self._kafka):
            self._rejoin()
        self._meet()
        self._subscribe()
        assigned = self._kafka.assignment()
        self._pulse.holds(len(assigned), is_member=bool(assigned or self._kafka.memberid()))
        self._tell_whether_it_waits(bool(assigned))
        with self._lock:
            room = self._await_room()
            self._pause({(partition.topic, partition.partition) for partition in assigned})
        if room:
            records = self._poll(room)
            with self._lock:
                self._take(records)
        self._store()

    def _meet(self) -> bool:
        """Look who is known by now; returns whether some are not."""
        with self._lock:
            self._unknown = [one for one in self._unknown if not one.database.is_known or one.database.inbox is None]
            self._by_source = {
                one.database.settings.source: one for one in self._deliveries if one.database.settings.source
            }
            self._inboxes = [one for one in self._deliveries if one.database.inbox and one.database.inbox.subscriptions]
            undecided, self._undecided = self._undecided, []
            for record, got in undecided:
                self._route(record, got)
        return bool(self._unknown)

    def _subscribe(self) -> None:
        """Read the topics of all databases, and those in which received messages are sent again."""
        topics = {topic for delivery in self._deliveries for topic in delivery.database.given.topics}
        if not topics | self._retry_topics <= self._subscribed:
            self._subscribed |= topics | self._retry_topics
            self._kafka.subscribe([*topics, *sorted(self._retry_topics - topics)])

    @property
    def _retry_topics(self) -> set[str]:
        inboxes = [delivery.database.inbox for delivery in self._deliveries]
        return {topic for inbox in inboxes if inbox for topic in inbox.retry_topics}

    def _rejoin(self) -> None:
        """Join the group with a new client. What waits is polled again, which lets it take effect but once."""
        self._kafka.close()
        self._start_client()

    def _start_client(self) -> None:
        self._kafka = self._connect()
        self._subscribed.clear()
        self._paused.clear()
        self._stored.clear()

    def _tell_whether_it_waits(self, is_assigned: bool) -> None:
        """A member without partitions is held up while errors come; without errors, others have them all."""
        reason = self._outage.last_reason(_REFUSED_SECONDS)
        if reason is not None and not is_assigned:
            self._pulse.is_held_up(f"Kafka: {reason}")
        else:
            self._pulse.moves()

    def _await_room(self) -> int:
        """Wait until a database has got through a call, or none has anything to do; returns how much to poll.

        0: no database answers, so the partitions should go to members that reach them. After a second the group wants
        to hear of its member in any case.
        """
        if all(delivery.is_away or delivery.database.is_away for delivery in self._deliveries):
            self._finished.wait(_POLL_SECONDS)
            return 0
        may_poll = self._finished.wait_for(self._has_room, _LONGEST_SECONDS_WITHOUT_POLL)
        for delivery in self._deliveries:
            delivery.has_finished = False
        return max(delivery.room for delivery in self._deliveries) if may_poll else 1

    def _has_room(self) -> bool:
        busy = [delivery for delivery in self._deliveries if delivery.is_busy and not delivery.is_away]
        return self._stop.is_set() or not busy or any(delivery.has_finished for delivery in self._deliveries)

    def _pause(self, assigned: set[Partition]) -> None:
        """Fetch no more of partitions of which enough waits, so that a slow lane keeps no other from being fetched."""
        sizes = self._sizes()
        is_full = sum(delivery.bytes_waiting() for delivery in self._deliveries) >= _MOST_BYTES
        self._paused &= assigned
        pause = {one for one in assigned - self._paused if sizes[one] >= _MOST_WAITING or (is_full and sizes[one])}
        resume = {one for one in self._paused if sizes[one] < _MOST_WAITING // 2 and not (is_full and sizes[one])}
        if pause:
            self._kafka.pause([TopicPartition(*partition) for partition in pause])
        if resume:
            self._kafka.resume([TopicPartition(*partition) for partition in resume])
        self._paused = self._paused - resume | pause
        metrics.partitions_paused.labels(self._pulse.worker).set(len(self._paused))

    def _sizes(self) -> Counter[Partition]:
        sizes = Counter(_partition(record) for record, _ in self._undecided)
        for delivery in self._deliveries:
            sizes.update(delivery.sizes())
        return sizes

    def _poll(self, limit: int) -> list[Any]:
        """The records at hand, up to a limit; waits for the first only."""
        first = self._kafka.poll(_POLL_SECONDS if limit > 1 else 0)
        polled = [] if first is None else [first, *self._kafka.consume(limit - 1, 0)] if limit > 1 else [first]
        records = []
        for record in polled:
            error = record.error()
            if error is None:
                records.append(record)
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and not error.fatal():
                metrics.count_error(error)
                if record.topic() in self._retry_topics:
                    continue  # nothing has failed yet
                reason = f"topic {record.topic()} does not exist yet"
                self._outage.note(reason)
                log.warning("unavailable", reason=f"Kafka: {reason}")
            else:
                self._outage.on_error(error)
        if self._outage.fatal:
            raise KafkaException(self._outage.fatal)
        if records:
            self._outage.is_over()
        return records

    def _take(self, records: Sequence[Any]) -> None:
        for record in records:
            partition = _partition(record)
            self._ends[partition] = record.offset() + 1
            self._stored.pop(partition, None)
            self._route(record, frozenset())

    def _route(self, record: Any, got: frozenset[str]) -> None:
        """Give a record to the databases that it is for, other than those that have got it; the rest is passed over."""
        topic, headers = record.topic(), headers_in(record)
        source = source_in(headers)
        owner = self._by_source.get(source)
        if owner is not None and not owner.takes(topic):
            owner = None
        inboxes = [one for one in self._inboxes if one is not owner and one.takes(topic)]
        # By what was known when it was looked at last: a database may say who it is between that and now.
        may_be_for_unknown = any(
            one.takes(topic)
            and (
                (one.database.given.receives and one not in self._inboxes)
                or (owner is None and not one.database.given.source)
            )
            for one in self._unknown
        )
        for one in inboxes:
            if one.database.name not in got:
                one.receive(record, is_shared=len(inboxes) > 1 or may_be_for_unknown)
        if owner is not None and owner.database.name not in got:
            self._hand_over(record, headers, owner)
        if may_be_for_unknown:
            names = [one.database.name for one in [*inboxes, *([owner] if owner else [])]]
            self._undecided.append((record, got.union(names)))
        elif not inboxes:
            if owner is None:
                self._foreigners.tell([(record, ForeignRecord("source", self._not_of_here(source)))])
            record.set_value(None)  # nobody reads it any more, and many may wait

    def _hand_over(self, record: Any, headers: Mapping[str, bytes], owner: Delivery) -> None:
        try:
            owner.consume(Entry(record, arrival(record, headers)))
        except ForeignRecord as error:
            with working_for(owner.database.name):
                self._foreigners.tell([(record, error)])

    def _not_of_here(self, source: str) -> str:
        which = repr(next(iter(self._by_source))) if len(self._deliveries) == 1 else "that of any database here"
        return f"its ce_source is {source[:80]!r}, not {which}"

    def _store(self) -> None:
        """Store the offsets behind what was polled, but not behind what is not done."""
        with self._lock:
            starts: dict[Partition, int] = {}
            known = [delivery.starts() for delivery in self._deliveries]
            known += [{_partition(record): record.offset()} for record, _ in self._undecided]
            for some in known:
                for partition, offset in some.items():
                    starts[partition] = min(offset, starts.get(partition, offset))
        offsets = {place: min(end, starts.get(place, end)) for place, end in self._ends.items()}
        new = {place: offset for place, offset in offsets.items() if self._stored.get(place) != offset}
        self._stored |= new
        if not new:
            return
        try:
            self._kafka.store_offsets(offsets=[TopicPartition(*partition, offset) for partition, offset in new.items()])
        except KafkaException as error:
            # All of their partitions have been given to other consumers meanwhile, which read the records again.
            if error.args[0].code() not in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
                raise

    def _on_commit(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None:
            self._outage.on_error(error)


def _partition(record: Any) -> Partition:
    return record.topic(), record.partition()
