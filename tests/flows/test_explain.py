"""``provisor explain``, as people use it: through the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import app, main
from flows.show.explain import WrongRequestError, read_attributes, read_now

GOLDEN = Path(__file__).parent / "explain"
Golden = Callable[[Path, str], None]

JOB = """
name: hr
source:
  connector: csv
  users: {path: people.csv, key: id, enabled: {column: status, values: [active]}}
  groups: {path: groups.csv, key: id}
  members: {path: members.csv, group: group, member: member}
target: {connector: scim, url: "http://127.0.0.1:1/v2"}
users:
  scope:
    - - {attribute: department, operator: NOT EQUALS, value: Guests}
  matching: [{source: "[login]", target: userName}]
  attributes:
    userName: "[login]"
    active: Not([IsSoftDeleted])
    displayName: Join(" ", [givenName], [surname])
    title: {expression: "[title]", default: Employee}
    userType: {constant: Member}
    nickName: {default: nobody}
    birthDate: FormatDateTime([born], , "yyyy-MM-dd", "dd.MM.yyyy")
    locale: IIF([country] = "XX", IgnoreAttributeFlow, [country])
    phoneNumbers[type eq "work"].value: {expression: "[phone]", redact: true}
    preferredLanguage: Redact([country])
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager: {reference: "[manager]"}
groups:
  matching: [{source: "[name]", target: displayName}]
  attributes: {displayName: "ToUpper([name])"}
"""

PEOPLE = """id,login,givenName,surname,title,born,country,phone,manager,department,status
0001,ann@example.com,Ann,O'Brien,,1980-12-31,DE,+49 30 1,0002,Sales,active
0002,None@example.com,None,Müller,Boss,31.12.1980,XX,+49 30 2,,Sales,active
0003,guest@example.com,Zoë,Gast,,1990-01-01,AT,,,Guests,active
0004,left@example.com,Lea,Left,,1990-01-01,AT,,,Sales,gone
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job whose target nobody answers for: explaining must not need it."""
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "groups.csv").write_text("id,name\ng1,Team\n", encoding="utf-8")
    (tmp_path / "members.csv").write_text("group,member\ng1,0001\n", encoding="utf-8")
    path = tmp_path / "job.yaml"
    path.write_text(JOB, encoding="utf-8")
    return path


def explain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def explained(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    result = explain(*arguments, "--json")
    assert result.exit_code == status, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


# --- what people type ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "attributes"),
    [
        ([], {}),
        (["a=1"], {"a": "1"}),
        (["a="], {"a": ""}),
        (["a=b=c"], {"a": "b=c"}),
        (["a=1", "a=2", "a=3"], {"a": ["1", "2", "3"]}),
        (["a:json=[1, true, null]", "b:json=null", "c:json=false"], {"a": [1, True, None], "b": None, "c": False}),
        (["urn:x:User:a=1"], {"urn:x:User:a": "1"}),
        (["urn:x:User:a:json=7"], {"urn:x:User:a": 7}),
        (['emails[type eq "work"].value=x'], {'emails[type eq "work"].value': "x"}),
    ],
)
def test_attributes_are_read_as_documented(given: list[str], attributes: dict[str, Any]) -> None:
    """NAME= is empty, several of one name are a list, NAME:json holds what JSON can say, names may hold colons."""
    assert read_attributes(given) == attributes


@pytest.mark.parametrize("given", ["a", "=1", ":json=1", "a:json=[1", "a:json=", "a=\udcff"])
def test_attributes_that_cannot_be_read_are_said(given: str) -> None:
    """A slip in --attr is a sentence with exit status 2, never a value that nobody meant."""
    with pytest.raises(WrongRequestError):
        read_attributes([given])


def test_now_is_utc_unless_it_says_otherwise() -> None:
    """--now takes a date, a local moment as UTC, and an offset."""
    assert read_now("2026-01-31").isoformat() == "2026-01-31T00:00:00+00:00"
    assert read_now("2026-01-31T08:00:00").isoformat() == "2026-01-31T08:00:00+00:00"
    assert read_now("2026-01-31T08:00:00+02:00").isoformat() == "2026-01-31T06:00:00+00:00"
    for wrong in ("tomorrow", "2026-02-30", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(WrongRequestError, match="ISO 8601"):
            read_now(wrong)


# --- one expression ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        (
            "nested",
            [
                'ToLower(Join("@", NormalizeDiacritics([givenName]), Switch([country], "example.com", "DE", '
                '"example.de", "AT", "example.at", "CH", "example.ch")))',
                *("--attr", "givenName=Zoë", "--attr", "country=DE"),
            ],
            0,
        ),
        ("multi_valued", ["Count(RemoveDuplicates([mail]))", "--attr", "mail=a", "--attr", "mail=b"], 0),
        (
            "failure",
            ['IIF(DateDiff("d", Now(), CDate([hired])) > 5, "later", ToUpper([mail]))', "--attr", "hired=soon"],
            1,
        ),
        ("left_alone", ['Append(IgnoreFlowIfNullOrEmpty([mail]), ".test")', "--attr", "Mail=x"], 0),
        ("unique", ['SelectUniqueValue([a], Append([a], "1"))', "--attr", "a=ann"], 0),
    ],
)
def test_terminal_output(golden: Golden, name: str, arguments: list[str], status: int) -> None:
    """The tree shows what every part gave, what was not evaluated, and where it failed."""
    result = explain(*arguments, "--now", "2026-01-31T08:00:00Z")
    golden(GOLDEN / f"{name}.txt", result.output)
    assert result.exit_code == status


def test_json_holds_value_type_and_tree() -> None:
    """Machines get one document: the value, its type, and every part with what became of it."""
    found = explained('IIF([a] = "1", [b], ToUpper([c]))', "--attr", "a=1", "--attr", "b:json=true")
    assert (found["value"], found["type"]) == (True, "boolean")
    states = [part["state"] for part in found["tree"]["parts"]]
    assert states == ["evaluated", "evaluated", "not needed"]
    assert found["tree"]["parts"][0]["parts"][0] == {"text": "[a]", "state": "evaluated", "value": "1", "kind": "text"}


def test_json_says_flow_and_failure() -> None:
    """No value is not the value null: the marker or the problem is there, and a failure has exit status 1."""
    left = explained("IgnoreFlowIfNullOrEmpty([a])")
    assert (left["value"], left["type"], left["flow"]) == (None, None, "IgnoreAttributeFlow")
    failed = explained("CDate([a])", "--attr", "a=soon", status=1)
    assert (failed["value"], failed["type"]) == (None, None)
    assert failed["problem"].startswith("CDate (column 1): ")
    assert "soon" not in failed["problem"]


def test_now_pins_the_clock() -> None:
    """--now is what Now() gives."""
    assert explained("Now()", "--now", "2026-01-31T08:00:00+01:00")["value"] == "1/31/2026 7:00:00 AM"


def test_every_problem_of_an_expression_is_said_with_its_caret() -> None:
    """All problems at once, each below its caret, exit status 2, nothing on standard output."""
    result = explain('Joi("a", ToLwer([x]))')
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean Join?" in result.stderr
    assert "did you mean ToLower?" in result.stderr
    lines = result.stderr.splitlines()
    assert [line.index("^") for line in lines if line.strip() == "^"] == [0, 9]


def test_problems_as_json() -> None:
    """Editors get the places of the problems."""
    found = explained('Join(",", [a]', status=2)
    assert found["problems"] == [
        {"line": 1, "column": 1, "problem": "The bracket of Join is never closed"},
    ]


def test_a_misspelled_attribute_is_pointed_out() -> None:
    """An attribute that was given but is not read is said, with the one that was probably meant."""
    result = explain("ToUpper([givenName])", "--attr", "givenname=Ann")
    assert "The expression does not read [givenname]. Did you mean [givenName]" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["[a]", "--job", "job.yaml"],
        ["--entry", "1"],
        ["[a]", "--cases", "cases.json"],
        ["--cases", "cases.json", "--attr", "a=1"],
        ["[a]", "--now", "soon"],
        ["[a]", "--attr", "a"],
        [""],
    ],
)
def test_options_that_do_not_go_together(arguments: list[str]) -> None:
    """A command that makes no sense is said so with exit status 2."""
    result = explain(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.strip()


# --- a real entry --------------------------------------------------------------------------------------------------


def test_an_expression_on_a_real_entry(job: Path) -> None:
    """The attributes are those of the source's entry, also ones the job does not read; the target is not asked."""
    found = explained(
        'Join("/", [givenName], [department], [status], [IsSoftDeleted])', "--job", job, "--entry", "0002"
    )
    assert found["value"] == "None/Sales/active/False"
    entry = found["entry"]
    assert (entry["kind"], entry["key"], entry["in_scope"]) == ("user", "0002", True)
    assert entry["source"].startswith("csv people.csv")


@pytest.mark.parametrize("entry", ["0001", "ann@example.com", "ANN@EXAMPLE.COM"])
def test_an_entry_is_known_by_key_or_matching_value(job: Path, entry: str) -> None:
    """The key in the source, or the value of a matching attribute in any case."""
    assert explained("[givenName]", "--job", job, "--entry", entry)["value"] == "Ann"


def test_an_entry_may_be_a_group(job: Path) -> None:
    """Groups are explained by the mappings of groups."""
    found = explained("--job", job, "--entry", "g1")
    assert found["entry"]["kind"] == "group"
    assert [(one["target"], one["value"]) for one in found["mappings"]] == [("displayName", "TEAM")]


def test_an_unknown_entry_gets_the_nearest(job: Path) -> None:
    """A key that is not there is said with one that is, exit status 2."""
    result = explain("[givenName]", "--job", job, "--entry", "001")
    assert result.exit_code == 2
    assert "has no entry 001. Did you mean 0001?" in result.stderr


def test_an_attribute_that_the_source_lacks_gets_the_nearest(job: Path) -> None:
    """Unlike typed attributes, those of a source are known: a wrong name is an error with its caret."""
    result = explain("ToLower([givenname])", "--job", job, "--entry", "0001")
    assert result.exit_code == 2
    assert "The source has no attribute [givenname]; did you mean givenName?" in result.stderr
    assert "        ^" in result.stderr.splitlines()


def test_typed_attributes_stand_in_for_those_of_the_entry(job: Path) -> None:
    """What if: --attr replaces what the entry has, and must name an attribute of the source."""
    found = explained('Join(" ", [givenName], [surname])', "--job", job, "--entry", "0001", "--attr", "surname=Lee")
    assert found["value"] == "Ann Lee"
    result = explain("[surname]", "--job", job, "--entry", "0001", "--attr", "surnam=Lee")
    assert (result.exit_code, "Did you mean surname?" in result.stderr) == (2, True)


@pytest.mark.parametrize(("entry", "status"), [("0001", 0), ("0002", 1), ("0003", 0)])
def test_every_mapping_of_an_entry(golden: Golden, job: Path, entry: str, status: int) -> None:
    """Target attribute, value and expression; defaults, redaction, failures and being out of scope are said."""
    result = explain("--job", job, "--entry", entry)
    golden(GOLDEN / f"entry_{entry}.txt", result.stdout)
    assert result.exit_code == status


@pytest.mark.parametrize(("entry", "deleted"), [("0001", False), ("0003", True), ("0004", True)])
def test_is_soft_deleted_as_a_cycle_computes_it(job: Path, entry: str, deleted: bool) -> None:
    """Out of scope and disabled in the source both make IsSoftDeleted true."""
    assert explained("[IsSoftDeleted]", "--job", job, "--entry", entry)["value"] is deleted


def test_redacted_values_of_a_real_entry_are_nowhere(job: Path) -> None:
    """Neither Redact nor a redacted mapping shows a person's value: not as value, not in the tree, in no format."""
    for expression in (["Redact([phone])"], []):
        for form in ([], ["--json"]):
            result = explain(*expression, "--job", job, "--entry", "0001", *form)
            assert "+49 30 1" not in result.output
            assert "[Redact]" in result.output


def test_problems_of_the_job_have_exit_status_2(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job whose mapping reads what the source lacks is said by file and line, before anything is explained."""
    job.write_text(JOB.replace('userName: "[login]"', 'userName: "[logn]"'), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["provisor", "explain", "[givenName]", "--job", str(job), "--entry", "0001"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "job.yaml:14:16: users.attributes.userName: " in capsys.readouterr().err
