"""Nothing outside connectors/ decides by the words of one system, or by its way of speaking."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = frozenset({"active", "scim", "userName", "externalId", "accountEnabled"})
BEGINNINGS = ("urn:", "http")
SYSTEMS = re.compile(
    r"(?:from|import) connectors\."
    r"(?:scim|sql|csv|ldap|entra|salesforce|servicenow|dropbox|workday|successfactors|http\w*|wire|oauth|signing|kit)\b"
)
"""Modules of one system, and those that only systems which speak HTTP have, or that connectors are written with."""
OF_ONE_SYSTEM = {
    "flows/show/probe.py": "the probe of a SCIM service",
    "flows/cli/entra_import/": "the import of Entra's SCIM jobs",
    "flows/cli/first_job.py": "a first job is for an export, which is a file",
    "tasks/assignment.py": "the table of assignments is a file, whatever the source",
}
OF_OTHER_THINGS = {
    "flows/cli/making.py": "the app that a first job is for, unless one is named",
    "flows/serve/web/": "the pages are a web server themselves",
    "tasks/pages/person.py": "what Provisor itself calls an account that is not disabled",
}
ASKS = frozenset({"startswith", "endswith", "get", "pop", "partition", "rpartition", "split", "index", "find"})
"""Methods whose arguments decide."""


def modules() -> Iterator[tuple[str, str]]:
    """Name and text of every module of stages and flows."""
    for folder in ("tasks", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def deciding(node: ast.AST) -> list[ast.expr]:
    """What an expression compares with, looks up, or asks a text for."""
    found: list[ast.expr] = []
    match node:
        case ast.Compare():
            found = [node.left, *node.comparators]
        case ast.Subscript():
            found = [node.slice]
        case ast.MatchValue():
            found = [node.value]
        case ast.Call(func=ast.Attribute(attr=asked)) if asked in ASKS:
            found = list(node.args)
    inside = [one for several in found if isinstance(several, ast.Tuple | ast.List | ast.Set) for one in several.elts]
    return found + inside


def decisions(text: str) -> list[str]:
    """Lines of a module that decide by a system's words."""
    return [
        f"line {one.lineno}: {one.value}"
        for node in ast.walk(ast.parse(text))
        for one in deciding(node)
        if isinstance(one, ast.Constant)
        and isinstance(one.value, str)
        and (one.value in WORDS or one.value.startswith(BEGINNINGS))
    ]


def test_nothing_decides_by_a_systems_words() -> None:
    """The switch, the paths and the name of a system are the connector's business."""
    exempt = (*OF_ONE_SYSTEM, *OF_OTHER_THINGS)
    found = {name: lines for name, text in modules() if (lines := decisions(text)) and not name.startswith(exempt)}
    assert found == {}


def test_stages_import_no_system() -> None:
    """Stages know the contract and the registry, no connector, and nothing of HTTP."""
    found = [name for name, text in modules() if SYSTEMS.search(text) and not name.startswith(tuple(OF_ONE_SYSTEM))]
    assert found == []


def test_what_is_exempt_is_still_there() -> None:
    """An exemption that nothing needs any more is taken out."""
    texts = dict(modules())
    for place in OF_ONE_SYSTEM:
        assert any(SYSTEMS.search(text) or decisions(text) for name, text in texts.items() if name.startswith(place))
    for place in OF_OTHER_THINGS:
        assert any(decisions(text) for name, text in texts.items() if name.startswith(place))


def test_a_decision_is_seen_in_each_of_its_forms() -> None:
    """The search itself: words that are only shown are none."""
    for text in (
        'x == "active"',
        'row["active"]',
        '"active" in row',
        'x in ("scim", "sql")',
        'path.startswith("urn:ietf")',
        'row.get("userName")',
        'match x:\n    case "scim":\n        pass',
    ):
        assert decisions(text), text
    assert decisions('print("active", "https://example.com")') == []
