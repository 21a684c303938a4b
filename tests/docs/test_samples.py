"""The samples of sql/clients are what the client programs have, and none of them is forgotten."""

from pathlib import Path

import pytest

from tests.docs import samples
from tests.servers.paths import CHECKOUT


def program(folder: Path, text: str) -> Path:
    """A client program."""
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_sample_is_what_stands_between_its_markers(tmp_path: Path) -> None:
    code = "import x\n# docs:begin\ndef first():\n    x()\n# docs:end\nrun()\n"
    assert samples.sample(program(tmp_path, code)) == "```python\ndef first():\n    x()\n```"


def test_parts_of_a_sample_follow_each_other_without_the_indentation_that_they_share(tmp_path: Path) -> None:
    code = "# docs:begin\none()\n# docs:end\nif x:\n    # docs:begin\n    two()\n    if y:\n\tthree()\n    # docs:end\n"
    assert samples.sample(program(tmp_path, code)) == "```python\none()\n\ntwo()\nif y:\nthree()\n```"


@pytest.mark.parametrize(
    "code", ["run()\n", "# docs:begin\nrun()\n", "run()\n# docs:end\n", "# docs:begin\na()\n# docs:end\n# docs:begin\n"]
)
def test_program_without_a_whole_sample_is_refused(tmp_path: Path, code: str) -> None:
    with pytest.raises(ValueError, match=r"program\.py: each docs:begin needs a docs:end"):
        samples.sample(program(tmp_path, code))


def test_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.py: a page has a sample of it, and it is not there"):
        samples.sample(tmp_path / "gone.py")


def test_every_sample_stands_in_a_page() -> None:
    shown = {name for _, made in samples.pages() for name in made}
    made = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "tests" / "clients").rglob("*")
        if path.suffix in samples.LANGUAGES and "docs:begin" in path.read_text(encoding="utf-8")
    }
    assert shown == made != set()
