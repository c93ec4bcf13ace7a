"""The mistakes of somebody's first day: each ends in one clear sentence that names the place and says what to do.

One small job and one small export; a mistake changes a few letters of one of them. What people would not call a
mistake, semicolons, a byte order mark, tabs, has to work instead.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, temporary_settings

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
    beside: Mapping[str, str] = field(default_factory=dict)
    """Other files in the folder."""
    environment: Mapping[str, str] = field(default_factory=dict)
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
    # where the command is typed, and what is typed
    "an empty folder": Mistake(
        WRONG, r"nowhere/job\.yaml\. Go to the folder.*provisor init", words=("plan", "nowhere/job.yaml")
    ),
    "a folder instead of a file": Mistake(WRONG, r"\. is a folder.*there are: job\.yaml", words=("check", ".")),
    "the export instead of the job": Mistake(WRONG, r"A job file holds keys", words=("check", "people.csv")),
    "a copy with the same name": Mistake(
        WRONG,
        r"copy\.yaml and job\.yaml both have a job called hr-to-app.*another name",
        beside={"copy.yaml": JOB},
        words=("plan", "hr-to-app"),
    ),
    "a command is misspelt": Mistake(WRONG, r"No such command 'pln'. Did you mean 'plan'", words=("pln", "job.yaml")),
    "a plan that is a job": Mistake(STOPPED, r"job\.yaml is no plan.*--out", words=("apply", "job.yaml")),
    "a plan that is not there": Mistake(
        STOPPED, r"x\.json cannot be read.*--out FILE makes one", words=("apply", "x.json")
    ),
    "an app is misspelt": Mistake(
        STOPPED, r"Did you mean slack", words=("init", "--source", "people.csv", "--app", "slak")
    ),
    "an export without an ending": Mistake(
        STOPPED, r"\.csv, \.tsv", words=("init", "--source", "people"), beside={"people": PEOPLE}
    ),
    "init over a job": Mistake(WRONG, r"job\.yaml.*--force", words=("init", "--source", "people.csv", "--name", "job")),
    "nothing waits": Mistake(WRONG, r"Nothing of hr-to-app waits", words=("approve", "job.yaml")),
    "a port that is taken": Mistake(STOPPED, r"port \d+ .*another one", words=("pages", ".", "--port", "PORT")),
    # the job file, once more
    "blanks from a word processor": Mistake(WRONG, r"no-break space \(U\+00A0\)", job=("    title", "\u00a0   title")),
    "quotes from a word processor": Mistake(WRONG, r"typographic quote", job=(TITLE, "title: \u201c[jobTitle]\u201d")),
    "a merge that was not finished": Mistake(
        WRONG, r"A merge was not finished here", job=("users:\n", "<<<<<<< HEAD\nusers:\n")
    ),
    "a key in capitals": Mistake(WRONG, r"no key 'Source'.*Did you mean source", job=("source:", "Source:")),
    "a percentage": Mistake(
        WRONG, r"fraction: .*0\.1 is 10 %", job=("users:\n", "limits: {removals: {fraction: 10%}}\nusers:\n")
    ),
    "more than everybody": Mistake(
        WRONG, r"fraction: .*0\.1 is 10 %", job=("users:\n", "limits: {removals: {fraction: 10}}\nusers:\n")
    ),
    "a zone is misspelt": Mistake(
        WRONG,
        r"Did you mean Europe/Berlin",
        job=("users:\n", 'schedule: {cron: "0 6 * * *", timezone: Europe/Berln}\nusers:\n'),
    ),
    "three fields of cron": Mistake(WRONG, r"Five fields", job=("users:\n", 'schedule: {cron: "0 6 *"}\nusers:\n')),
    "a variable without env": Mistake(WRONG, r"write \$\{env:NAME\}", job=("${env:SCIM_TOKEN}", "${SCIM_TOKEN}")),
    "an attribute that the export has not": Mistake(
        WRONG, r"no attribute \[cellular\]; it has .*employeeId", job=(TITLE, 'title: "[cellular]"')
    ),
    # the export, once more
    "a header with blanks": Mistake(WRONG, r"did you mean \[ jobTitle \]\?", people=("jobTitle", " jobTitle ")),
    "a quote that is not closed": Mistake(
        STOPPED,
        r"people\.csv, lines 2 to 5: A quote opens here and never closes",
        people=("Ann,", '"Ann,'),
        words=PLAN,
    ),
    "nobody has a key": Mistake(
        STOPPED,
        r"4 rows could not be read, the first because of this: people\.csv, line 2",
        content=lambda text: re.sub(r"(?m)^00\d", "", text).encode(),
        words=PLAN,
    ),
    "a comma without quotes": Mistake(
        WORKS, r"line 2: The row has 8 cells", people=("Ann,Lee", "Ann,Lee,Jr"), words=PLAN
    ),
    "an address of the web that is none": Mistake(
        STOPPED, r"(does not exist|cannot be opened)", job=("people.csv", '"https://127.0.0.1:1/people.csv"')
    ),
    # the target, once more
    "an address without https": Mistake(WRONG, r"begins with https://", job=("URL", "app.example.com/v2")),
    "an address with blanks": Mistake(WRONG, r"target\.url: Must hold no blanks", job=("URL", '" URL "')),
    "a port in words": Mistake(WRONG, r"target\.url: .*this host or port", job=("URL", '"http://127.0.0.1:port/v2"')),
    "the address of the users": Mistake(STOPPED, r"/Users/Users.*base address", job=("URL", "URL/Users")),
    "https where http is spoken": Mistake(STOPPED, r"does not speak TLS", job=("URL", "HTTPS")),
    "a server that is down": Mistake(
        STOPPED, r"connection refused.*Check the url", job=("URL", "http://127.0.0.1:1/v2")
    ),
    "a host that is not known": Mistake(STOPPED, r"host name is not known", job=("URL", "https://app.invalid/v2")),
    "a proxy without http": Mistake(
        STOPPED,
        r"HTTPS_PROXY must be an address like http://",
        job=("URL", "https://app.invalid/v2"),
        environment={"https_proxy": "proxy.corp:8080", "HTTPS_PROXY": "proxy.corp:8080"},
    ),
    "a token that is empty": Mistake(STOPPED, r"SCIM_TOKEN\}\) is empty", token=""),
    "a variable in small letters": Mistake(
        STOPPED, r"Did you mean SCIM_TOKEN\?", job=("${env:SCIM_TOKEN}", "${env:scim_token}")
    ),
    "a colon in .env": Mistake(
        STOPPED, r"Put a line there: SCIM_TOKEN=value", token=None, beside={".env": "SCIM_TOKEN: a-token\n"}
    ),
    "a token with a letter of no header": Mistake(STOPPED, r"no HTTP header may hold", token="a-tok\u00e4n"),
    # where the state is
    "a state folder that is a file": Mistake(
        STOPPED, r"Not a directory\. PROVISOR_HOME names", environment={"PROVISOR_HOME": "people.csv"}, words=PLAN
    ),
    "a ledger at another database": Mistake(
        STOPPED,
        r"must be postgresql://",
        environment={"PROVISOR_DATABASE_URL": "mysql://provisor@127.0.0.1:1/provisor"},
        words=PLAN,
    ),
    "a database that is down": Mistake(
        STOPPED,
        r"cannot be opened.*refused",
        environment={"PROVISOR_DATABASE_URL": "postgresql+psycopg://provisor@127.0.0.1:1/provisor"},
        words=PLAN,
    ),
    "a Prefect server that is down": Mistake(
        STOPPED,
        r"No Prefect server answers at http://127\.0\.0\.1:1/api.*PREFECT_API_URL",
        environment={"PREFECT_API_URL": "http://127.0.0.1:1/api"},
        words=("run", "job.yaml"),
    ),
    "a Prefect server without its scheme": Mistake(
        STOPPED,
        r"PREFECT_API_URL",
        environment={"PREFECT_API_URL": "127.0.0.1:4200"},
        words=("run", "job.yaml"),
    ),
}
"""In the order in which somebody meets them."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where somebody begins; what Prefect was told there is forgotten."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()
    refresh_global_settings_context()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(
    name: str, folder: Path, service: ScimService, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the place and the remedy, nothing is written, and no traceback is shown."""
    mistake = MISTAKES[name]
    job = JOB.replace(*mistake.job) if mistake.job[0] else JOB
    people = PEOPLE.replace(*mistake.people) if mistake.people[0] else PEOPLE
    assert (job, people) != (JOB, PEOPLE) or mistake != Mistake(mistake.status, mistake.says)
    job = job.replace("HTTPS", service.url.replace("http:", "https:")).replace("URL", service.url)
    (folder / "job.yaml").write_text(job, encoding="utf-8")
    (folder / "people.csv").write_bytes(mistake.content(people))
    if mistake.token is None:
        monkeypatch.delenv("SCIM_TOKEN", raising=False)
    else:
        monkeypatch.setenv("SCIM_TOKEN", mistake.token)
    for file, text in mistake.beside.items():
        (folder / file).write_text(text, encoding="utf-8")
    for variable, value in mistake.environment.items():
        monkeypatch.setenv(variable, value)
    server = mistake.environment.get("PREFECT_API_URL")
    # Other tests of this process may have a server.
    with temporary_settings({PREFECT_API_URL: server}) if server is not None else nullcontext():
        said = provisor(*(word.replace("PORT", str(urlsplit(service.url).port)) for word in mistake.words))
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
