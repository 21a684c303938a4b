"""What glibc's malloc keeps of what is free: little. With another C library these do nothing."""

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # in malloc.h, as the next
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 << 10


def keep_little() -> None:
    """Let all threads share one arena: what one has freed the next one uses. A large block goes back when it is freed.

    By default glibc keeps such blocks, too, up to the size of the largest that was ever freed.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Give free pages back to the system. A closed connection leaves almost a megabyte, most of it of TLS."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
