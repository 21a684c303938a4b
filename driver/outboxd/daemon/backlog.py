"""What a consumer has polled and outbox_consume_v1 has not taken yet, by lanes: what the next call is given."""

import time
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outboxd.messages import Arrival, Outcome

Partition = tuple[str, int]
Lane = tuple[str, str]
# A record often comes while the relay is about to commit the mark of its message.
_SHORTEST_REST_SECONDS = 0.004
_LONGEST_REST_SECONDS = 1.0
_MOST_CALLS_WITHOUT_SERVED = 10
_GROWTH = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record that claims to be of this outbox, and of which message."""

    record: Any
    arrival: Arrival

    @property
    def lane(self) -> Lane:
        """The stream in whose order it is handed over."""
        return self.arrival.topic, self.arrival.key

    @property
    def partition(self) -> Partition:
        """Where it came from."""
        return self.record.topic(), self.record.partition()


@dataclass(frozen=True, slots=True)
class _Rest:
    until: float
    seconds: float


class Backlog:
    """Records that wait, in lanes; not for use by two threads.

    The lanes take turns, so that a long one leaves room for the others. Of a business type whose handlers do not get
    through what they are given, less is handed over; and a lane with a message that another session has locked rests.
    """

    def __init__(self, most: int) -> None:
        """`most` is how many records a call is given."""
        self._most = most
        self._most_of: dict[str, float] = {}
        # Those of which no message has been taken yet, and those that wait for another turn.
        self._new: dict[Lane, list[Entry]] = {}
        self._served: dict[Lane, list[Entry]] = {}
        self._calls_without_served = 0
        self._offsets: defaultdict[Partition, list[int]] = defaultdict(list)  # ascending
        self._rests: dict[Lane, _Rest] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Take what was polled."""
        for entry in entries:
            lanes = self._served if entry.lane in self._served else self._new
            insort(lanes.setdefault(entry.lane, []), entry, key=_id)
            insort(self._offsets[entry.partition], entry.record.offset())

    def batch(self, most: int) -> list[Entry]:
        """What the next call is given, at most so many: the first of each lane, then the second of each."""
        now = time.monotonic()
        # A new lane waits for no long one; but many new ones do not stop those.
        order = [self._new, self._served]
        if self._calls_without_served >= _MOST_CALLS_WITHOUT_SERVED:
            order.reverse()
        lanes = [entries for part in order for lane, entries in part.items() if self._rest_of(lane, now) <= 0]
        batch: dict[int, Entry] = {}
        given: Counter[str] = Counter()
        turn = 0
        while lanes and len(batch) < most:
            going_on = []
            for entries in lanes:
                entry = entries[turn]
                biz_type = entry.arrival.biz_type
                # One record a message, because outcomes are by id: a forged copy must not hide the true one.
                if entry.arrival.id not in batch:
                    if given[biz_type] >= int(self._most_of.get(biz_type, self._most)):
                        continue  # what is behind it waits with it
                    if len(batch) == most:
                        break
                    given[biz_type] += 1
                    batch[entry.arrival.id] = entry
                elif batch[entry.arrival.id].arrival != entry.arrival:
                    continue
                if turn + 1 < len(entries):
                    going_on.append(entries)
            lanes = going_on
            turn += 1
        return sorted(batch.values(), key=_id)

    def settle(self, batch: Sequence[Entry], outcomes: Mapping[int, Outcome]) -> list[Outcome]:
        """Forget what outbox_consume_v1 has taken; returns what a lock keeps waiting, once it has for long."""
        locked: list[Outcome] = []
        taken: Counter[str] = Counter()
        left: set[str] = set()
        resting: set[Lane] = set()
        done: defaultdict[Lane, set[Entry]] = defaultdict(set)
        for entry in batch:
            outcome = outcomes[entry.arrival.id]
            if not outcome.is_not_reached:
                taken[entry.arrival.biz_type] += 1
                done[entry.lane].add(entry)
                offsets = self._offsets[entry.partition]
                del offsets[bisect_left(offsets, entry.record.offset())]
            elif outcome.error is None:
                left.add(entry.arrival.biz_type)
            elif entry.lane not in resting:
                resting.add(entry.lane)
                if self._lets_rest(entry.lane):
                    locked.append(outcome)
        self._calls_without_served = 0 if done.keys() & self._served.keys() else self._calls_without_served + 1
        for lane, entries in done.items():
            waiting = self._new.pop(lane, None) or self._served.pop(lane)
            self._rests.pop(lane, None)
            if left_of_lane := [entry for entry in waiting if entry not in entries]:
                self._served[lane] = left_of_lane  # behind the others
        for biz_type in left:
            self._most_of[biz_type] = max(1, taken[biz_type])
        for biz_type in taken.keys() - left:
            most = self._most_of.get(biz_type, self._most)
            if taken[biz_type] >= int(most):
                self._most_of[biz_type] = min(_GROWTH * most, self._most)
        return locked

    def rest_seconds(self) -> float | None:
        """How long until there is something to hand over: 0 at once, None where nothing waits."""
        lanes = [*self._new, *self._served]
        if not lanes:
            return None
        now = time.monotonic()
        return max(0.0, min(self._rest_of(lane, now) for lane in lanes))

    def sizes(self) -> Counter[Partition]:
        """How many records of each partition wait."""
        return Counter({partition: len(offsets) for partition, offsets in self._offsets.items()})

    def starts(self) -> dict[Partition, int]:
        """The offset of the first record that waits, of each partition that has one."""
        return {partition: offsets[0] for partition, offsets in self._offsets.items() if offsets}

    def _rest_of(self, lane: Lane, now: float) -> float:
        rest = self._rests.get(lane)
        return rest.until - now if rest else 0.0

    def _lets_rest(self, lane: Lane) -> bool:
        """Let a lane rest; returns whether it is the first of its longest rests: a relay's mark is over sooner."""
        rest = self._rests.get(lane)
        seconds = min(_LONGEST_REST_SECONDS, 2 * rest.seconds) if rest else _SHORTEST_REST_SECONDS
        self._rests[lane] = _Rest(time.monotonic() + seconds, seconds)
        return rest is not None and rest.seconds < seconds == _LONGEST_REST_SECONDS


def _id(entry: Entry) -> int:
    return entry.arrival.id
