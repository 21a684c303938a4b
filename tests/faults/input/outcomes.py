"""What has to become of a bad message: a final state, and a last_error that tells an operator why."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.faults.report import problems_of
from tests.faults.stage import Scene
from tests.kit import checker
from tests.kit.checker import Verdict
from tests.kit.ledger import Entry, Ledger
from tests.kit.session import Row

_SHOWN = 110


@dataclass(frozen=True, slots=True)
class Expected:
    """One message and its end.

    says is a part of last_error; None means that there must be no last_error. Any number of retries is right where
    they are None.
    """

    id: int
    name: str
    status: str
    says: str | None = None
    retries: int | None = 0

    def is_met_by(self, row: Row | None) -> bool:
        """Whether this is the message's row."""
        if row is None or row["status"] != self.status or self.retries not in {None, row["retry_count"]}:
            return False
        if self.says is None:
            return row["last_error"] is None
        return bool(row["last_error"]) and self.says in row["last_error"]


@dataclass(slots=True)
class Judgement:
    """All messages of a scene: the good ones by the checker, the bad ones by what was expected of each."""

    verdict: Verdict
    found: str
    problems: list[str] = field(default_factory=list)


def judge(scene: Scene, good: Sequence[Entry], bad: Sequence[Expected]) -> Judgement:
    """Compare; good has every chat message that must take effect, and nothing but these may."""
    rows = {row["id"]: row for row in scene.session.rows("SELECT * FROM agent_outbox_messages")}
    lines = [f"{expected.name}: {_shown(rows.get(expected.id))}" for expected in bad]
    problems = [
        f"{expected.name}: {_shown(rows.get(expected.id))}; expected: {expected}"
        for expected in bad
        if not expected.is_met_by(rows.get(expected.id))
    ]
    verdict = checker.check(Ledger(good), scene.session)
    # The dead ones are what was wanted, where they are these.
    dead = {id_ for id_, row in rows.items() if row["status"] == "dead"}
    wanted = {expected.id for expected in bad if expected.status == "dead"}
    kept = [line for line in verdict.evidence if not line.startswith("dead: ")]
    verdict = replace(verdict, dead=len(dead - wanted), evidence=kept + [f"dead: {rows[id_]}" for id_ in dead - wanted])
    return Judgement(verdict, "\n         ".join([str(verdict), *lines]), problems + problems_of(verdict))


def _shown(row: Row | None) -> str:
    if row is None:
        return "no such message"
    error = row["last_error"]
    retries = f" after {row['retry_count']} failures" if row["retry_count"] else ""
    return f"{row['status']}{retries}" + ("" if error is None else f", last_error {error[:_SHOWN]!r}")
