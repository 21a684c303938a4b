"""Logs: readable lines on a terminal, one JSON object a line elsewhere. Message text is never logged."""

import logging
import sys
import time
from contextlib import suppress
from typing import TextIO, cast

import structlog

_SAID_AGAIN_SECONDS = 60


class _Lossy:
    """A stream into which writing never fails: a full disk or a closed pipe costs lines, and stops no worker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose, the text."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Send what was written, or lose it."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Libraries(logging.Handler):
    """Lets libraries' warnings be lines of this log, each reason once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log a library's line, without the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        reason = record.getMessage() if error is None else f"{record.getMessage()}: {error!r}"
        now = time.monotonic()
        if now - self._said_at.get(record.msg, float("-inf")) >= _SAID_AGAIN_SECONDS:
            self._said_at[record.msg] = now
            structlog.get_logger().log(record.levelno, "library", name=record.name, reason=reason)


def configure(*, verbose: bool = False) -> None:
    """Set structlog up to write to standard error; verbose adds debug lines."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Lossy(sys.stderr))),
    )
    logging.basicConfig(handlers=[_Libraries()], force=True)
