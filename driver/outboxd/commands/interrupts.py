"""Ctrl-C between two lines of input: what has been done by then is complete, and counted."""

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def interruptible(file: BinaryIO) -> Iterator[Iterable[bytes]]:
    """The lines of a file. While the block runs, Ctrl-C makes them raise KeyboardInterrupt and interrupts nothing else.

    So the block always learns what became of a line that it got. A second Ctrl-C interrupts it wherever it is.
    """
    try:
        descriptor = file.fileno()
    except OSError:  # no file of the system's
        yield file
        return
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    came = False

    def note(*_: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    def lines() -> Iterator[bytes]:
        parts: list[bytes] = []
        while True:
            # A signal that comes just before a read would not end it: so wait for both, the input and the signal.
            ready, _, _ = select.select([descriptor, woken], [], [])
            if came:
                raise KeyboardInterrupt
            if descriptor not in ready:
                os.read(woken, 64)
                continue
            data = os.read(descriptor, 1 << 16)
            first, *more = data.split(b"\n")
            parts.append(first)
            for part in more:
                yield b"".join(parts) + b"\n"
                parts = [part]
            if not data:
                break
        if any(parts):
            yield b"".join(parts)

    handler, wakeup = signal.signal(signal.SIGINT, note), signal.set_wakeup_fd(wakes)
    try:
        yield lines()
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        os.close(woken)
        os.close(wakes)
