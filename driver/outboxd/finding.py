"""What `outboxd doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do where something must be done."""

    subject: str
    state: str
    to_do: str | None = None


def fix_if(is_wrong: bool, subject: str, state: str, to_do: str) -> Finding:
    """A finding that asks for something only where it is wrong."""
    return Finding(subject, state, to_do if is_wrong else None)
