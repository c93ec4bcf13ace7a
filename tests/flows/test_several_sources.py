"""flows/jobs/hr-and-contractors-to-scim.yaml as whole commands: two HR systems, contractors, a phone list."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.flows.workplace import ROOT, Command, Workplace, at, writes
from tests.servers.scim_service import ScimService

JOBS = ROOT / "flows" / "jobs"
NAME = "hr-and-contractors-to-scim"
FEBRUARY = datetime(2026, 2, 10, 12, tzinfo=UTC)
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Office(Workplace):
    """The job with its lists in a folder of the test's own."""

    @property
    def lists(self) -> Path:
        return self.folder / NAME

    def take_away(self, name: str) -> None:
        """A list that has not arrived."""
        (self.lists / name).rename(self.lists / f"{name}.late")

    def bring_back(self, name: str) -> None:
        (self.lists / f"{name}.late").rename(self.lists / name)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.lists / name).read_text(encoding="utf-8")
        assert old in text
        (self.lists / name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def office(tmp_path: Path, service: ScimService, monkeypatch: pytest.MonkeyPatch) -> Office:
    folder = tmp_path / "work"
    shutil.copytree(JOBS / NAME, folder / NAME)
    text = (JOBS / f"{NAME}.yaml").read_text(encoding="utf-8")
    made = Office(folder)
    made.job.write_text(text.replace("http://127.0.0.1:8080/v2", service.url), encoding="utf-8")
    monkeypatch.setenv("PROVISOR_HOME", str(made.home))
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    return made


def people(service: ScimService) -> dict[str, dict[str, Any]]:
    return {user["userName"].split("@")[0].lower(): user for user in map(service.users.__getitem__, service.users)}


def phone(user: dict[str, Any]) -> str | None:
    return next((one["value"] for one in user.get("phoneNumbers", [])), None)


@pytest.mark.usefixtures("plain_runs")
def test_four_lists_are_one_population(office: Office, service: ScimService) -> None:
    """Who is in which list, with which phone and manager; then each list late in turn: nobody loses anything."""
    with at(FEBRUARY):
        assert office.cycle().exit_status == 0
        found = people(service)
        assert sorted(name for name, user in found.items() if user["active"]) == [
            *("aiko.tanaka", "ana.garcia", "chiara.rossi", "juergen.mueller", "niamh.kelly", "null.byrne"),
            *("olu.adeyemi", "sean.walsh", "siobhan.obrien"),
        ]
        assert "tom.long" not in found
        assert phone(found["olu.adeyemi"]) == "+44 20 7946 0002"
        assert phone(found["ana.garcia"]) == "+49 30 9003"
        assert phone(found["niamh.kelly"]) == "+353 1 1001"
        assert found["ana.garcia"][ENTERPRISE]["manager"]["value"] == found["olu.adeyemi"]["id"]
        assert found["olu.adeyemi"][ENTERPRISE]["manager"]["value"] == found["juergen.mueller"]["id"]
        assert found["aiko.tanaka"][ENTERPRISE]["department"] == "Engineering"
        service.reset_counts()
        for name in ("hr.csv", "subsidiary.csv", "contractors.csv", "phones.csv"):
            office.take_away(name)
            report = office.cycle()
            assert (report.exit_status, writes(service)) == (1 if name == "phones.csv" else 3, {}), name
            office.bring_back(name)
        assert office.cycle().exit_status == 0
        assert writes(service) == {}
    with at(datetime(2026, 4, 1, 12, tzinfo=UTC)):
        office.cycle()
        assert people(service)["sean.walsh"]["active"] is False
        assert people(service)["aiko.tanaka"]["active"] is True


@pytest.mark.usefixtures("plain_runs")
def test_an_urgent_leaver_needs_no_list_of_attributes(office: Office, service: ScimService, provisor: Command) -> None:
    """On demand, with and without a list that gives what no other source gives."""
    text = office.job.read_text(encoding="utf-8")
    office.job.write_text(text.replace('gives: {phone: "[number]"}', 'gives: {phone: "[number]", desk: "[number]"}'))
    with at(FEBRUARY):
        assert office.cycle().exit_status == 0
        for key, name in (("1002", "juergen.mueller"), ("1003", "siobhan.obrien")):
            office.edit("hr.csv", f"{key},active", f"{key},inactive")
            said = provisor("on-demand", office.job, key)
            assert (said.status, people(service)[name]["active"]) == (0, False), said.err
            if key == "1002":
                office.take_away("phones.csv")


def test_every_command_reads_the_population(office: Office, provisor: Command) -> None:
    """check, plan, why, explain and a plan file: each sees all lists, and says which one is not complete."""
    with at(FEBRUARY):
        checked = provisor("check", office.job)
        assert checked.status == 0, checked.out + checked.err
        assert "contractors:" in checked.out
        said = provisor("plan", office.job, "--json")
        assert said.status == 0, said.err
        assert {one["anchor"] for one in said.document["changes"]} == {
            *("1001", "1002", "1003", "1005", "S-1001", "S-1002", "S-1003", "C-2", "C-3"),
        }
        assert "C-3" in provisor("why", office.job, "ana.garcia@partner.example").out
        explained = provisor("explain", "--job", office.job, "--entry", "C-2", "--json", "[phone]")
        assert explained.document["value"] == "+44 20 7946 0002"
        office.take_away("contractors.csv")
        said = provisor("plan", office.job)
        assert "contractors: It could not be read" in said.err + said.out
        office.bring_back("contractors.csv")
        for name in ("hr.csv", "subsidiary.csv", "contractors.csv"):
            office.take_away(name)
        said = provisor("plan", office.job)
        assert said.status == 4
        assert "hr.csv" in said.err


def test_check_names_what_does_not_fit(office: Office, provisor: Command) -> None:
    """An attribute of two sources without an order, a join over nothing, an order with a source that has no such
    attribute: each with its line."""
    text = office.job.read_text(encoding="utf-8")
    wrong = text.replace("  phone: [contractors, phones]", "  department: [phones]").replace(
        'own: "[badge]"', 'own: "[bagde]"'
    )
    office.job.write_text(wrong.replace('join: {people: "[badge]"', 'join: {people: "[bagde]"'), encoding="utf-8")
    said = provisor("check", office.job)
    assert said.status == 2
    assert "phone comes from phones and contractors: say under precedence which counts" in said.err
    assert "phones does not provide department" in said.err
    assert "enrich[0].join.people" in said.err
    assert "enrich[0].join.own" in said.err


@pytest.mark.usefixtures("plain_runs")
def test_a_plan_file_is_refused_when_a_list_fails_to_arrive(office: Office, provisor: Command) -> None:
    """What was reviewed was made from all lists; without one of them it is another plan."""
    with at(FEBRUARY):
        plan = office.folder / "plan.json"
        provisor("plan", office.job, "--out", plan)
        office.take_away("phones.csv")
        said = provisor("apply", plan)
        assert said.status == 4, said.out + said.err
        assert "plan" in said.err + said.out
        office.bring_back("phones.csv")
        assert provisor("apply", plan).status == 0


@pytest.mark.usefixtures("plain_runs")
def test_a_list_that_is_late_is_no_leaver_on_demand(office: Office, provisor: Command, service: ScimService) -> None:
    """Somebody is asked for by name while the list she is in is late: her account stays, and the reason is said."""
    with at(FEBRUARY):
        assert office.cycle().exit_status == 0
        office.take_away("contractors.csv")
        service.reset_counts()
        said = provisor("on-demand", office.job, "olu.adeyemi@partner.example")
        assert writes(service) == {}
        assert said.status != 0
        assert "contractors" in said.out + said.err
