"""The samples of sql/clients: what stands between docs:begin and docs:end in client programs, which the tests run."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.servers.paths import CHECKOUT

PAGES = CHECKOUT / "sql" / "clients"
LANGUAGES = {".py": "python", ".go": "go", ".java": "java", ".js": "js", ".ts": "ts", ".php": "php", ".rb": "ruby"}
_SECTION = re.compile(r"<!-- (?P<program>tests/clients/\S+): made by ")
_SAMPLE = re.compile(r"^[^\n]*docs:begin[^\n]*\n(.*?)^[^\n]*docs:end", re.DOTALL | re.MULTILINE)


def pages() -> Iterator[tuple[Path, dict[str, str]]]:
    """Every page, and the samples that stand in it, by the program's path."""
    for page in sorted(PAGES.glob("*.md")):
        programs = _SECTION.findall(page.read_text(encoding="utf-8"))
        yield page, {program: sample(CHECKOUT / program) for program in programs}


def sample(program: Path) -> str:
    """The sample of a program as a block of Markdown. Raises ValueError where it has none, or none that ends."""
    if not program.is_file():
        raise ValueError(f"{program}: a page has a sample of it, and it is not there")
    code = program.read_text(encoding="utf-8")
    parts = _SAMPLE.findall(code)
    if not len(parts) == code.count("docs:begin") == code.count("docs:end") > 0:
        raise ValueError(f"{program}: each docs:begin needs a docs:end, and it needs one of each")
    text = "\n\n".join(textwrap.dedent(part.replace("\t", "    ")).strip() for part in parts)
    return f"```{LANGUAGES[program.suffix]}\n{text}\n```"
