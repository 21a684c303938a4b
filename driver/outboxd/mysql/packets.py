"""How large a text is in a statement, and which texts fit into one: no packet may be above max_allowed_packet."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from outboxd.mysql.connection import Connection

_STATEMENT_BYTES = 1024  # a call without its array takes no more
Element = TypeVar("Element")


def most_bytes(database: Connection) -> int:
    """What the array of a call may have at most, in bytes of UTF-8. Raises Unavailable."""
    return database.most_packet_bytes() - _STATEMENT_BYTES


def too_large(size: int, most: int) -> str | None:
    """Why an element of so many bytes fits into no call; None: it does."""
    if size <= most:
        return None
    limit = most + _STATEMENT_BYTES
    return f"too large: {size + _STATEMENT_BYTES} bytes as it is sent, MySQL's max_allowed_packet is {limit}"


def divided(elements: Iterable[tuple[Element, int]], most: int) -> Iterator[list[Element]]:
    """Divide elements, each given with its size, so that the array of each part fits into a call."""
    part: list[Element] = []
    taken = 0
    for element, size in elements:
        if part and taken + size + 1 > most:
            yield part
            part, taken = [], 0
        part.append(element)
        taken += size + 1
    if part:
        yield part
