"""The ready jobs with an HR system as their source: what they would do, planned for real over systems of our own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML

from connectors.contract import Action, Kind
from flows.cycle.preview import preview
from flows.cycle.systems import CLOCK, open_ledger, open_systems
from tasks.expressions import Context
from tasks.job import load_job
from tasks.plan import Plan
from tests.servers import graph_service, successfactors_service, workday_service
from tests.servers.graph_service import GraphService
from tests.servers.successfactors_service import SuccessFactorsService, key_pair
from tests.servers.workday_service import START, WorkdayService

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "flows" / "jobs"
DOMAIN = "contoso.example.com"
Planned = Callable[..., Plan]


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphService]:
    known = {"TENANT": graph_service.TENANT, "CLIENT_ID": graph_service.CLIENT, "SECRET": graph_service.SECRET}
    for name, value in known.items():
        monkeypatch.setenv(f"ENTRA_{name}", value)
    with graph_service.serving() as service:
        yield service


@pytest.fixture
def workday(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkdayService]:
    with workday_service.serving() as service:
        monkeypatch.setenv("WORKDAY_URL", service.url)
        monkeypatch.setenv("WORKDAY_PASSWORD", workday_service.PASSWORD)
        yield service


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SuccessFactorsService]:
    key, certificate = key_pair()
    (tmp_path / "successfactors.key").write_text(key, encoding="ascii")
    (tmp_path / "successfactors.crt").write_text(certificate, encoding="ascii")
    with successfactors_service.serving(SuccessFactorsService(certificate=certificate)) as service:
        monkeypatch.setenv("SF_URL", service.url)
        monkeypatch.setenv("SF_COMPANY", successfactors_service.COMPANY)
        monkeypatch.setenv("SF_API_KEY", successfactors_service.CLIENT)
        yield service


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planned:
    """Plans a shipped job as it stands, at a moment; ``target`` has settings in the place of the job's, or beside."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))

    def plan(name: str, now: datetime, source: dict[str, Any] | None = None, **target: Any) -> Plan:
        document = YAML(typ="safe").load(JOBS / f"{name}.yaml")
        document["source"] = source or document["source"]
        document["target"] = target if "connector" in target else document["target"] | target
        file = tmp_path / f"{name}.yaml"
        with file.open("w", encoding="utf-8") as stream:
            YAML().dump(document, stream)
        job = load_job(file)
        token = CLOCK.set(lambda: now)
        try:
            with ExitStack() as stack:
                ledger = stack.enter_context(open_ledger())
                systems = stack.enter_context(open_systems(job))
                return preview(job, systems, ledger, Context(now=now, random=Random(0))).checked.plan
        finally:
            CLOCK.reset(token)

    return plan


def accounts(folder: Path, name: str) -> dict[str, Any]:
    """A file with a column for each attribute of the job in the place of its directory."""
    paths = YAML(typ="safe").load(JOBS / f"{name}.yaml")["users"]["attributes"]
    columns = [path for path in paths if path != "provisor:active"]
    users = {
        "path": str(folder / "accounts.csv"),
        "key": "employeeID",
        "columns": columns,
        "enabled": {"column": "state", "on": "on", "off": "off"},
    }
    return {"connector": "csv", "users": users}


def rows(plan: Plan, action: Action) -> dict[str, dict[str, Any]]:
    """The changes of users of an action: anchor to the values that they set."""
    found = {}
    for block in plan.blocks:
        if block.kind is Kind.USER and block.action is action and block.after is not None:
            for number, anchor in enumerate(block.table["anchor"]):
                after = block.after.iloc[number]
                found[str(anchor)] = {
                    path: value for path, value in after.items() if isinstance(value, list) or value == value
                }
    return found


def switched_off(plan: Plan, graph: GraphService) -> list[str]:
    """Whose accounts would be disabled or deleted: numbers of employees."""
    taken = [block for block in plan.blocks if block.action in (Action.DISABLE, Action.DELETE)]
    return [graph.users[one]["employeeId"] for block in taken for one in block.table["target_id"]]


def test_workday_to_entra(workday: WorkdayService, graph: GraphService, planned: Planned) -> None:
    """Joiners get accounts two weeks ahead; a leaver is off after the last day of
    work by the clock of Sydney; who is abroad or no longer shown keeps what is there."""
    today = START.date()
    boss = workday.put("1", first="Ann", last="O'Brien", mobile="+491701234567", title="Chief")
    report = workday.put("2", first="Zoë", last="Müller", preferred="Zoe")
    workday.managers[report] = boss
    workday.put("3", first="Ann", last="OBrien")
    workday.put("4", first="Far", last="Away", hired=today + timedelta(days=20), entered=START - timedelta(days=3))
    workday.put("5", first="Soon", last="Here", hired=today + timedelta(days=10), entered=START - timedelta(days=3))
    workday.put("6", first="Jean", last="Blanc", country="FR")
    leaver = workday.put("7", first="Syd", last="Ney", country="AU", location="SYD")
    workday.end(leaver, today + timedelta(days=1), last_day=today)
    graph.put_user(userPrincipalName=f"syd.ney@{DOMAIN}", displayName="Syd Ney", employeeId="7", accountEnabled=True)
    graph.put_user(userPrincipalName=f"old@{DOMAIN}", displayName="Old", employeeId="99")
    base = graph.url.removesuffix("/v1.0")
    place = {"url": base, "login_url": base}

    plan = planned("workday-to-entra", START, **place)
    assert plan.incomplete == ()
    made = rows(plan, Action.CREATE)
    assert set(made) == {"1", "2", "3", "5"}
    assert made["2"]["userPrincipalName"] == f"zoe.muller@{DOMAIN}"
    names = {made["1"]["userPrincipalName"], made["3"]["userPrincipalName"]}
    assert names == {f"ann.obrien@{DOMAIN}", f"a.obrien@{DOMAIN}"}
    assert made["2"]["manager"] == "1"
    assert made["1"] | {"jobTitle": "Chief", "mobilePhone": "+491701234567", "accountEnabled": True} == made["1"]
    assert switched_off(plan, graph) == []

    # 14:00 UTC is midnight in Sydney: the day has ended there, and in Berlin it has not.
    before = planned("workday-to-entra", START + timedelta(hours=1, minutes=59), **place)
    assert switched_off(before, graph) == []
    after = planned("workday-to-entra", START + timedelta(hours=2), **place)
    assert switched_off(after, graph) == ["7"]


def test_workday_to_ad(workday: WorkdayService, planned: Planned, tmp_path: Path) -> None:
    """Names that Windows takes, a unit by country, leavers in a unit of their own; nobody from elsewhere."""
    boss = workday.put("1", first="Ann Marie", last="O'Brien-Featherstonehaugh", mobile="+491701234567")
    report = workday.put("2", first="Zoë", last="Müller", country="AT")
    workday.managers[report] = boss
    workday.put("3", first="Jean", last="Blanc", country="FR")
    made = rows(planned("workday-to-ad", START, **accounts(tmp_path, "workday-to-ad")), Action.CREATE)
    assert set(made) == {"1", "2"}
    assert made["1"]["sAMAccountName"] == "annmarie.obrien-feat"
    assert made["2"]["userPrincipalName"] == "zoe.muller@corp.example.com"
    assert made["2"]["cn"] == "Zoë Müller (2)"
    assert made["2"]["manager"] == "1"
    assert made["2"]["parentDistinguishedName"].startswith("OU=Vienna,")
    assert made["1"]["parentDistinguishedName"].startswith("OU=People,")
    assert bool(made["1"]["provisor:active"])


def test_successfactors_to_ad(people: SuccessFactorsService, planned: Planned, tmp_path: Path) -> None:
    """People who are to come get accounts two weeks ahead; those who have left, or work elsewhere, get none."""
    now = datetime.now(UTC)
    people.today = now.date()
    people.put("1", first="Ann", last="Lee")
    people.put("2", first="Zoë", last="Müller", country="AT", manager="1")
    people.put("3", status="T")
    people.put("4", country="FR")
    people.put("5", first="Soon", start=people.today + timedelta(days=10))
    people.put("6", first="Far", start=people.today + timedelta(days=20))
    target = accounts(tmp_path, "successfactors-to-ad")
    made = rows(planned("successfactors-to-ad", now, **target), Action.CREATE)
    assert set(made) == {"1", "2", "5"}
    assert made["2"]["sAMAccountName"] == "zoe.muller"
    assert made["2"]["manager"] == "1"
    assert made["2"]["parentDistinguishedName"].startswith("OU=Vienna,")
    assert made["1"] | {"title": "Clerk", "department": "Sales", "company": "Contoso"} == made["1"]


def test_ad_to_workday_writeback(workday: WorkdayService, planned: Planned, tmp_path: Path) -> None:
    """What the directory made goes back: only what differs, to workers who are there. A leaver there is none here, and
    a number that Workday would not take is held with its value."""
    workday.put("1", first="Ann", mail="ann@old.example", landline="+49301234567", user="ann")
    workday.put("2", first="Bo", user="bo@example.com", mail="bo@example.com")
    workday.put("3", first="Cy", hired=START.date() + timedelta(days=9), entered=START - timedelta(days=1))
    workday.put("4", first="Di")
    columns = ["id", "employeeID", "mail", "userPrincipalName", "telephoneNumber", "mobile", "on"]
    people = [
        ["a", "1", "ann@example.com", "ann@example.com", "+49 30 1234-567", "+49 170 1234567", "yes"],
        ["b", "2", "bo@example.com", "bo@example.com", "", "", "no"],
        ["c", "3", "cy@example.com", "", "", "", "yes"],
        ["d", "4", "di@example.com", "", "", "030 1234567", "yes"],
        ["e", "5", "nobody@example.com", "", "", "", "yes"],
        ["f", "", "service@example.com", "", "", "", "yes"],
    ]
    lines = [",".join(line) for line in (columns, *people)]
    (tmp_path / "ad.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    users = {"path": str(tmp_path / "ad.csv"), "key": "id", "enabled": {"column": "on", "values": ["yes"]}}
    plan = planned("ad-to-workday-writeback", START, {"connector": "csv", "users": users}, url=workday.url)
    assert {block.action for block in plan.blocks} == {Action.UPDATE}
    assert rows(plan, Action.UPDATE) == {
        "a": {"EmailAddress": "ann@example.com", "UserID": "ann@example.com", "Mobile": "+491701234567"},
        "c": {"EmailAddress": "cy@example.com"},
    }
    [held] = plan.held
    assert (held.anchor, "takes a phone number like +491701234567" in held.reason) == ("d", True)


def test_ad_to_successfactors_writeback(people: SuccessFactorsService, planned: Planned, tmp_path: Path) -> None:
    """What the directory made goes back, only what differs, to people who are there.

    An account that is off there is not a leaver here, and an empty value clears nothing.
    """
    now = datetime.now(UTC)
    people.today = now.date()
    for key, mail in (("1", "ann@old.example"), ("2", "bo@example.com"), ("3", None)):
        person = people.put(key)
        person.mails = [{"emailAddress": mail, "isPrimary": True, "emailType": "8448"}] if mail else []
        person.phones = [{"phoneNumber": "+49301", "isPrimary": True, "phoneType": "10605"}]
    columns = ["id", "employeeID", "mail", "userPrincipalName", "telephoneNumber", "mobile", "on"]
    rows_of_ad = [
        ["a", "1", "ann@example.com", "ann@example.com", "+49301", "+49170", "yes"],
        ["b", "2", "bo@example.com", "bo@example.com", "", "", "no"],
        ["c", "3", "cy@example.com", "", "", "", "yes"],
        ["d", "4", "nobody@example.com", "", "", "", "yes"],
        ["e", "", "service@example.com", "", "", "", "yes"],
    ]
    lines = [",".join(line) for line in (columns, *rows_of_ad)]
    (tmp_path / "ad.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    users = {"path": str(tmp_path / "ad.csv"), "key": "id", "enabled": {"column": "on", "values": ["yes"]}}
    plan = planned("ad-to-successfactors-writeback", now, {"connector": "csv", "users": users})
    assert {block.action for block in plan.blocks} == {Action.UPDATE}
    assert rows(plan, Action.UPDATE) == {
        "a": {"emailAddress": "ann@example.com", "cellPhone": "+49170"},
        "c": {"emailAddress": "cy@example.com"},
    }
    assert not plan.held
