"""Writes what the docs take from the code: sql/REFERENCE.md, and what stands between markers in other pages.

Those are the tables of driver/README.md, and the samples of sql/clients.

``python -m tests.docs`` writes, ``python -m tests.docs --check`` changes nothing and exits 1 if a page is out of date.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.docs import reference, samples, tables
from tests.servers.paths import CHECKOUT

_COMMAND = "python -m tests.docs"
_REFERENCE = CHECKOUT / "sql" / "REFERENCE.md"
_DRIVER_README = CHECKOUT / "driver" / "README.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check say which differ; returns the exit code."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is out of date")
    only_check = parser.parse_args(arguments).check
    is_outdated = False
    try:
        pages = {_REFERENCE: reference.page(_COMMAND), _DRIVER_README: _driver_readme()}
        pages |= {page: _with_sections(page, made) for page, made in samples.pages()}
    except ValueError as error:
        raise SystemExit(str(error)) from None
    for path, text in pages.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        is_outdated = True
        name = path.relative_to(CHECKOUT)
        if only_check:
            print(f"{name} is out of date: run `make docs`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(name)
    return int(is_outdated and only_check)


def _driver_readme() -> str:
    """driver/README.md with its generated tables as they must be now."""
    made = {
        "commands": tables.commands(),
        "settings": tables.settings(),
        "metrics": tables.metrics(),
        "alerts": tables.alerts(_DRIVER_README.read_text(encoding="utf-8")),
    }
    return _with_sections(_DRIVER_README, made)


def _with_sections(page: Path, made: Mapping[str, str]) -> str:
    """The page with these texts between the markers of its sections. Raises ValueError where there are none."""
    whole = page.read_text(encoding="utf-8")
    for name, text in made.items():
        begin, end = f"<!-- {name}: made by {_COMMAND} -->\n", f"<!-- {name}: end -->"
        before, begin_found, rest = whole.partition(begin)
        _, end_found, after = rest.partition(end)
        if not (begin_found and end_found):
            raise ValueError(f"{page.relative_to(CHECKOUT)}: no {begin.strip()} ... {end.strip()} in it")
        whole = f"{before}{begin}\n{text}\n\n{end}{after}"
    return whole


if __name__ == "__main__":
    sys.exit(main())
