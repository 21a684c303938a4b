"""Records that are of no database here: counted by reason, and told in the log as far as that stays readable."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog

from outboxd.kafka.records import ForeignRecord
from outboxd.observe import metrics

log = structlog.get_logger()
_LOGGED = 20
_SAID_AGAIN_SECONDS = 60


class Foreigners:
    """Counts foreign records, and logs the first of them; then, each minute, how many there were."""

    def __init__(self) -> None:
        self._logged = 0
        self._unlogged: Counter[str] = Counter()
        self._told_at = time.monotonic()

    def tell(self, records: Sequence[tuple[Any, ForeignRecord]]) -> None:
        """Pass over these; an empty list gives those of before their line, once the minute is over."""
        metrics.consumed.labels("foreign").inc(len(records))
        self.note(records)

    def note(self, records: Sequence[tuple[Any, ForeignRecord]]) -> None:
        """The same for records that are counted as consumed already."""
        for record, error in records:
            metrics.foreign.labels(error.reason).inc()
            if self._logged < _LOGGED:
                self._logged += 1
                place = f"{record.topic()}[{record.partition()}]@{record.offset()}"
                log.warning("foreign", record=place, reason=str(error))
            else:
                self._unlogged[error.reason] += 1
        if self._unlogged and time.monotonic() - self._told_at >= _SAID_AGAIN_SECONDS:
            self._told_at = time.monotonic()
            log.warning("more foreign records", **self._unlogged)
            self._unlogged.clear()
