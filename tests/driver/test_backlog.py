"""The consumer's backlog: which records the next call is given, and what becomes of those that it does not take."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest

from outboxd.daemon.backlog import Backlog, Entry
from outboxd.messages import Arrival, Outcome

MOST = 100


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record stands in Kafka."""

    number: int
    place: int = 0

    def topic(self) -> str:
        """Of the record."""
        return "chat"

    def partition(self) -> int:
        """Of the record."""
        return self.place

    def offset(self) -> int:
        """Of the record."""
        return self.number


def entry(id_: int, key: str = "k", biz_type: str = "chat", partition: int = 0, offset: int | None = None) -> Entry:
    """The record of a message."""
    number = id_ if offset is None else offset
    return Entry(Record(number, partition), Arrival(id_, None, "chat", key, partition, number, biz_type))


def given(backlog: Backlog, most: int = MOST) -> list[int]:
    """The messages of the next call."""
    return [each.arrival.id for each in backlog.batch(most)]


def call(backlog: Backlog, outcomes: Mapping[int, str], error: str | None = None) -> list[int]:
    """A call with these outcomes, consumed if not given; returns what is locked and was not."""
    batch = backlog.batch(MOST)
    made = {each.arrival.id: outcomes.get(each.arrival.id, "consumed") for each in batch}
    rows = {id_: Outcome(id_, what, error if what == "not reached" else None) for id_, what in made.items()}
    return [outcome.id for outcome in backlog.settle(batch, rows)]


def backlog_of(entries: Iterable[Entry]) -> Backlog:
    """A backlog with these records."""
    backlog = Backlog(MOST)
    backlog.add(entries)
    return backlog


def test_lanes_take_turns_and_a_long_one_leaves_room_for_the_others() -> None:
    backlog = backlog_of([*(entry(id_, "hot") for id_ in range(50)), entry(60, "a"), entry(61, "b")])
    assert given(backlog, 4) == [0, 1, 60, 61]


def test_messages_of_a_lane_are_given_by_id_whatever_the_order_of_their_records() -> None:
    backlog = backlog_of([entry(3), entry(1), entry(2)])
    assert given(backlog, 2) == [1, 2]


def test_of_a_slow_type_as_many_are_given_as_it_gets_through_and_new_lanes_first() -> None:
    backlog = backlog_of(
        [*(entry(id_, "hot", "slow") for id_ in range(50)), *(entry(id_, "c") for id_ in range(60, 70))]
    )
    call(backlog, dict.fromkeys(range(1, 50), "not reached"))
    assert given(backlog) == [1]
    backlog.add([entry(99, "new", "slow"), entry(98, "of another type")])
    assert given(backlog) == [98, 99]


def test_type_that_has_become_quick_is_given_more_again() -> None:
    backlog = backlog_of(entry(id_, "hot", "slow") for id_ in range(500))
    call(backlog, dict.fromkeys(range(1, 500), "not reached"))
    for _ in range(30):
        call(backlog, {})
    assert len(given(backlog)) >= 5


def test_many_new_lanes_do_not_stop_a_long_one() -> None:
    backlog = backlog_of(entry(id_, "hot", "slow") for id_ in range(50))
    call(backlog, dict.fromkeys(range(1, 50), "not reached"))
    served = 0
    for number in range(100, 150):
        backlog.add([entry(2 * number, f"new {number}", "slow"), entry(2 * number + 1, f"another {number}", "slow")])
        batch = given(backlog)
        served += min(batch) < 50
        call(backlog, dict.fromkeys(batch[1:], "not reached"))
    assert served >= 4


@pytest.mark.parametrize("same", [True, False])
def test_of_records_with_one_id_one_is_given(same: bool) -> None:
    backlog = backlog_of([entry(1, offset=1), entry(1, "k" if same else "forged", offset=2), entry(2, offset=3)])
    assert given(backlog) == [1, 2]
    call(backlog, {})
    assert given(backlog) == [1]


def test_locked_lane_rests_and_is_told_once() -> None:
    backlog = backlog_of([entry(1, "locked"), entry(2, "locked"), entry(3, "free")])
    locked = dict.fromkeys([1, 2], "not reached")
    told = []
    rests: list[float] = []
    while sum(rests) < 2:
        told += call(backlog, locked, "another session has locked message 1")
        assert given(backlog) == []
        rest = backlog.rest_seconds() or 0
        assert 0 < rest <= 1
        rests.append(rest)
        time.sleep(rest)
    assert told == [1]
    assert rests[0] < 0.01  # a relay's mark is over soon
    assert len(rests) < 12
    assert call(backlog, locked, "another session has locked message 1") == []
    backlog.add([entry(4, "free"), entry(5, "locked")])
    assert (given(backlog), backlog.rest_seconds()) == ([4], 0)


def test_offsets_end_before_what_waits() -> None:
    backlog = backlog_of([entry(9, "a", offset=1), entry(8, "b", offset=2), entry(7, "c", partition=1, offset=3)])
    first, second = ("chat", 0), ("chat", 1)
    assert backlog.starts() == {first: 1, second: 3}
    call(backlog, {8: "not reached"})
    assert backlog.starts() == {first: 2}
    backlog.add([entry(6, "b", offset=0)])  # again, after a rebalance
    assert backlog.starts() == {first: 0}
    assert (backlog.sizes()[first], backlog.sizes()[second]) == (2, 0)
    call(backlog, {})
    assert (backlog.starts(), backlog.rest_seconds()) == ({}, None)
