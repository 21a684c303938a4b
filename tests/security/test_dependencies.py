"""What outboxd is built on is pinned by range: from the release that was tried, to the next that may break."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    groups = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    requirements = [Requirement(text) for group in groups for text in group]
    assert len(requirements) > 15
    for requirement in requirements:
        operators = {one.operator for one in requirement.specifier}
        assert operators == {">=", "<"}, str(requirement)
