"""What `outboxd doctor` finds."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]
PATIENCE_SECONDS = 3
"""How long one question to Kafka may take."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was examined, its state, and what to do about it, if anything.

    An error keeps messages from moving, or soon will; a warning is a risk, or somebody's decision.
    """

    subject: str
    state: str
    to_do: str | None = None
    level: Level = "ok"


def error(subject: str, state: str, to_do: str) -> Finding:
    """A finding that must be seen to."""
    return Finding(subject, state, to_do, "error")


def error_if(is_wrong: bool, subject: str, state: str, to_do: str) -> Finding:
    """A finding that has something to do only if it is wrong."""
    return error(subject, state, to_do) if is_wrong else Finding(subject, state)


def warn_if(is_wrong: bool, subject: str, state: str, to_do: str) -> Finding:
    """The same for a risk."""
    return Finding(subject, state, to_do, "warning") if is_wrong else Finding(subject, state)
