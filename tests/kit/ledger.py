"""The ledger of an application: what it put into the outbox, and what it was told had committed.

A JSON line is written when a transaction begins (so that a successor knows where to go on), before its COMMIT, and
after. A transaction whose COMMIT was begun and never answered well is in doubt: its messages may exist or not.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One chat message as its application knows it; of one key, no two topics have the same text."""

    id: int
    topic: str
    key: str
    user_id: int
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What applications know: messages that committed, messages whose COMMIT was never answered, and errors."""

    committed: Sequence[Entry]
    in_doubt: Sequence[Entry] = ()
    errors: Sequence[str] = ()

    def __add__(self, other: "Ledger") -> "Ledger":
        """Both together."""
        return Ledger(
            [*self.committed, *other.committed], [*self.in_doubt, *other.in_doubt], [*self.errors, *other.errors]
        )


class Writer:
    """Appends to a ledger; every line is in the file when its method returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def begins(self, position: int) -> None:
        """A transaction begins; the next one starts at this position of the application's chat."""
        self._write({"next": position})

    def commits(self, entries: Iterable[Entry]) -> None:
        """COMMIT is about to be sent."""
        self._write({"commits": [asdict(entry) for entry in entries]})

    def committed(self) -> None:
        """COMMIT was answered."""
        self._write({"committed": True})

    def failed(self, error: str) -> None:
        """MySQL did not let the transaction end; where that was before COMMIT, it is rolled back."""
        self._write({"error": error})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


def position(path: Path) -> int:
    """Where an application that writes this ledger goes on: after the last transaction that it began."""
    return max((line["next"] for line in _lines(path) if "next" in line), default=0)


def read(paths: Iterable[Path]) -> Ledger:
    """Read the ledgers of several applications."""
    committed: list[Entry] = []
    in_doubt: list[Entry] = []
    errors: list[str] = []
    for path in paths:
        under_way: list[Entry] = []
        for line in _lines(path):
            if "committed" in line:
                committed += under_way
                under_way = []
            elif "commits" in line:
                under_way = [Entry(**entry) for entry in line["commits"]]
            elif "error" in line:
                errors.append(line["error"])
            else:
                in_doubt += under_way
                under_way = []
        in_doubt += under_way
    return Ledger(committed, in_doubt, errors)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    finished = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in finished.split("\n") if line]
