"""Job files: what a good one means, and that a bad one is answered with everything that is wrong with it."""

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from tasks.job import (
    Actions,
    Apply,
    Assignment,
    AttributeMapping,
    Check,
    Checked,
    Clause,
    Deprovision,
    EntryRules,
    Job,
    JobError,
    Limit,
    MatchingRule,
    Members,
    MultiValued,
    OnFailure,
    Operator,
    Problem,
    Reconcile,
    Removal,
    Schedule,
    Severity,
    SystemSection,
    job_schema,
    load_job,
)
from tasks.job.schema import write_schema
from tasks.job.yaml import read_yaml
from tests.connectors import third_party

BAD_JOBS = Path(__file__).parents[1] / "golden" / "job_problems"

SMALL = dedent(
    """\
    name: hr-to-app
    source: {connector: feed, users: {path: people.csv, key: employeeId}}
    target: {connector: directory, url: "https://app.example.com", auth: {bearer: "${env:APP_TOKEN}"}}
    users:
      matching: [{source: "[mail]", target: userName}]
      attributes:
        userName: "[mail]"
    """
)
"""A job with nothing but what is required."""

FULL = dedent(
    """\
    name: hr-to-scim
    source:
      connector: feed
      users: {path: people.csv, key: employeeId}
      groups: {path: groups.csv, key: id}
    target:
      connector: directory
      url: http://127.0.0.1:8080/v2
      auth: {bearer: "${env:SCIM_TOKEN}"}
    assignment: {mode: all}
    users:
      scope:
        - [{attribute: department, operator: EQUALS, value: Sales},
           {attribute: country, operator: REGEX MATCH, value: "^(DE|AT)$"}]
        - [{attribute: startDate, operator: AFTER, value: now-30d, case: ignore, multi: any}]
      matching:
        - {source: "[userPrincipalName]", target: userName}
        - {source: "[employeeId]", target: externalId}
      attributes:
        userName: "[userPrincipalName]"
        active: Not([IsSoftDeleted])     # computed
        displayName: Join(" ", [givenName], [surname])
        emails[type eq "work"].value: ToLower([mail])
        title: {expression: "[jobTitle]", default: Employee, clear: true}
        externalId: {expression: "[employeeId]", apply: on_create}
        locale: {default: en}
        floor: 3
        remote: false
        city: {constant: Berlin, redact: true, exact_case: true}
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager": {reference: "[manager]"}
      actions: {create: true, update: true, delete: false}
    groups:
      matching: [{source: "[name]", target: displayName}]
      attributes: {displayName: "[name]", externalId: "[id]"}
      members: additive
    deprovision: {out_of_scope: keep, deleted: delete, delete_after: 30d}
    limits: {removals: {count: 100}, members: {fraction: 0.5}}
    protect: [admin@example.com]
    checks:
      source.users:
        - {expect_column_values_to_be_unique: {column: employeeId}, on_failure: hold_rows}
        - {expect_table_row_count_to_be_between: {min_value: 900}}
    load: {batch_size: 100, concurrency: 8, rate: 600/min}
    reconcile: every_cycle
    schedule: {cron: 0 6 * * 1-5, timezone: Europe/Berlin}
    notify: ["mailto://ops@example.com"]
    """
)


DOCUMENTED = dedent(
    """\
    name: hr-to-scim
    source:
      connector: csv
      users: {path: people.csv, key: employeeId}
      groups: {path: groups.csv, key: id}
      members: {path: members.csv, group: group, member: user}
    target:
      connector: scim
      url: http://127.0.0.1:8080/v2
      auth: {bearer: "${env:SCIM_TOKEN}"}
    assignment: {mode: all}              # or: assigned, with users: [...], groups: [...], nested: true
    users:
      scope:                             # OR of groups of ANDed clauses
        - [{attribute: department, operator: EQUALS, value: Sales},
           {attribute: country, operator: REGEX MATCH, value: "^(DE|AT)$"}]
      matching:                          # in order of precedence
        - {source: "[userPrincipalName]", target: userName}
        - {source: "[employeeId]", target: externalId}
      attributes:
        userName: "[userPrincipalName]"
        active: Not([IsSoftDeleted])     # computed: unassigned, out of scope, or disabled / soft-deleted in the source
        displayName: Join(" ", [givenName], [surname])
        name.givenName: "[givenName]"
        name.familyName: "[surname]"
        emails[type eq "work"].value: ToLower([mail])
        title: {expression: "[jobTitle]", default: Employee, clear: true}
        externalId: {expression: "[employeeId]", apply: on_create}
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager": {reference: "[manager]"}
      actions: {create: true, update: true, delete: true}
    groups:
      matching: [{source: "[name]", target: displayName}]
      attributes: {displayName: "[name]", externalId: "[id]"}
    deprovision: {out_of_scope: disable, deleted: disable, delete_after: 30d}   # disable | delete | keep
    limits: {removals: {count: 500, fraction: 0.1, minimum: 20}}
    protect: [admin@example.com]
    checks:                              # Great Expectations, by their own names
      source.users:
        - {expect_column_values_to_be_unique: {column: employeeId}, on_failure: hold_rows}
        - {expect_column_values_to_match_regex: {column: mail, regex: ".+@.+"}, on_failure: warn}
        - {expect_table_row_count_to_be_between: {min_value: 900}, on_failure: stop}
    load: {batch_size: 500, concurrency: 32, rate: 200/s}
    reconcile: daily                     # never | daily | every_cycle : compare with the real target
    schedule: {every: 20m}
    notify: ["mailto://ops@example.com"] # Apprise addresses
    """
)
"""The example that the documentation of the job file is built around."""


@pytest.fixture(autouse=True, scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The connectors ``directory`` and ``feed``, as somebody else would bring them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(third_party.install(tmp_path_factory.mktemp("connectors")))
        patch.delitem(sys.modules, third_party.NAME, raising=False)
        yield


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Job]:
    """Loads a text as ``job.yaml``."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> Job:
        Path("job.yaml").write_text(text, encoding="utf-8")
        return load_job(Path("job.yaml"))

    return load_text


def problems_of(load: Callable[[str], Job], text: str) -> list[str]:
    with pytest.raises(JobError) as caught:
        load(text)
    return str(caught.value).splitlines()


# What a job file means


def test_every_section_arrives(load: Callable[[str], Job]) -> None:
    """Each key of a job file ends where the stages look for it."""
    job = load(FULL)
    assert job.name == "hr-to-scim"
    assert job.source.connector == "feed"
    assert job.source.settings.groups.path == "groups.csv"
    assert job.target.settings.auth.bearer == "${env:SCIM_TOKEN}"
    assert job.users.scope[0][1] == Clause(attribute="country", operator=Operator.REGEX_MATCH, value="^(DE|AT)$")
    assert job.users.scope[1][0].multi is MultiValued.ANY
    assert job.users.matching[1] == MatchingRule(source="[employeeId]", target="externalId")
    assert job.users.actions == Actions(delete=False)
    assert job.groups is not None
    assert job.groups.members is Members.ADDITIVE
    assert job.deprovision == Deprovision(
        out_of_scope=Removal.KEEP, deleted=Removal.DELETE, delete_after=timedelta(days=30)
    )
    assert job.deprovision.unassigned is Removal.DISABLE
    assert job.limits.removals == Limit(count=100, fraction=0.1, minimum=20)
    assert job.limits.members == Limit(count=500, fraction=0.5, minimum=20)
    assert job.protect == ("admin@example.com",)
    assert job.checks.of(Checked.SOURCE_USERS) == (
        Check(
            expectation="expect_column_values_to_be_unique",
            arguments={"column": "employeeId"},
            on_failure=OnFailure.HOLD_ROWS,
        ),
        Check(expectation="expect_table_row_count_to_be_between", arguments={"min_value": 900}),
    )
    assert (job.load.batch_size, job.load.concurrency, job.load.rate) == (100, 8, 10.0)
    assert job.reconcile is Reconcile.EVERY_CYCLE
    assert job.schedule == Schedule(cron="0 6 * * 1-5", timezone="Europe/Berlin")
    assert job.notify == ("mailto://ops@example.com",)


def test_the_documented_example_loads(load: Callable[[str], Job]) -> None:
    """The job file that everybody copies from loads as it stands, with the connectors that come along."""
    job = load(DOCUMENTED)
    assert (job.source.connector, job.target.connector) == ("csv", "scim")
    assert job.users.attributes["title"] == AttributeMapping(expression="[jobTitle]", default="Employee", clear=True)
    assert job.schedule == Schedule(every=timedelta(minutes=20))
    assert job.load.rate == 200.0


def test_mappings_have_a_short_form(load: Callable[[str], Job]) -> None:
    """Text is an expression, a number or a boolean is a constant, and an object says it all."""
    attributes = load(FULL).users.attributes
    assert attributes["userName"] == AttributeMapping(expression="[userPrincipalName]")
    assert attributes["displayName"] == AttributeMapping(expression='Join(" ", [givenName], [surname])')
    assert attributes['emails[type eq "work"].value'] == AttributeMapping(expression="ToLower([mail])")
    assert attributes["title"] == AttributeMapping(expression="[jobTitle]", default="Employee", clear=True)
    assert attributes["externalId"].apply is Apply.ON_CREATE
    assert attributes["locale"] == AttributeMapping(default="en")
    assert attributes["floor"].constant == 3
    assert attributes["remote"].constant is False
    assert attributes["city"] == AttributeMapping(constant="Berlin", redact=True, exact_case=True)
    assert attributes["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"].reference == "[manager]"


def test_what_is_left_out_has_the_careful_default(load: Callable[[str], Job]) -> None:
    """Without a word about it accounts are disabled, never deleted, and limits are on."""
    job = load(SMALL)
    assert job.deprovision == Deprovision()
    assert {job.deprovision.unassigned, job.deprovision.deleted, job.deprovision.disabled} == {Removal.DISABLE}
    assert job.deprovision.delete_after is None
    assert (job.limits.removals.count, job.limits.removals.fraction, job.limits.removals.minimum) == (500, 0.1, 20)
    assert job.assignment == Assignment()
    assert job.groups is None
    assert job.schedule is None
    assert job.reconcile is Reconcile.DAILY
    assert job.load.rate is None


def test_the_file_is_where_relative_paths_start(load: Callable[[str], Job], tmp_path: Path) -> None:
    """A job knows its file and folder, but neither is part of what it is."""
    job = load(SMALL)
    assert job.file == Path("job.yaml")
    assert load_job(tmp_path / "job.yaml").folder == tmp_path
    assert "file" not in job.model_dump()


@pytest.mark.parametrize("operator", list(Operator))
def test_operators_are_spelled_freely(operator: Operator) -> None:
    """Case does not matter, and blanks and underscores are the same."""
    value = {Operator.IN: ["1"], Operator.BEFORE: "now", Operator.AFTER: "2026-01-31"}.get(operator, 1)
    if operator.name.startswith("IS_"):
        value = None
    spellings = {operator.value, operator.lower(), operator.upper().replace("_", " "), operator.replace(" ", "_")}
    for spelling in spellings:
        assert Clause(attribute="a", operator=spelling, value=value).operator is operator


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("20m", timedelta(minutes=20)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1h 30m", timedelta(minutes=90)),
    ],
)
def test_lengths_of_time(load: Callable[[str], Job], text: str, length: timedelta) -> None:
    """A length of time is a number and a unit."""
    assert load(f"{SMALL}schedule: {{every: {text}}}").schedule == Schedule(every=length)


@pytest.mark.parametrize("text", ["20", "m", "0s", "-5m", "1y", "9999999999999w", "[20m]", "true", "20 minutes"])
def test_what_is_no_length_of_time(load: Callable[[str], Job], text: str) -> None:
    """A length of time without a unit is never guessed."""
    (problem,) = problems_of(load, f"{SMALL}schedule: {{every: {text}}}")
    assert problem.startswith("job.yaml:8: schedule.every: ")
    assert "length of time" in problem


@pytest.mark.parametrize(("text", "rate"), [("200/s", 200.0), ("600/min", 10.0), ("9000 / h", 2.5), ("5", 5.0)])
def test_rates(load: Callable[[str], Job], text: str, rate: float) -> None:
    """A rate is requests per second, in whatever unit it is written."""
    assert load(f"{SMALL}load: {{rate: {text}}}").load.rate == rate


@pytest.mark.parametrize("text", ["0/s", "-1", "200/d", "true", ".inf", ".nan", "200"[::-1] + "/"])
def test_what_is_no_rate(load: Callable[[str], Job], text: str) -> None:
    """A rate that would stop or free the target is refused."""
    (problem,) = problems_of(load, f"{SMALL}load: {{rate: {text}}}")
    assert problem.startswith("job.yaml:8: load.rate: ")


def test_dates_and_words_of_old_yaml_stay_text(load: Callable[[str], Job]) -> None:
    """Norway is a country, a date is text, and a person named None is a person."""
    clauses = "".join(f"      - {{attribute: a, operator: EQUALS, value: {value}}}\n" for value in WORDS)
    job = load(SMALL.replace("users:\n", f"users:\n  scope:\n    -\n{clauses}"))
    assert [clause.value for clause in job.users.scope[0]] == WORDS


WORDS = ["NO", "yes", "off", "2024-01-01", "12:30", "None", "NA", "nan", "Straße 😀"]


def test_parts_of_a_file_can_be_reused(load: Callable[[str], Job]) -> None:
    """Anchors, aliases and merges of YAML work; a section's own keys win over merged ones."""
    job = load(
        SMALL.replace("attributes:\n", "attributes: &mapped\n")
        + dedent(
            """\
            groups:
              matching: [{source: "[name]", target: displayName}]
              attributes:
                <<: *mapped
                userName: "[name]"
                displayName: "[name]"
            """
        )
    )
    assert job.groups is not None
    assert job.groups.attributes == {
        "userName": AttributeMapping(expression="[name]"),
        "displayName": AttributeMapping(expression="[name]"),
    }


def test_a_job_can_be_built_in_python() -> None:
    """Stages and their tests need no file; shorthands work, and wrong values are refused as in a file."""
    settings = {"url": "https://app.example.com", "auth": {"bearer": "${env:T}"}}
    rules = EntryRules(matching=[MatchingRule(source="[a]", target="b")], attributes={"b": "[a]"})
    first = Job(
        name="a",
        source={"connector": "directory", **settings},
        target={"connector": "directory", **settings},
        users=rules,
    )
    section = SystemSection(connector="directory", settings=first.target.settings)
    assert Job(name="a", source=section, target=section, users=rules) == first
    with pytest.raises(ValidationError, match="has no expect_column_to_exit"):
        Check(expectation="expect_column_to_exit")
    with pytest.raises(ValidationError, match="frozen"):
        first.name = "b"


# The fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# computed", "# something else"),
        ("protect: [admin@example.com]", "protect: []"),
        ("cron: 0 6 * * 1-5", "cron: 0 7 * * *"),
        ("rate: 600/min", "rate: 1/s"),
        ("removals: {count: 100}", "removals: {count: 1}"),
        ("on_failure: hold_rows", "on_failure: warn"),
        ('notify: ["mailto://ops@example.com"]', "notify: []"),
        ("reconcile: every_cycle", "reconcile: never"),
        ("floor: 3\n    remote: false", "remote: false\n    floor: 3"),
        (
            'userName: "[userPrincipalName]"',
            'userName: {expression: "[userPrincipalName]", apply: always, clear: false}',
        ),
        ("delete_after: 30d", "delete_after: 720h"),
        ("assignment: {mode: all}\n", ""),
        ("operator: EQUALS", "operator: equals"),
    ],
)
def test_what_does_not_decide_who_gets_what_is_not_in_the_fingerprint(
    load: Callable[[str], Job], old: str, new: str
) -> None:
    """A new schedule, limit or comment, and another way to write the same, do not force an initial cycle."""
    assert old in FULL
    assert load(FULL.replace(old, new)).fingerprint() == load(FULL).fingerprint()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("path: people.csv", "path: persons.csv"),
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("${env:SCIM_TOKEN}", "${env:OTHER_TOKEN}"),
        ("assignment: {mode: all}", 'assignment: {mode: assigned, users: ["1"]}'),
        ("assignment: {mode: all}", "assignment: {mode: assigned, table: {path: some.csv, user: id}}"),
        ("value: Sales", "value: sales"),
        ("case: ignore", "case: exact"),
        ("ToLower([mail])", "ToUpper([mail])"),
        ("clear: true", "clear: false"),
        ("floor: 3", "floor: 4"),
        ("floor: 3", 'floor: {constant: "3"}'),
        ("apply: on_create", "apply: always"),
        ('- {source: "[userPrincipalName]", target: userName}\n', ""),
        ("delete: false", "delete: true"),
        ("members: additive", "members: authoritative"),
        ("delete_after: 30d", "delete_after: 31d"),
        ("out_of_scope: keep", "out_of_scope: disable"),
    ],
)
def test_what_decides_who_gets_what_is_in_the_fingerprint(load: Callable[[str], Job], old: str, new: str) -> None:
    """Whatever may change one account changes the fingerprint, so that the next cycle evaluates everybody."""
    assert old in FULL
    assert load(FULL.replace(old, new)).fingerprint() != load(FULL).fingerprint()


def test_the_fingerprint_holds_no_credential(load: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """References count, never what they point to: a rotated credential is no new job."""
    monkeypatch.setenv("SCIM_TOKEN", "first")
    first = load(FULL).fingerprint()
    monkeypatch.setenv("SCIM_TOKEN", "second")
    assert load(FULL).fingerprint() == first
    assert re.fullmatch("[0-9a-f]{64}", first)


# Problems


@pytest.mark.parametrize("path", sorted(BAD_JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_job_files(path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of a file is told at once, each with line, key and what would be right."""
    monkeypatch.chdir(BAD_JOBS)
    with pytest.raises(JobError) as caught:
        load_job(Path(path.name))
    told = []
    for problem in caught.value.problems:
        told.append(str(problem))
        told += [f"    {line}" for line in problem.caret.splitlines()]
    golden(path.with_suffix(".txt"), "\n".join(told))


def test_no_golden_file_is_left_over() -> None:
    """Every expected output belongs to a bad job file."""
    assert {path.stem for path in BAD_JOBS.glob("*.txt")} == {path.stem for path in BAD_JOBS.glob("*.yaml")}


def test_a_problem_reads_as_promised(load: Callable[[str], Job]) -> None:
    """File, line, key, and what would be right, in one line that terminals and editors can follow."""
    text = SMALL + '    title: {expression: "[jobTitle]", apply: on creat}\n'
    assert problems_of(load, text) == [
        "job.yaml:8: users.attributes.title.apply: 'on creat' is not one of always, on_create, add_only. "
        "Did you mean on_create?"
    ]


def test_problems_come_in_the_order_of_the_file(load: Callable[[str], Job]) -> None:
    """Whoever found a problem, YAML, the models or the rules between them, the list follows the file."""
    text = "nome: x\n" + SMALL.replace("userName}", "nobody}") + "protect: x\nprotect: [y]\nload: {rate: never}\n"
    lines = [int(problem.split(":")[1]) for problem in problems_of(load, text)]
    assert lines == sorted(lines)
    assert len(lines) == 5


def test_a_problem_knows_its_column(load: Callable[[str], Job]) -> None:
    """Columns count from 1 and point at the value, or at the key where the key is wrong."""
    with pytest.raises(JobError) as caught:
        load(SMALL + "reconcile:   hourly\n\nlimit: {}\n")
    assert [(p.line, p.column, p.key) for p in caught.value.problems] == [(8, 14, "reconcile"), (10, 1, "limit")]


@pytest.mark.parametrize(
    "written",
    [
        'Join(", \'", [a], [b])',
        "'Join(\", ''\", [a], [b])'",
        '"Join(\\", \'\\", [a], [b])"',
        '"Join(\\", \\x27\\", \\u005ba], [b])"',
        'Join(", \'",\n      [a],\n      [b])',
        "'Join(\", ''\",\n      [a], [b])'",
        '>-\n      Join(", \'",\n      [a],\n      [b])',
        '|-\n      Join(", \'", [a], [b])',
    ],
    ids=["plain", "single", "double", "escapes", "plain folded", "single folded", "folded", "literal"],
)
def test_characters_are_found_through_quotes_and_folds(tmp_path: Path, written: str) -> None:
    """However YAML let a text be written, each of its characters is found again where it stands in the file."""
    path = tmp_path / "job.yaml"
    path.write_text(f"users:\n  attributes:\n    title: {written}\n    next: x\n")
    document = read_yaml(path)
    key = ("users", "attributes", "title")
    text = document.value(key)
    assert text == 'Join(", \'", [a], [b])'
    lines = path.read_text().splitlines()
    places = [document.place_in_text(key, 1, column + 1) for column in range(len(text))]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    for character, (line, column) in zip(text, places, strict=True):
        found = lines[line - 1][column - 1 : column]
        assert found == character or found in ("", "\\", " "), (character, line, column)


def test_lines_of_a_literal_text_are_lines_of_the_file(tmp_path: Path) -> None:
    """The third line of an expression is the third line below its key."""
    path = tmp_path / "job.yaml"
    path.write_text("a: |\n  Join(\n    [a],\n    [b])\n")
    assert read_yaml(path).place_in_text(("a",), 3, 4) == (4, 6)


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("${env:APP_TOKEN}", SECRET),
        SMALL.replace("${env:APP_TOKEN}", f"Bearer {SECRET}"),
        SMALL.replace('{bearer: "${env:APP_TOKEN}"}', f"{SECRET}"),
        SMALL.replace('{bearer: "${env:APP_TOKEN}"}', f"[{SECRET}]"),
        SMALL.replace('{bearer: "${env:APP_TOKEN}"}', f"{{user: a, password: {SECRET}, token: {SECRET}}}"),
        SMALL.replace("auth:", f"paging: {SECRET}, auth:"),
        SMALL.replace("auth:", f"page_size: {SECRET}, auth:"),
        SMALL.replace("https://", f"https://me:{SECRET}@"),
        SMALL.replace('"${env:APP_TOKEN}"', f'"{SECRET}'),
        SMALL.replace('"${env:APP_TOKEN}"', f"${{{SECRET}}}"),
        SMALL + f'notify: ["mailto://ops:{SECRET}@example.com"]\n',
    ],
)
def test_a_credential_in_the_file_is_not_repeated(load: Callable[[str], Job], text: str) -> None:
    """Whatever is wrong with a credential, neither the error nor anything that hangs on it quotes it."""
    with pytest.raises(JobError) as caught:
        load(text)
    error: BaseException | None = caught.value
    assert error.__context__ is None
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert SECRET not in repr(caught.value.problems)


def test_a_job_error_survives_another_process(load: Callable[[str], Job]) -> None:
    """Task runners pickle exceptions; problems arrive whole."""
    with pytest.raises(JobError) as caught:
        load("name: x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file or directory"),
        (b"name: M\xfcller\n", "not UTF-8 text (byte 7)"),
        (b"name: a\x00b\n", "This is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, told: str) -> None:
    """A missing file and one that is no text are problems like any other."""
    path = tmp_path / "job.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(JobError) as caught:
        load_job(path)
    (problem,) = caught.value.problems
    assert told in problem.message
    assert str(problem).startswith(f"{path}: ")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """Files saved by Windows editors load."""
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_job(path).name == "hr-to-app"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_gives_problems_and_nothing_else(load: Callable[[str], Job], data: st.DataObject) -> None:
    """Any text gives a job, or a JobError whose lines lie in the file; never another exception."""
    start = data.draw(st.integers(0, len(SMALL)))
    end = min(len(SMALL), start + data.draw(st.integers(0, 12)))
    junk = data.draw(st.text(alphabet=" \n\t:#-&*!{}[]\"'|>%@`,?0a\\~<=", max_size=6))
    text = SMALL[:start] + junk + SMALL[end:]
    problems: list[Problem] | None = None
    try:
        load(text)
    except JobError as error:
        problems = error.problems
    for problem in [] if problems is None else problems:
        assert problem.message
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 2
    assert problems != []


@pytest.mark.parametrize(
    "text", ["a: &a {<<: {<<: *a}}", "a: &a [*a]", "<<: [1, 2]", "<<: x", "? [a]\n: b", "? {a: b}\n: c", "&a a: *a"]
)
def test_odd_yaml_ends_in_problems(load: Callable[[str], Job], text: str) -> None:
    """YAML that refers to itself or has odd keys is answered, not followed for ever."""
    assert problems_of(load, text)


# The schema for editors


def test_the_schema_accepts_good_jobs(load: Callable[[str], Job], tmp_path: Path) -> None:
    """The JSON Schema is one, and what loads is valid by it."""
    schema = job_schema()
    Draft202012Validator.check_schema(schema)
    for text in (SMALL, FULL):
        load(text)
        data = read_yaml(tmp_path / "job.yaml").data
        assert [error.message for error in Draft202012Validator(schema).iter_errors(data)] == []


@pytest.mark.parametrize(
    "name", ["keys", "nothing_but_a_name", "values", "checks", "systems", "systems_wrong_side", "scope_without_groups"]
)
def test_the_schema_refuses_bad_jobs(name: str) -> None:
    """An editor underlines what the loader refuses: keys, types, enums, settings of a connector."""
    data = read_yaml(BAD_JOBS / f"{name}.yaml").data
    assert not Draft202012Validator(job_schema()).is_valid(data)


def test_the_schema_knows_the_settings_of_each_connector() -> None:
    """Settings are offered by connector, and only on the side that a connector can be on."""
    schema = job_schema()
    offered = {
        side: {item["properties"]["connector"]["const"]: item for item in schema["properties"][side]["oneOf"]}
        for side in ("source", "target")
    }
    assert "feed" in offered["source"]
    assert "feed" not in offered["target"]
    assert offered["target"]["directory"]["required"] == ["connector", "url", "auth"]
    assert "file" not in schema["properties"]


def test_everything_in_the_schema_is_described() -> None:
    """Editors show a sentence for every key of ours; no markup of docstrings gets in."""
    schema = job_schema()
    keys = {"Job": schema["properties"]} | {
        name: definition.get("properties", {}) for name, definition in schema["$defs"].items() if "." not in name
    }
    missing = [
        f"{model}.{key}" for model, keys in keys.items() for key, item in keys.items() if "description" not in item
    ]
    assert missing == []
    assert "``" not in json.dumps(schema)


def test_the_schema_can_be_written_beside_jobs(tmp_path: Path) -> None:
    """`# yaml-language-server: $schema=...` has something to point to, the same at every writing."""
    write_schema(tmp_path / "first.json")
    write_schema(tmp_path / "second.json")
    assert json.loads((tmp_path / "first.json").read_text()) == job_schema()
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


# Warnings


@pytest.mark.parametrize(
    ("pattern", "warned"),
    [
        ("[1-9][0-9]", True),
        (r".*\@example\.com", True),
        (r"\$5", True),
        ("[$^]5", True),
        ("[^a]", True),
        ("[]^]", True),
        ("^adm-", False),
        (r"@example\.com$", False),
        (r"\Aadm", False),
        ("(?:^a|b)", False),
        (".*sales.*", False),
    ],
)
def test_a_pattern_without_anchors_is_a_warning(load: Callable[[str], Job], pattern: str, warned: bool) -> None:
    """It is found anywhere in the value, which is seldom meant; the job can be used all the same."""
    scope = json.dumps([[{"attribute": "mail", "operator": "REGEX MATCH", "value": pattern}]])
    warnings = load(f"{SMALL}  scope: {scope}\n").warnings
    assert [(found.key, found.line, found.severity) for found in warnings] == (
        [("users.scope[0][0].value", 8, Severity.WARNING)] if warned else []
    )


@pytest.mark.parametrize(
    ("assignment", "warned"),
    [
        ('{mode: assigned, users: ["1"]}', True),
        ("{mode: assigned, table: {path: some.csv, user: id}}", True),
        ("{mode: assigned, groups: [Sales]}", False),
        ("{mode: assigned, table: {path: some.csv, user: id, group: team}}", False),
        ("{mode: all}", False),
    ],
)
def test_groups_that_nobody_assigns_are_a_warning(load: Callable[[str], Job], assignment: str, warned: bool) -> None:
    """In mode assigned a groups section without an assigned group provisions nothing."""
    groups = 'groups: {matching: [{source: "[name]", target: displayName}], attributes: {displayName: "[name]"}}'
    warnings = load(f"{SMALL}{groups}\nassignment: {assignment}\n").warnings
    assert [(found.key, found.line) for found in warnings] == ([("groups", 8)] if warned else [])


def test_warnings_do_not_hide_problems(load: Callable[[str], Job]) -> None:
    """A file that cannot be used is answered with its problems alone; all of them are errors."""
    scope = '[[{attribute: mail, operator: REGEX MATCH, value: "a"}, {attribute: mail, operator: EQUALS}]]'
    with pytest.raises(JobError) as caught:
        load(f"{SMALL}  scope: {scope}\n")
    assert [found.severity for found in caught.value.problems] == [Severity.ERROR]


def test_warnings_are_no_key(load: Callable[[str], Job]) -> None:
    """What a job says about itself is not read from its file."""
    (problem,) = problems_of(load, f"{SMALL}warnings: []\n")
    assert "There is no key 'warnings' here" in problem


# Assignment


def test_an_assignment_table_takes_the_options_of_a_file(load: Callable[[str], Job]) -> None:
    """Format, delimiter and encoding, as the source's own files; columns by name."""
    table = "{path: some.txt, format: csv, delimiter: ';', encoding: cp1252, user: id, role: grade}"
    found = load(f"{SMALL}assignment: {{mode: assigned, table: {table}}}\n").assignment.table
    assert found is not None
    assert found.columns == {"user": "id", "role": "grade"}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("{path: some.csv}", "assignment.table: Name the column that says who is assigned: user, group, or both."),
        ("{user: id}", "assignment.table.path: This key is required and missing."),
        ("{path: some.txt, user: id}", "The name some.txt does not tell the format"),
        ("{path: some.csv, usr: id}", "assignment.table.usr: There is no key 'usr' here. Did you mean user?"),
        ('{path: "s3://me:secret@bucket/some.csv", user: id}', "A password must be a reference, never a value"),
    ],
)
def test_problems_of_an_assignment_table(load: Callable[[str], Job], table: str, told: str) -> None:
    """As every section: what would be right, with its line."""
    found = problems_of(load, f"{SMALL}assignment: {{mode: assigned, table: {table}}}\n")
    assert any(told in problem and ":8: " in problem for problem in found), found
    assert "secret" not in " ".join(found)


# Quick


def test_loading_does_not_bring_the_heavy_parts(load: Callable[[str], Job]) -> None:
    """`provisor check` answers at once: a job is loaded without Prefect, Great Expectations and the data base."""
    load(FULL)
    script = f"""
import sys
sys.path.insert(0, {str(Path(sys.modules[third_party.NAME].__file__).parent)!r})
import tasks.job
assert "pandas" not in sys.modules
tasks.job.load_job(tasks.job.Path("job.yaml"))
print(*sys.modules)
"""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    )
    assert "tasks.job.file" in run.stdout.split()
    assert not {"prefect", "great_expectations", "sqlmodel", "httpx"} & set(run.stdout.split())
