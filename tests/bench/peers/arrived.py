"""What a topic has of what was committed: lost, duplicated, out of order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.kit.kafka import Record


@dataclass(frozen=True, slots=True)
class Arrived:
    """How many messages were committed, and what is wrong with their records."""

    messages: int
    lost: int
    duplicated: int
    out_of_order: int

    def __add__(self, other: "Arrived") -> "Arrived":
        return Arrived(
            self.messages + other.messages,
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.out_of_order + other.out_of_order,
        )


def count(keys: Mapping[int, str], records: Sequence[tuple[int, Record]]) -> Arrived:
    """Compare the committed messages, by number, with the records of a topic and the numbers that are in them.

    The numbers of a key rise in the order of their commits. lost: no record. duplicated: records beyond the first of
    each message. out of order: messages whose first record comes behind that of a later message of their key, or is in
    another partition than the key's first message.
    """
    copies = Counter(number for number, _ in records)
    seen: set[int] = set()
    highest: dict[str, tuple[int, int]] = {}
    out_of_order = 0
    for number, record in sorted(records, key=lambda one: (one[1].partition, one[1].offset)):
        if number in seen or number not in keys:
            continue
        seen.add(number)
        partition, last = highest.get(keys[number], (record.partition, number))
        out_of_order += record.partition != partition or number < last
        highest[keys[number]] = partition, max(last, number)
    return Arrived(
        messages=len(keys),
        lost=len(keys.keys() - seen),
        duplicated=sum(copies[number] - 1 for number in seen),
        out_of_order=out_of_order,
    )
