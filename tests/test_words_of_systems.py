"""Nothing outside connectors/ decides by the words of one system."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = re.compile(r"""["']active["'] in |\[["']active["']\]|startswith\(["']urn:|== ["'](?:scim|active)["']""")
SYSTEMS = re.compile(r"(?:from|import) connectors\.(?:scim|sql|csv|ldap|entra|salesforce|servicenow|dropbox|workday)\b")
OF_ONE_SYSTEM = ("flows/show/probe.py", "flows/cli/entra_import/", "flows/cli/demo.py", "tasks/assignment.py")
"""What is about one system itself: the probe of a SCIM service, the import of a SCIM schema, the demo's server, and the
table of assignments, which is a file whatever the source."""


def found(pattern: re.Pattern[str]) -> list[str]:
    """Lines of stages and flows that a pattern fits."""
    lines = []
    for folder in ("tasks", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(OF_ONE_SYSTEM):
                text = path.read_text(encoding="utf-8").splitlines()
                lines += [f"{name}:{number}" for number, line in enumerate(text, 1) if pattern.search(line)]
    return lines


def test_nothing_decides_by_a_systems_words() -> None:
    """The switch, the paths and the name of a system are the connector's business."""
    assert found(WORDS) == []


def test_stages_import_no_system() -> None:
    """Stages know the contract and the registry, and no connector."""
    assert found(SYSTEMS) == []
