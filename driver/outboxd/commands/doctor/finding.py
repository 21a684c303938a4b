"""What `outboxd doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was examined, its state, and what to do about it, if anything."""

    subject: str
    state: str
    to_do: str | None = None


def fix_if(is_wrong: bool, subject: str, state: str, to_do: str) -> Finding:
    """A finding that has something to do only if it is wrong."""
    return Finding(subject, state, to_do if is_wrong else None)
