"""Names that nothing else has, and message_keys of a wanted slot."""

import itertools
import uuid
import zlib


def unused(kind: str) -> str:
    """A name that nothing else has."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def slot_of(key: str) -> int:
    """Return the slot of a message_key."""
    return zlib.crc32(key.encode()) % 64


# Of the same CRC32: as keys of one topic, and as topics of one key, they are lanes of the same hash.
TWINS = ("uejgtcuo", "iiwucoup")


def key_of(slot: int, number: int = 0) -> str:
    """Return a message_key of this slot, another for each number."""
    keys = (f"key {candidate}" for candidate in itertools.count())
    return next(itertools.islice((key for key in keys if slot_of(key) == slot), number, None))
