"""``provisor init``, ``apps`` and ``preview``: from an export to a job that can be planned."""

import stat
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from connectors.contract import Attribute, Kind, Traits
from connectors.gallery import App, app_called, apps
from tasks.agreement import check_agreement
from tasks.extract import Facts
from tasks.job import load_job
from tasks.proposing import WELL_KNOWN
from tests.flows.workplace import Command
from tests.servers.scim_service import ScimService

EXPORT = """Personnel No;First Name;Last Name;E-Mail;Job Title;Supervisor;Status
1;Ann;Lee;ann.lee@example.com;Clerk;;active
2;Bo;Ek;bo.ek@example.com;Clerk;1;on leave
3;Cy;Fox;cy.fox@example.com;Chief;1;terminated
"""


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export with separators and names of its own, where the command runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "people.csv"
    path.write_text(EXPORT)
    return path


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)
def test_every_template_is_a_job(app: App, tmp_path: Path) -> None:
    """It loads, reads only the attributes that proposals know, names no credential, and its page cites documents."""
    path = tmp_path / "job.yaml"
    path.write_text(app.template)
    job = load_job(path)
    assert job.warnings == ()
    known = {name: Attribute() for name in WELL_KNOWN}
    check_agreement(job, Facts(Traits(), dict.fromkeys(Kind), {Kind.USER: known, Kind.GROUP: {"name": Attribute()}}))
    assert "${env:" in app.template
    for heading in ("## What it takes", "## Set up", "## Good to know", "## Sources"):
        assert heading in app.setup, app.name
    assert "https://" in app.setup.partition("## Sources")[2]


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)
def test_a_first_job_for_every_app(app: App, export: Path, provisor: Command) -> None:
    """What is proposed is a job over the export's own columns; nothing of the template's columns is left."""
    done = provisor("init", "--source", export, "--app", app.name, "--name", "first")
    assert done.status == 0, done.err
    job = load_job(Path("first.yaml"))
    assert job.source.settings.users.key == "Personnel No"  # type: ignore[attr-defined]
    columns = {name: Attribute() for name in EXPORT.splitlines()[0].split(";")}
    check_agreement(job, Facts(Traits(), dict.fromkeys(Kind), {Kind.USER: columns, Kind.GROUP: {}}))
    enabled = YAML(typ="safe").load(Path("first.yaml").read_text())["source"]["users"]["enabled"]
    assert enabled == {"column": "Status", "values": ["active", "on leave"]}


def test_what_is_told_and_kept(export: Path, provisor: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials' names go to a file for its holder alone; what is there already is not replaced unasked."""
    monkeypatch.delenv("SCIM_TOKEN", raising=False)
    done = provisor("init", "--source", export, "--target", "https://app.example.com/scim/v2")
    assert done.status == 0, done.err
    assert "provisor plan hr-to-app" in done.out
    assert "Left out: " in done.out
    assert (
        "Put the values of SCIM_TOKEN into .env" in done.out or "SCIM_TOKEN" not in Path("hr-to-app.yaml").read_text()
    )
    again = provisor("init", "--source", export)
    assert (again.status, "There is a job already: hr-to-app.yaml" in again.err) == (2, True)
    kept = Path(".env")
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("SCIM_TOKEN=\n", 0o600)


def test_the_first_plan_is_shown_where_the_target_answers(
    export: Path, provisor: Command, service: ScimService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the credentials at hand the new job is checked and planned at once; nothing is written."""
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    done = provisor("init", "--source", export, "--target", service.url)
    assert done.status == 0, done.err
    assert "the job file is right" in done.out
    assert "2 to create" in done.out
    assert len(service.users) == 0
    silent = provisor("init", "--source", export, "--target", "http://127.0.0.1:9/scim/v2", "--name", "other")
    assert (silent.status, "Not yet: " in silent.out) == (0, True)


def test_what_is_wrong_is_one_sentence(export: Path, provisor: Command) -> None:
    """A misspelt app, a file that is not there, an export without anybody's name."""
    assert "Did you mean slack?" in provisor("init", "--source", export, "--app", "slck").err
    gone = provisor("init", "--source", "peple.csv")
    assert (gone.status, "peple.csv does not exist" in gone.err) == (4, True)
    export.write_text("team\nsales\nsales\n")
    nobody = provisor("init", "--source", export)
    assert "No column identifies a person" in nobody.err


def test_an_export_writes_nothing_into_the_job_but_names(export: Path, provisor: Command) -> None:
    """Columns and cells with line ends stand in comments and values as text; none becomes a line of the job."""
    evil = "protect: [everybody]"
    export.write_text(
        f'"id\n{evil}","mail","status\n","end date"\n1,a@example.com,active,\n2,b@example.com,"x\n{evil}",\n'
        f'3,c@example.com,"gone\n{evil}",\n'
    )
    done = provisor("init", "--source", export, "--name", "first")
    assert done.status == 0, done.err
    text = Path("first.yaml").read_text()
    assert evil in text
    assert load_job(Path("first.yaml")).protect == ()
    assert YAML(typ="safe").load(text).keys() == {"name", "source", "target", "users", "deprovision", "limits"}


def test_apps_are_listed_and_searched(provisor: Command) -> None:
    """A word of the page finds the app; its page is shown as it is where no terminal is."""
    assert "slack" in provisor("apps").out
    assert provisor("apps", "--search", "workspace plan", "--json").document == []
    assert [one["name"] for one in provisor("apps", "--search", "PagerDuty", "--json").document] == ["pagerduty"]
    assert "## Set up" in provisor("apps", "slack").out
    assert provisor("apps", "slcak").status == 2


def test_the_page_lists_every_app() -> None:
    """The table of the documentation is the gallery."""
    page = (Path(__file__).parents[2] / "docs/reference/apps.md").read_text(encoding="utf-8")
    listed = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    assert [(name.strip(" `"), title.strip()) for name, title in listed] == [(one.name, one.title) for one in apps()]


def test_a_preview_shows_mapped_people(export: Path, provisor: Command) -> None:
    """The target is not asked: nothing answers at its address."""
    provisor("init", "--source", export, "--target", "https://127.0.0.1:9/scim/v2")
    shown = provisor("preview", "hr-to-app", "--rows", "2")
    assert shown.status == 0, shown.err
    assert "ann.lee@example.com" in shown.out
    assert "3 in scope, 0 out of scope" in shown.out
    document = provisor("preview", "hr-to-app", "--rows", "2", "--json").document
    assert [one["entry"]["key"] for one in document["entries"]] == ["1", "2"]
    values = {one["target"]: one.get("value") for one in document["entries"][1]["mappings"]}
    assert (values["name.givenName"], values["displayName"]) == ("Bo", "Bo Ek")


def test_files_are_laid_out_alike(tmp_path: Path, provisor: Command) -> None:
    """Comments, order, quotes and meaning stay; a second time nothing changes; a wrong file is left as it is."""
    path = tmp_path / "job.yaml"
    neat = app_called("slack").template
    path.write_text(
        neat.replace("\n    - {source", "\n  - {source").replace("users:\n  matching", "users:   \n\n\n\n  matching")
    )
    messy = path.read_text()
    looked = provisor("fmt", path, "--check")
    assert (looked.status, "would be changed" in looked.out, path.read_text()) == (1, True, messy)
    assert provisor("fmt", path).status == 0
    tidy = path.read_text()
    assert tidy != messy
    assert [line.strip() for line in tidy.splitlines() if "#" in line] == [
        line.strip() for line in messy.splitlines() if "#" in line
    ]
    assert (provisor("fmt", path, "--check").status, path.read_text()) == (0, tidy)
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("name: x\nusers: {}\n")
    assert provisor("fmt", path).status == 2
    assert path.read_text() == "name: x\nusers: {}\n"


def test_what_is_an_example_still_is_said(export: Path, provisor: Command) -> None:
    """A template's address is nobody's; with an address of one's own nothing is left to fill in."""
    done = provisor("init", "--source", export, "--app", "active-directory", "--name", "first")
    found = [number for number, line in enumerate(Path("first.yaml").read_text().splitlines(), 1) if "example" in line]
    assert f"Lines {', '.join(map(str, found))} of first.yaml hold an example: write what is yours there." in done.out
    done = provisor("init", "--source", export, "--name", "other", "--target", "http://127.0.0.1:1/v2")
    assert "an example" not in done.out
