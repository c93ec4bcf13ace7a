"""What ``make`` installs as it stands is what the project asks for."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def test_every_dependency_is_pinned_to_a_version_that_it_may_have() -> None:
    """Else pip works out the rest, for minutes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    wanted += [Requirement(line) for extra in project["optional-dependencies"].values() for line in extra]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    wrong = [
        str(one)
        for one in wanted
        if one.name != project["name"] and not one.specifier.contains(pins.get(canonicalize_name(one.name), "0"))
    ]
    assert wrong == []
