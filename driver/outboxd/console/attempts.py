"""How often somebody may try to log in."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

WINDOW_SECONDS = 300
_MOST_NAMES = 10_000


class Attempts:
    """Counts attempts by address and by account. An attempt counts from its beginning, so that many at once do, too."""

    def __init__(self, most: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        """most: how many attempts each kind of name has within WINDOW_SECONDS, such as {"address": 20}."""
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def begin(self, **names: str) -> float:
        """Count an attempt; returns 0, or for how many seconds none is allowed, and then it is not counted."""
        now = self._clock()
        with self._lock:
            made = {name: self._recent(name, now) for name in names.items()}
            full = [times for (kind, _), times in made.items() if len(times) >= self._most[kind]]
            if full:
                return max(times[0] for times in full) + WINDOW_SECONDS - now
            for times in made.values():
                times.append(now)
        return 0

    def take_back(self, **names: str) -> None:
        """The attempt that began last was none: it has succeeded, or the server could not say."""
        with self._lock:
            for name in names.items():
                times = self._made.get(name)
                if times:
                    times.pop()

    def _recent(self, name: tuple[str, str], now: float) -> deque[float]:
        times = self._made.setdefault(name, deque())
        self._made.move_to_end(name)
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        while len(self._made) > _MOST_NAMES:
            self._made.popitem(last=False)
        return times
