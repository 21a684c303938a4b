"""What goes on in a thread of its own for as long as a block lasts."""

import threading
from types import TracebackType
from typing import Self


class Background(threading.Thread):
    """Starts on entering the block; on leaving it `over` is set, and the thread is waited for."""

    def __init__(self) -> None:
        super().__init__(name=type(self).__name__.lower())
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.join()
