"""The mistakes of somebody's first day: each ends in one clear sentence that names the place and says what to do.

One small job and one small export; a mistake changes a few letters of one of them. What people would not call a
mistake, semicolons, a byte order mark, tabs, has to work instead.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.ledger import Ledger
from tests.flows.workplace import Command, writes
from tests.servers.scim_service import ScimService

JOB = """\
name: hr-to-app
source:
  connector: csv
  users: {path: people.csv, key: employeeId, enabled: {column: status, values: [active]}}
target:
  connector: scim
  url: URL
  auth: {bearer: "${env:SCIM_TOKEN}"}
users:
  matching: [{source: "[userPrincipalName]", target: userName}]
  attributes:
    userName: "[userPrincipalName]"
    active: Not([IsSoftDeleted])
    displayName: Join(" ", [givenName], [surname])
    title: "[jobTitle]"
"""
PEOPLE = """\
employeeId,userPrincipalName,givenName,surname,jobTitle,status,contractEnd
001,ann.lee@example.com,Ann,Lee,Clerk,active,2027-12-31
002,bo.ek@example.com,Bo,Ek,Clerk,active,2027-12-31
003,cy.fox@example.com,Cy,Fox,Chief,active,2027-12-31
004,di.roe@example.com,Di,Roe,Clerk,terminated,2025-12-31
"""
WRONG, STOPPED, WORKS = 2, 4, 0


@dataclass(frozen=True, slots=True)
class Mistake:
    """What somebody did, how the command ends, and what the sentence has to hold (a regular expression)."""

    status: int
    says: str
    job: tuple[str, str] = ("", "")
    """Text of the job file, and what stands there instead."""
    people: tuple[str, str] = ("", "")
    content: Callable[[str], bytes] = lambda text: text.encode()
    """How the export is stored."""
    token: str | None = "a-token"
    words: tuple[str, ...] = ("check", "job.yaml")


PLAN = ("plan", "job.yaml")
TITLE = 'title: "[jobTitle]"'


def scoped(clause: str) -> tuple[str, str]:
    return ("users:\n  matching", f"users:\n  scope: [[{clause}]]\n  matching")


MISTAKES = {
    # the job file
    "the file's name is misspelt": Mistake(
        WRONG, r"no file jop\.yaml; the nearest is job\.yaml", words=("check", "jop.yaml")
    ),
    "the job's name is misspelt": Mistake(
        WRONG, r"the name hr-to-ap; the nearest is hr-to-app", words=("check", "hr-to-ap")
    ),
    "a key is misspelt": Mistake(
        WRONG, r"job\.yaml:11: users\.atributes.*Did you mean attributes", job=("attributes:", "atributes:")
    ),
    "a tab in front of a line": Mistake(WRONG, r"job\.yaml:12: YAML takes no tab", job=("    userName", "\tuserName")),
    "brackets without quotes": Mistake(WRONG, r"job\.yaml:15.*quotes", job=(TITLE, "title: [jobTitle]")),
    "a key twice": Mistake(WRONG, r"job\.yaml:16.*title", job=(TITLE, f"{TITLE}\n    {TITLE}")),
    "a colon without a blank": Mistake(WRONG, r"job\.yaml:1\d", job=(TITLE, 'title:"[jobTitle]"')),
    "a header without a name": Mistake(
        WORKS,
        r"3 to create",
        people=("jobTitle,status", "jobTitle,,status"),
        content=lambda text: text.replace("Clerk,", "Clerk,x,").replace("Chief,", "Chief,x,").encode(),
        words=PLAN,
    ),
    "an age without a unit": Mistake(
        WRONG, r"deprovision\.delete_after.*30d", job=("users:\n", "deprovision: {delete_after: 30}\nusers:\n")
    ),
    "an interval without a unit": Mistake(
        WRONG, r"schedule\.every.*20m", job=("users:\n", "schedule: {every: 20}\nusers:\n")
    ),
    "no matching": Mistake(
        WRONG, r"users\.matching", job=('  matching: [{source: "[userPrincipalName]", target: userName}]\n', "")
    ),
    "a connector that there is not": Mistake(
        WRONG, r"sccim.*Did you mean scim", job=("connector: scim", "connector: sccim")
    ),
    "a secret in the file": Mistake(WRONG, r"auth\.bearer.*\$\{env:", job=("${env:SCIM_TOKEN}", "abcdef0123456789")),
    # expressions
    "a function is misspelt": Mistake(WRONG, r"ToLowr.*ToLower", job=(TITLE, "title: ToLowr([jobTitle])")),
    "an argument is missing": Mistake(WRONG, r"Left.* 2", job=(TITLE, "title: Left([jobTitle])")),
    "an attribute without brackets": Mistake(WRONG, r"attributes in brackets", job=(TITLE, "title: ToLower(jobTitle)")),
    "single quotes around a text": Mistake(
        WRONG, r'double quotes|"Clerk"', job=(TITLE, """title: "Join(' ', [jobTitle], 'x')\"""")
    ),
    "a bracket is not closed": Mistake(
        WRONG, r"job\.yaml:15:12.*never closed", job=(TITLE, "title: ToLower([jobTitle]")
    ),
    "an attribute is misspelt": Mistake(
        WRONG, r"jobTitel.*[Dd]id you mean.*jobTitle", job=(TITLE, 'title: "[jobTitel]"')
    ),
    "the target's attribute is misspelt": Mistake(
        WRONG, r"titel.*[Dd]id you mean title", job=(TITLE, 'titel: "[jobTitle]"')
    ),
    # the export
    "the export is not there": Mistake(
        STOPPED, r"peple\.csv does not exist\..*people\.csv", job=("people.csv", "peple.csv")
    ),
    "the key's column is misspelt": Mistake(
        STOPPED, r"no column 'employeeID'.*'employeeId'", job=("key: employeeId", "key: employeeID")
    ),
    "a header has a name twice": Mistake(
        STOPPED, r"people\.csv.*two columns named .surname.*Rename", people=("givenName", "surname")
    ),
    "a title stands above the header": Mistake(
        STOPPED, r"line 2.*header: 2", people=("employeeId,", "All people\nemployeeId,")
    ),
    "it has no header": Mistake(
        STOPPED, r"people\.csv has no column 'employeeId'", people=(PEOPLE.splitlines()[0] + "\n", "")
    ),
    "it is empty": Mistake(STOPPED, r"people\.csv is empty.*finished", content=lambda text: b""),
    "it is a sign-in page": Mistake(
        STOPPED, r"web page.*Fetch", content=lambda text: b"<!DOCTYPE html><title>Sign in</title>"
    ),
    "it is a workbook": Mistake(STOPPED, r"workbook.*format: xlsx", content=lambda text: b"PK\x03\x04" + bytes(400)),
    "it is in another encoding": Mistake(
        STOPPED,
        r"people\.csv.*line 2.*encoding",
        people=("Ann", "J\u00f6rg"),
        content=lambda text: text.encode("cp1252"),
    ),
    "the job says commas, it has semicolons": Mistake(
        STOPPED,
        r"separated by semicolons.*delimiter",
        job=("key: employeeId", 'delimiter: ",", key: employeeId'),
        content=lambda text: text.replace(",", ";").encode(),
    ),
    "a key stands in two rows": Mistake(WORKS, r"002.*people\.csv, line", people=("003,", "002,"), words=PLAN),
    "a row has no key": Mistake(WORKS, r"people\.csv, line 3", people=("002,", ","), words=PLAN),
    "a filter of a date as if it were a number": Mistake(
        WRONG,
        r"job\.yaml:10.*whole number",
        job=scoped("{attribute: contractEnd, operator: GREATER_THAN, value: 05/12/2027}"),
    ),
    "nobody is active": Mistake(
        WORKS,
        r"never aktive; it is active \(3\), terminated \(1\)",
        job=("values: [active]", "values: [aktive]"),
        words=PLAN,
    ),
    # the target
    "no token": Mistake(STOPPED, r"SCIM_TOKEN.*not set", token=None),
    "an old token": Mistake(STOPPED, r"(refuses|refused).*credentials.*401|credentials.*401", token="old"),
    "a token with a line end": Mistake(WORKS, r"answers as a SCIM 2.0 service", token="a-token\n"),
    "the word Bearer in the token": Mistake(STOPPED, r"401", token="Bearer a-token"),
    "a path that leads nowhere": Mistake(STOPPED, r"404|no SCIM|not a SCIM", job=("URL", "URL/../nowhere")),
    "plain http to another machine": Mistake(WRONG, r"http.*insecure: true", job=("URL", "http://app.example.com/v2")),
}
"""In the order in which somebody meets them."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody begins."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(
    name: str, folder: Path, service: ScimService, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the place and the remedy, nothing is written, and no traceback is shown."""
    mistake = MISTAKES[name]
    job = JOB.replace(*mistake.job) if mistake.job[0] else JOB
    people = PEOPLE.replace(*mistake.people) if mistake.people[0] else PEOPLE
    assert (job, people) != (JOB, PEOPLE) or mistake != Mistake(mistake.status, mistake.says)
    (folder / "job.yaml").write_text(job.replace("URL", service.url), encoding="utf-8")
    (folder / "people.csv").write_bytes(mistake.content(people))
    if mistake.token is None:
        monkeypatch.delenv("SCIM_TOKEN", raising=False)
    else:
        monkeypatch.setenv("SCIM_TOKEN", mistake.token)
    said = provisor(*mistake.words)
    words = " ".join(f"{said.out} {said.err}".split())
    assert said.status == mistake.status, words
    assert re.search(mistake.says, words), words
    assert "Traceback" not in words
    assert not writes(service)


def test_rights_that_are_missing_are_named(
    folder: Path, service: ScimService, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service knows the token and lets it do nothing: no retry, no traceback, and what to ask for."""
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    (folder / "job.yaml").write_text(JOB.replace("URL", service.url), encoding="utf-8")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    service.set_fault("error", status=403, method="GET")
    said = provisor("plan", "job.yaml")
    words = " ".join(said.err.split())
    assert (said.status, "Traceback" in words) == (STOPPED, False)
    assert re.search(r"403.*(rights|permission|allowed)|(rights|permission|allowed).*403", words), words


@pytest.mark.usefixtures("plain_runs")
def test_two_runs_at_once_are_one(
    folder: Path, service: ScimService, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second says who runs and since when, and writes nothing."""
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    monkeypatch.setenv("PROVISOR_HOME", str(folder / "state"))
    (folder / "job.yaml").write_text(JOB.replace("URL", service.url), encoding="utf-8")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    moment = datetime.now(UTC)
    (folder / "state").mkdir()
    with Ledger.open(None, folder / "state") as ledger:
        lease = ledger.acquire_lease("hr-to-app", "another-machine", now=moment, duration=timedelta(minutes=10))
        said = provisor("run", "job.yaml")
        ledger.release_lease(lease)
    words = " ".join(f"{said.out} {said.err}".split())
    assert said.status == STOPPED, words
    assert "another-machine" in words
    assert not writes(service)


@pytest.mark.parametrize(
    "content",
    [
        lambda text: text.replace(",", ";").encode(),
        lambda text: ("sep=;\n" + text.replace(",", ";")).encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: (text + ",,,,,,\n" * 3).encode(),
        lambda text: (text + "\x1a").encode("latin-1"),
    ],
    ids=["semicolons", "sep=", "tabs", "byte order mark", "UTF-16", "Windows line ends", "blank rows", "Ctrl-Z"],
)
def test_what_is_no_mistake_works(
    content: Callable[[str], bytes],
    folder: Path,
    service: ScimService,
    provisor: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A spreadsheet writes it like this: the plan is the same."""
    (folder / "job.yaml").write_text(JOB.replace("URL", service.url), encoding="utf-8")
    (folder / "people.csv").write_bytes(content(PEOPLE))
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    said = provisor("plan", "job.yaml", "--json")
    assert (said.status, said.document["counts"]) == (0, {"create": 3}), said.err
