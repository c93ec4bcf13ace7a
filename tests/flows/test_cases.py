"""``provisor explain --cases``: people test their own mappings with files of cases."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import app
from flows.show import cases
from flows.show.cases import Actual

GOLDEN = Path(__file__).parent / "explain"
VECTORS = Path(__file__).parents[1] / "tasks" / "expressions" / "vectors.json"


def run(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["explain", "--cases", str(path), *options])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write_file(content: Any) -> Path:
        path = tmp_path / "cases.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write_file


def case(expression: str, expected: Any, **more: Any) -> dict[str, Any]:
    return {"expression": expression, "attributes": {}, "expected": expected, **more}


RIGHT = [
    case("ToUpper([a])", "X", attributes={"a": "x"}, function="ToUpper", note="", source="a remark of ours"),
    case("ToUpper([a])", None, attributes={"a": None}),
    case("Count([a])", 2, attributes={"a": ["x", "y"]}),
    case("[a]", True, attributes={"a": True}),
    case("[a]", 7.0, attributes={"a": 7}),
    case("[a]", {"x": [1, {"y": None}]}, attributes={"a": {"x": [1, {"y": None}]}}),
    case("Guid()", {"$regex": "^[0-9a-f-]{36}$"}),
    case("IgnoreFlowIfNullOrEmpty([a])", {"$flow": "ignore_attribute"}),
    case('IIF("1" = "1", IgnoreObjectFlow, "False")', {"$flow": "ignore_object"}),
    case("CDate([a])", {"$flow": "escrow"}, attributes={"a": "soon"}),
    case("Now()", "7/2/2021 3:33:38 PM", now="2021-07-02T15:33:38Z"),
    case("DefaultDomain()", "example.com", context={"defaultDomain": "example.com"}),
    case('SelectUniqueValue([a], Append([a], "1"))', "ann1", attributes={"a": "ann"}, target_existing=["Ann"]),
    case('SelectUniqueValue([a], Append([a], "1"))', {"$flow": "escrow"}, attributes={"a": "x"},
         target_existing=["x", "x1"]),
    case('Coalesce([a], "none")', "", attributes={"a": ""}, context={"keep_empty": True}),
    case("AssertiveAppRoleAssignmentsComplex([a])", []),
]  # fmt: skip

WRONG = [
    case("ToUpper([a])", "x", attributes={"a": "x"}, function="ToUpper", note="case differs"),
    case("ToUpper([a])", "X ", attributes={"a": "x"}),
    case("Count([a])", "2", attributes={"a": ["x", "y"]}),
    case("[a]", 1, attributes={"a": True}),
    case("[a]", None, attributes={"a": ""}),
    case("Guid()", {"$regex": "^x"}),
    case("[a]", {"$flow": "ignore_attribute"}, attributes={"a": "x"}),
    case("IgnoreFlowIfNullOrEmpty([a])", None),
    case("CDate([a])", "soon", attributes={"a": "soon"}),
    case('Join(",", [a]', "x"),
]


def test_published_examples_pass() -> None:
    """Every example of the language's publishers passes as a file of cases."""
    result = run(VECTORS)
    assert result.exit_code == 0, result.output
    assert "all as expected" in result.stdout


def test_cases_that_are_right(write: Callable[[Any], Path]) -> None:
    """Values of every kind, every special form, clock, target and context are understood; remarks are left alone."""
    result = run(write(RIGHT), "--json")
    assert json.loads(result.stdout)["failed"] == []
    assert json.loads(result.stdout)["passed"] == len(RIGHT)
    assert result.exit_code == 0


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_each_wrong_case_fails(write: Callable[[Any], Path], number: int) -> None:
    """A wrong expectation fails with what was expected and what came out; exit status 1."""
    result = run(write([RIGHT[0], WRONG[number]]), "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["cases"], found["passed"]) == (2, 1)
    (failed,) = found["failed"]
    assert (failed["number"], failed["expected"]) == (2, WRONG[number]["expected"])
    assert "actual" in failed or "problem" in failed


def test_terminal_output(golden: Callable[[Path, str], None], write: Callable[[Any], Path]) -> None:
    """Each failure says expression, attributes, expected and actual, and what a hardly visible difference may be."""
    path = write([*RIGHT, *(one for one in WRONG if one["expression"] != "Guid()")])
    golden(GOLDEN / "cases.txt", run(path).stdout.replace(str(path), "cases.json"))


def test_a_column_that_differs_from_a_single_entry_fails(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[Any], Path]
) -> None:
    """Both forms are evaluated and must agree: a case passes only when each gives what is expected."""
    monkeypatch.setattr(cases, "_in_column", lambda *_: Actual("something else"))
    path = write([RIGHT[0]])
    result = run(path)
    assert result.exit_code == 1
    assert "a defect of Provisor" in result.stdout
    failed = json.loads(run(path, "--json").stdout)["failed"][0]
    assert (failed["actual"], failed["actual_in_a_column"]) == ("X", "something else")


def test_now_counts_where_a_case_has_none(write: Callable[[Any], Path]) -> None:
    """--now pins the clock of cases that do not pin it themselves."""
    path = write([case("Now()", "1/31/2026 8:00:00 AM")])
    assert run(path, "--now", "2026-01-31T08:00:00Z").exit_code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[{", "cases.json:1:3: this is not JSON"),
        ("{}", "must hold a list of cases"),
        ("[]", "holds no case"),
        ("[7]", "case 1: a case is an object"),
        ([case("[a]", "x") | {"atributes": {}}], ""),
        ([{"expression": "[a]"}], "case 1: expected is missing"),
        ([{"expression": "[a]", "expect": "x"}], "case 1: there is no key 'expect'; did you mean expected?"),
        ([case("[a]", "x"), case(7, "x")], "case 2: expression must be a text"),
        ([case("[a]", {"$flow": "stop"})], "is one of ignore_attribute, ignore_object, escrow"),
        ([case("[a]", {"$regex": "("})], "the pattern of $regex is none"),
        ([case("[a]", {"$regexp": "a"})], '{"$regex": "pattern"}'),
        ([case("[a]", "x", now="soon")], "now: a moment is written as ISO 8601"),
        ([case("[a]", "x", attributes=[])], "attributes must be an object"),
        ([case("[a]", "x", target_existing="x")], "target_existing must be a list"),
        ([case("[a]", "x", context={"domain": "x"})], "known: defaultDomain, keep_empty"),
    ],
)
def test_a_file_that_is_not_right(write: Callable[[Any], Path], content: Any, said: str) -> None:
    """A file that cannot be meant is said by case and key with exit status 2, and nothing is run."""
    result = run(write(content))
    if said:
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
    else:  # the right key is there too, so the other one is a remark
        assert result.exit_code == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file and a folder are sentences with exit status 2."""
    for path in (tmp_path / "none.json", tmp_path):
        result = run(path)
        assert result.exit_code == 2
        assert "cannot be read" in result.stderr
