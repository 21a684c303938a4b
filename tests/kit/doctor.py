"""What `outboxd doctor` printed, for tests to look into."""

from typing import NamedTuple

from click.testing import Result

_RANK = {"ok": 0, "warn": 1, "FIX": 2}


class Found(NamedTuple):
    """ok, warn or FIX; the state; and what to do about it."""

    verdict: str
    state: str
    to_do: str


def findings(done: Result) -> dict[str, Found]:
    """By subject, of several the first of the worst; the exit code must agree with all of them."""
    found: list[tuple[str, Found]] = []
    for line in done.output.splitlines():
        if line.startswith(("ok  ", "warn", "FIX ")):
            subject, _, state = line[6:].partition("  ")
            found.append((subject, Found(line[:4].strip(), state.strip(), "")))
        else:
            subject, last = found.pop()
            found.append((subject, last._replace(to_do=line.strip().removeprefix("-> "))))
    assert done.exit_code == max((_RANK[one.verdict] for _, one in found), default=0), done.output
    by_subject: dict[str, Found] = {}
    for subject, one in found:
        if subject not in by_subject or _RANK[one.verdict] > _RANK[by_subject[subject].verdict]:
            by_subject[subject] = one
    return by_subject


def to_be_done(done: Result) -> dict[str, Found]:
    """What is not ok, by subject."""
    return {subject: one for subject, one in findings(done).items() if one.verdict != "ok"}
