"""Sessions of the mysql client as the docs show them: what is typed, and what must come back."""

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(?:text|sql)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PROMPT = re.compile(r"(?:mysql> | {4}-> ?)")
_CHATTER = re.compile(r"Query OK|Empty set|\d+ rows? in set|$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?")
_FRACTION = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Transcript:
    """One block of a page: a session with its prompts, or plain SQL, which shows no output."""

    typed: str
    shown: str | None

    @property
    def output(self) -> list[str]:
        """The lines that the client prints on standard output, comparable."""
        return comparable("\n".join(line for line in (self.shown or "").splitlines() if not line.startswith("ERROR ")))

    @property
    def errors(self) -> list[str]:
        """The errors, comparable."""
        return [line for line in (self.shown or "").splitlines() if line.startswith("ERROR ")]


def transcripts(page: str) -> list[Transcript]:
    """Every block of SQL of a page, in order."""
    return [_transcript(block) for block in _BLOCK.findall(page) if not block.startswith(("ALTER EVENT", "->"))]


def _transcript(block: str) -> Transcript:
    if not block.startswith("mysql> "):
        return Transcript(block, None)
    lines = block.splitlines()
    typed = "\n".join(_PROMPT.sub("", line, count=1) for line in lines if _PROMPT.match(line))
    return Transcript(typed, "\n".join(line for line in lines if not _PROMPT.match(line)))


def comparable(printed: str) -> list[str]:
    """Lines without what differs each time: times, fractions, the width of columns, how long it took."""
    lines = []
    for line in printed.splitlines():
        if not _CHATTER.match(line):
            same = _FRACTION.sub("N", _TIME.sub("TIME", line))
            lines.append(re.sub(r" +", " ", re.sub(r"-+", "-", same)).strip())
    return lines
