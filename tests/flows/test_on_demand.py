"""One identity on demand, against a real service: what each step says, what is asked and written, what stays right."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.cycle.systems import open_ledger
from tasks.ledger import CycleKind, Pause
from tests.flows.first_cycles import FirstCycle
from tests.flows.workplace import Command, Row, Workplace, account, accounts, kill_hanging, staff, writes
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

OnDemand = Callable[..., dict[str, Any]]
JOINER = "99001"


@pytest.fixture
def settled(small: Workplace, first_cycle: FirstCycle) -> Workplace:
    """A workplace after its first cycle; accounts are recognised by their user name, then by the anchor."""
    first_cycle(small)
    return small


@pytest.fixture
def on_demand(small: Workplace, provisor: Command) -> OnDemand:
    """The command's JSON, after a look at its exit status."""

    def call(identity: str, *words: str, status: int = 0) -> dict[str, Any]:
        said = provisor("on-demand", small.job, identity, "--json", *words)
        assert said.status == status, said.out + said.err
        document: dict[str, Any] = said.document
        assert document["exit_status"] == status
        return document

    return call


def add_joiner(workplace: Workplace, **values: str) -> Row:
    model = staff(workplace)[0]
    names = {"userPrincipalName": "joiner@example.com", "mail": "joiner@example.com"}
    joiner = model | {"employeeId": JOINER} | names | values
    workplace.write_rows([*workplace.rows(), joiner])
    return joiner


def step(page: dict[str, Any], name: str) -> dict[str, Any]:
    """One step of the page."""
    (found,) = [one for one in page["steps"] if one["step"] == name]
    return found


def listings(service: ScimService) -> list[str]:
    """Requests for users or groups at large: neither by id nor by a filter."""
    return [
        one.path
        for one in service.log
        if one.method == "GET" and one.path.split("?")[0].endswith(("/Users", "/Groups")) and "filter" not in one.path
    ]


def converged(workplace: Workplace, service: ScimService) -> None:
    """The next cycle finds nothing to do, and neither does one that lists the target."""
    for choice in ("incremental", "reconcile"):
        service.reset_counts()
        report = workplace.cycle(choice)
        assert report.exit_status in (0, 1), report.message
        assert not report.failures
        assert not writes(service), choice


def test_a_joiner_gets_an_account_and_the_next_cycle_knows_it(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """Looked up by each matching attribute, which is seen to work, and created once; the next cycle changes nothing."""
    add_joiner(settled)
    page = on_demand("joiner@example.com")
    assert page["result"] == "success"
    assert [one["step"] for one in page["steps"]] == ["import", "scope", "match", "action"]
    assert step(page, "import")["properties"]["jobTitle"] == staff(settled)[0]["jobTitle"]
    assert [(one["attribute"], one["hits"]) for one in step(page, "match")["attributes"]] == [
        ("userName", []),
        ("externalId", []),
    ]
    (outcome,) = step(page, "action")["outcomes"]
    assert (outcome["action"], outcome["status"]) == ("create", "success")
    assert {"name": "userName", "old": None, "new": "joiner@example.com"} in outcome["modified"]
    assert writes(service) == {"POST /Users": 1}
    assert service.requests["GET /Users"] == 4  # nobody has the value, and somebody who is there is found by it
    assert not listings(service)
    service.reset_counts()
    report = settled.cycle()
    assert report.kind == "incremental"
    assert not report.counts.get("created")
    assert len(accounts(service, JOINER)) == 1
    converged(settled, service)


def test_only_the_one_is_touched(settled: Workplace, service: ScimService, on_demand: OnDemand) -> None:
    """Others who have changed as well wait for their cycle, and are not forgotten by it."""
    mover, other, leaver = staff(settled)[:3]
    for person in (mover, other):
        settled.change(person["employeeId"], lambda row: row | {"jobTitle": "Chief"})
    settled.change(leaver["employeeId"], lambda row: row | {"status": "terminated"})
    page = on_demand(mover["employeeId"])
    (outcome,) = step(page, "action")["outcomes"]
    assert outcome["modified"] == [{"name": "title", "old": mover["jobTitle"], "new": "Chief"}]
    assert writes(service) == {"PATCH /Users": 1}
    assert not listings(service)
    assert accounts(service, other["employeeId"])[0].get("title") == other["jobTitle"]
    report = settled.cycle()
    assert (report.counts["updated"], report.counts["disabled"]) == (1, 1)
    converged(settled, service)


def test_nothing_to_do_says_so(settled: Workplace, service: ScimService, on_demand: OnDemand) -> None:
    """Whoever is as they should be costs no write and ends with status 0."""
    page = on_demand(staff(settled)[0]["employeeId"])
    assert page["result"] == "skipped"
    assert "as it should be" in step(page, "action")["message"]
    assert not writes(service)


def leaves(row: Row) -> None:
    """Out of the export."""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(leaves, "no such user any more", id="gone"),
        pytest.param(lambda row: row | {"status": "terminated"}, "has the user", id="disabled"),
        pytest.param(lambda row: row | {"employeeType": "contractor", "department": "Sales"}, "", id="out of scope"),
    ],
)
def test_a_person_who_leaves_is_disabled(
    settled: Workplace,
    service: ScimService,
    on_demand: OnDemand,
    change: Callable[[Row], Row | None],
    words: str,
) -> None:
    """Gone, disabled in the source, or out of scope: all are found, by name too, and switched off with one request."""
    person = staff(settled)[0]
    settled.change(person["employeeId"], change)
    page = on_demand(accounts(service, person["employeeId"])[0]["userName"])
    assert page["result"] == "success"
    assert page["entry"]["anchor"] == person["employeeId"]
    assert words in step(page, "import")["message"]
    assert accounts(service, person["employeeId"])[0]["active"] is False
    assert writes(service) == {"PATCH /Users": 1}
    assert not listings(service)
    settled.cycle()
    converged(settled, service)


def test_what_is_taken_away_one_by_one_counts_by_the_day(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """One removal is allowed in a day: the second person by name waits, and goes on being active."""
    settled.document["limits"]["budget"] = {"per_day": {"count": 1, "fraction": 1.0}}
    settled.save()
    first, second = [row["employeeId"] for row in staff(settled)[:2]]
    for anchor in (first, second):
        settled.change(anchor, leaves)
    assert on_demand(first)["result"] == "success"
    assert on_demand(second, status=3)["result"] == "staged"
    assert [accounts(service, anchor)[0]["active"] for anchor in (first, second)] == [False, True]


def test_a_person_who_is_not_assigned_is_disabled_and_each_clause_has_its_answer(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """The scope step says that it is the assignment, and what every clause says."""
    first, *others = staff(settled)
    settled.save(assignment={"mode": "assigned", "users": [row["employeeId"] for row in others]})
    page = on_demand(first["employeeId"])
    scope = step(page, "scope")
    assert (scope["active_in_source"], scope["assigned"], scope["status"]) == (True, False, "skipped")
    assert scope["clauses"][0][0] == {
        "clause": "employeeType NOT EQUALS contractor",
        "holds": True,
        "value": first["employeeType"],
    }
    assert accounts(service, first["employeeId"])[0]["active"] is False
    assert not listings(service)


def test_what_others_have_changed_is_told_and_put_right_where_the_job_says_so(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """By name as in a cycle that lists the target: reported and left, or corrected."""
    person = staff(settled)[0]
    found = account(service, person["employeeId"])
    service.users[found["id"]] = found | {"title": "Emperor"}
    page = on_demand(person["employeeId"])
    assert (page["result"], account(service, person["employeeId"])["title"]) == ("skipped", "Emperor")
    assert "others have changed the account" in step(page, "action")["message"]
    settled.save(drift="correct")
    on_demand(person["employeeId"])
    assert account(service, person["employeeId"])["title"] == person["jobTitle"]


def test_plan_only_writes_nothing_anywhere(settled: Workplace, service: ScimService, on_demand: OnDemand) -> None:
    """Neither a request that writes nor a cycle; the page says what would be done."""
    add_joiner(settled)
    page = on_demand(JOINER, "--plan-only")
    (change,) = step(page, "action")["changes"]
    assert (change["action"], change["after"]["userName"]) == ("create", "joiner@example.com")
    assert page["cycle"] is None
    assert not writes(service)
    assert not listings(service)
    with open_ledger() as ledger:
        assert [cycle.number for cycle in ledger.cycles("hr-to-scim")] == [1]


def test_it_moves_no_watermark_and_counts_as_no_cycle(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """It is a cycle of its own kind: after a change of the configuration everybody is evaluated all the same."""
    with open_ledger() as ledger:
        before = ledger.watermark("hr-to-scim"), ledger.source_counts("hr-to-scim")
    settled.document["users"]["attributes"]["nickName"] = "[givenName]"
    settled.save(limits={**settled.document.get("limits", {}), "updates": {"fraction": 1.0}})
    assert on_demand(staff(settled)[0]["employeeId"])["result"] == "success"
    with open_ledger() as ledger:
        assert (ledger.watermark("hr-to-scim"), ledger.source_counts("hr-to-scim")) == before
        assert ledger.cycles("hr-to-scim")[0].kind is CycleKind.ON_DEMAND
    assert not listings(service)
    assert settled.cycle().kind == "initial"
    converged(settled, service)


def test_before_the_first_cycle_one_person_can_be_tried(
    small: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """Nothing is known of the target then: an account that is there is adopted, not doubled; managers come later."""
    person = next(row for row in staff(small) if row["manager"])
    service.seed(users=[{"userName": person["userPrincipalName"].upper(), "active": True}])
    service.reset_counts()
    page = on_demand(person["employeeId"])
    assert step(page, "match")["message"].endswith("matches by userName.")
    assert writes(service) == {"PATCH /Users": 1}
    assert "no account in the target" in " ".join(step(page, "action")["notes"])
    assert not listings(service)
    assert len(service.users) == 1
    report = small.cycle()
    assert (report.kind, report.exit_status) == ("initial", 0)
    assert len(accounts(service, person["employeeId"])) <= 1
    converged(small, service)


def test_two_accounts_that_match_are_both_left_alone(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """The match step shows both, the action why nothing was done; status 1."""
    joiner = add_joiner(settled)
    settled.document["users"]["matching"] = [{"source": "[employeeId]", "target": "externalId"}]
    settled.save()
    for number in (1, 2):
        service.seed(users=[{"userName": f"double{number}@example.com", "externalId": joiner["employeeId"]}])
    service.reset_counts()
    page = on_demand(JOINER, status=1)
    (by_anchor,) = step(page, "match")["attributes"]
    assert len(by_anchor["hits"]) == 2
    assert step(page, "match")["status"] == "failure"
    assert "2 accounts of the target match by externalId" in step(page, "action")["message"]
    assert not writes(service)


def test_nobody_gets_a_second_account_from_a_service_that_finds_nobody(
    settled: Workplace, service: ScimService, provisor: Command
) -> None:
    """To every question about an externalId it answers that nobody has it; it is not believed, and the step says so."""
    add_joiner(settled)
    service.seed(users=[{"userName": "by-hand@example.com", "externalId": JOINER, "active": True}])
    service.quirks["filter_external_id"] = "silent_empty"
    said = provisor("on-demand", settled.job, JOINER)
    assert said.status == 4
    assert "asked for users by externalId, the service found nobody" in said.out + said.err
    assert not writes(service)


def test_what_the_target_refuses_is_told_and_goes_into_escrow_alone(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """The attempted attributes, the code and the target's words; others stay in escrow, and no wait applies."""
    mover, other = staff(settled)[:2]
    for person in (mover, other):
        settled.change(person["employeeId"], lambda row: row | {"jobTitle": "Chief"})
    service.set_fault("error", status=400, method="PATCH")
    assert settled.cycle().exit_status == 1
    settled.cycle()
    page = on_demand(mover["employeeId"], status=1)
    (outcome,) = step(page, "action")["outcomes"]
    assert outcome["status"] == "failure"
    assert outcome["modified"] == [{"name": "title", "old": mover["jobTitle"], "new": "Chief"}]
    service.clear_fault()
    assert on_demand(mover["employeeId"])["result"] == "success"
    with open_ledger() as ledger:
        assert [one.anchor for one in ledger.escrows("hr-to-scim")] == [other["employeeId"]]


def test_a_group_gets_its_members_however_many(settled: Workplace, service: ScimService, on_demand: OnDemand) -> None:
    """A new group is created with everybody who has an account; a member without one is left out and noted."""
    people = [row["employeeId"] for row in staff(settled)[:40]]
    add_joiner(settled)
    with (settled.export / "groups.csv").open("a", encoding="utf-8") as file:
        file.write("G9999,Task Force,People who do things\n")
    with (settled.export / "members.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"G9999,{anchor}\n" for anchor in [*people, JOINER])
    page = on_demand("Task Force")
    assert page["entry"] == {"kind": "group", "anchor": "G9999", "label": "Task Force"}
    (group,) = [one for one in map(service.groups.__getitem__, service.groups) if one["displayName"] == "Task Force"]
    assert len(group["members"]) == 40
    assert any(note.startswith("1 of its members") for note in step(page, "action")["notes"])
    assert "POST /Users" not in writes(service)
    assert not listings(service)
    service.reset_counts()
    report = settled.cycle()
    assert report.counts["created"] == 1
    (group,) = [one for one in map(service.groups.__getitem__, service.groups) if one["displayName"] == "Task Force"]
    assert len(group["members"]) == 41
    converged(settled, service)


def test_guards_hold_and_protected_accounts_stay(settled: Workplace, service: ScimService, on_demand: OnDemand) -> None:
    """A source with a row that cannot be read takes nobody's account; neither does anything take a protected one."""
    person = staff(settled)[0]
    settled.change(person["employeeId"], leaves)
    with settled.people.open("a", encoding="utf-8") as file:
        file.write(",nobody\n")
    page = on_demand(person["employeeId"], status=3)
    assert page["result"] == "staged"
    assert not writes(service)
    settled.write_rows([row for row in settled.rows() if row["employeeId"]])
    settled.save(protect=[person["employeeId"]])
    page = on_demand(person["employeeId"], status=1)
    assert "protected" in step(page, "action")["message"]
    assert not writes(service)


def test_it_runs_while_the_job_is_paused_and_says_so(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """Somebody who puts things right tries one entry before the job goes on; the pause stays."""
    settled.change(staff(settled)[0]["employeeId"], lambda row: row | {"jobTitle": "Chief"})
    with open_ledger() as ledger:
        ledger.pause("hr-to-scim", Pause(datetime.now(UTC), "eve", "the titles look wrong"))
    page = on_demand(staff(settled)[0]["employeeId"])
    assert page["result"] == "success"
    assert "paused by eve" in page["notices"][0]
    with open_ledger() as ledger:
        assert ledger.paused("hr-to-scim") is not None


def test_a_running_cycle_keeps_it_out(settled: Workplace, service: ScimService, provisor: Command) -> None:
    """The job has one runner at a time: a sentence, and nothing is sent."""
    from flows.cycle.lease import holding
    from flows.cycle.systems import now

    settled.change(staff(settled)[0]["employeeId"], lambda row: row | {"jobTitle": "Chief"})
    with open_ledger() as ledger, holding(ledger, "hr-to-scim", clock=now):
        said = provisor("on-demand", settled.job, staff(settled)[0]["employeeId"])
    assert said.status == 4
    assert "hr-to-scim" in said.err
    assert not service.requests


def test_who_is_unknown_is_a_sentence(settled: Workplace, service: ScimService, provisor: Command) -> None:
    """Status 2, and no cycle began."""
    said = provisor("on-demand", settled.job, "nobody@example.com")
    assert said.status == 2
    assert "nobody@example.com is unknown: neither" in said.err
    with open_ledger() as ledger:
        assert len(ledger.cycles("hr-to-scim")) == 1


def test_a_connection_that_fails_is_the_first_step(
    settled: Workplace, service: ScimService, on_demand: OnDemand
) -> None:
    """Only then it is shown; status 4, and the job is not put into quarantine by it."""
    service.renew_token("another")
    page = on_demand(staff(settled)[0]["employeeId"], status=4)
    assert [(one["step"], one["status"]) for one in page["steps"]] == [("connection", "failure")]
    with open_ledger() as ledger:
        assert ledger.quarantine("hr-to-scim") is None


def test_the_page_is_readable_and_hides_what_is_redacted(settled: Workplace, provisor: Command) -> None:
    """Five steps on a terminal, without the value of an attribute that a redacted mapping reads."""
    settled.document["users"]["attributes"]["nickName"] = {"expression": "[jobTitle]", "redact": True}
    del settled.document["users"]["attributes"]["title"]
    settled.change(staff(settled)[0]["employeeId"], lambda row: row | {"jobTitle": "Secretkeeper"})
    settled.save()
    said = provisor("on-demand", settled.job, staff(settled)[0]["employeeId"])
    assert said.status == 0, said.err
    assert "Secretkeeper" not in said.out + said.err
    assert "assigned (mode all): yes" in said.out
    assert [line.split()[2] for line in said.out.splitlines() if line[:2] in ("1 ", "2 ", "3 ", "4 ")] == [
        "import",
        "scope",
        "match",
        "action",
    ]
    assert Counter(said.out.split())["success"] == 1


def test_an_account_that_nobody_saw_being_made_is_the_one_of_its_owner(
    small: Workplace, service: ScimService, on_demand: OnDemand, prefect_api: str
) -> None:
    """A run died between sending and knowing; its joiner, who has another name by now, gets no second account."""
    small.document["users"]["matching"] = [{"source": "[userPrincipalName]", "target": "userName"}]
    assert small.save().cycle().exit_status == 0
    add_joiner(small)
    service.set_fault("hang", method="POST", path="^/Users", commit="after", seconds=600)
    kill_hanging(small.start("run", str(small.job), PREFECT_API_URL=prefect_api), service)
    small.change(JOINER, lambda row: row | {"userPrincipalName": "renamed@example.com", "mail": "renamed@example.com"})
    (made,) = accounts(service, JOINER)
    service.reset_counts()
    assert on_demand(JOINER)["result"] == "success"
    assert writes(service) == {"PATCH /Users": 1}
    (found,) = accounts(service, JOINER)
    assert (found["id"], found["userName"]) == (made["id"], "renamed@example.com")
    with open_ledger() as ledger:
        assert ledger.open_attempts("hr-to-scim") == []
