"""Taking a cycle back: the target is as it was before, or the undo is refused and nothing is written."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from connectors.contract import Kind
from flows.cycle.systems import now, open_ledger
from tasks.ledger import CycleKind, CycleState, LinkState, LogAction, LogStatus
from tests.data.expected import State, desired_state
from tests.flows.first_cycles import FirstCycle
from tests.flows.reading_back import Found, read_back
from tests.flows.workplace import (
    Command,
    Row,
    Workplace,
    account,
    kill_hanging,
    refused,
    staff,
    without_reports,
    writes,
)
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = "hr-to-scim"
JOINER = "999001"


@pytest.fixture
def before(small: Workplace, first_cycle: FirstCycle) -> State:
    """The target after one good cycle of a job whose guards let everything through."""
    free = {"count": None, "fraction": 1.0}
    small.document["limits"] = dict.fromkeys(("removals", "members", "attribute", "updates"), free)
    small.document["limits"]["budget"] = {"per_day": free, "per_week": free}
    small.save()
    first_cycle(small)
    return desired_state(small.export)


def a_busy_day(small: Workplace, before: State) -> tuple[list[str], list[str]]:
    """Movers with another title and manager, leavers, who leave their groups, and a joiner, who joins one."""
    people = without_reports(small, before)
    movers, leavers = people[:3], people[3:6]
    boss = people[7]

    def day(row: Row) -> Row:
        return {**row, "jobTitle": "Astronaut", "manager": boss} if row["employeeId"] in movers else row

    rows = [day(row) for row in small.rows() if row["employeeId"] not in leavers]
    joiner = {**rows[0], "employeeId": JOINER, "userPrincipalName": "new.one@example.com", "manager": boss}
    joiner |= {"mail": "new.one@example.com", "givenName": "New", "surname": "One", "employeeType": "employee"}
    small.write_rows([*rows, joiner])
    members = small.export / "members.csv"
    group = members.read_text(encoding="utf-8").splitlines()[1].split(",")[0]
    with members.open("a", encoding="utf-8") as file:
        file.write(f"{group},{JOINER}\n")
    return movers, leavers


def without(found: Found, *anchors: str) -> dict[str, Any]:
    """What a target holds, apart from some users."""
    for anchor in anchors:
        del found.users[anchor]
    return asdict(found)


def link_states() -> dict[str, str]:
    with open_ledger() as ledger:
        return ledger.links(JOB, Kind.USER)["state"].to_dict()


# --- taken back ------------------------------------------------------------------------------------------------------


def test_a_busy_day_is_taken_back(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """Updates, references, disables, members: all as it was; who was created is disabled; links and log say so."""
    target, links = read_back(service.url), link_states()
    movers, leavers = a_busy_day(small, before)
    report = small.cycle()
    assert report.exit_status == 0
    done = {name for name, count in report.counts.items() if count}
    assert done == {"created", "updated", "disabled", "members_added", "members_removed"}

    said = provisor("undo", small.job, "2")
    assert said.status == 0, said.out + said.err
    found = read_back(service.url)
    assert found.users[JOINER]["active"] is False
    assert without(found, JOINER) == asdict(target)
    assert link_states() == links | {JOINER: LinkState.DISABLED}
    with open_ledger() as ledger:
        last = ledger.last_cycle(JOB)
        assert last is not None
        assert (last.number, last.kind, last.state) == (3, CycleKind.UNDO, CycleState.DONE)
        assert last.watermark is None
        lines = ledger.log(JOB, cycle=3, limit=None)
        assert set(lines["reason"]) == {"undo of cycle 2"}
        assert set(lines.loc[lines["action"] == LogAction.ENABLE, "anchor"]) == set(leavers)
        assert set(lines.loc[lines["action"] == LogAction.UPDATE, "anchor"]) == set(movers)
        assert ledger.open_attempts(JOB) == []

    paused = "has been paused since"
    assert paused in said.out
    assert "cycle 2 was undone, and the next one would do it all again; put the cause right first" in said.out
    assert f"provisor resume {JOB}" in said.out
    assert paused in provisor("run", small.job).err
    assert provisor("resume", JOB).status == 0
    again = small.cycle()  # nothing was put right, so that it does it all again
    assert again.exit_status == 0
    assert again.counts["disabled"] == len(leavers)
    assert again.counts["updated"] == len(movers)
    assert again.counts["enabled"] == 1
    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert writes(service) == {}


def test_plan_only_shows_and_does_nothing(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """The same picture as a plan, and the same document; the job is not paused by looking."""
    movers, leavers = a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    service.reset_counts()
    said = provisor("undo", small.job, "2", "--plan-only")
    assert said.status == 0
    assert "cycle 2 of" in said.out
    assert '"Astronaut" → ' in said.out
    assert "▲ enable user" in said.out
    document = provisor("undo", small.job, "2", "--plan-only", "--json").document
    changes = {(change["action"], change["anchor"]) for change in document["changes"]}
    assert changes >= {("disable", JOINER), *(("enable", anchor) for anchor in leavers)}
    assert changes >= {("update", anchor) for anchor in movers}
    assert writes(service) == {}
    with open_ledger() as ledger:
        assert ledger.paused(JOB) is None
        assert len(ledger.cycles(JOB)) == 2


def test_created_accounts_are_deleted_if_asked(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """Then the target is what it was, and nobody is linked to an account that is gone.

    Also where the service does not show an account at first that was made a moment ago.
    """
    target = read_back(service.url)
    a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    with open_ledger() as ledger:
        made = ledger.links(JOB, Kind.USER).at[JOINER, "target_id"]
    service.set_fault("error", method="GET", path=f"^/Users/{made}", status=404, times=1)
    said = provisor("undo", small.job, "2", "--delete-created", "--no-pause", "--json")
    assert said.status == 0, said.err
    assert said.document["kind"] == "undo"
    assert asdict(read_back(service.url)) == asdict(target)
    assert JOINER not in link_states()
    with open_ledger() as ledger:
        assert ledger.paused(JOB) is None


def test_the_first_cycle_is_taken_back(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """Everything that was created goes again, groups and all; somebody has to approve that nobody is left."""
    assert provisor("undo", small.job, "1", "--delete-created").status == 3
    assert writes(service) == {}
    assert provisor("approve", JOB).status == 0
    said = provisor("undo", small.job, "1", "--delete-created")
    assert said.status == 0, said.out + said.err
    assert not service.users
    assert not service.groups
    with open_ledger() as ledger:
        assert all(ledger.links(JOB, kind).empty for kind in Kind)


def test_deleted_accounts_are_created_again_if_asked(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """From what the log kept of them, under new ids, each with its manager although he was deleted as well."""
    small.save(deprovision={"out_of_scope": "delete", "disabled": "delete", "deleted": "delete"})
    assert small.cycle().exit_status == 0
    boss = without_reports(small, before)[0]
    small.change(without_reports(small, before)[1], lambda row: {**row, "manager": boss})
    assert small.cycle().exit_status == 0
    target = read_back(service.url)
    gone = [boss, without_reports(small, before)[0]]
    old = {anchor: account(service, anchor)["id"] for anchor in gone}
    small.write_rows(row for row in small.rows() if row["employeeId"] not in gone)
    report = small.cycle()
    assert report.counts["deleted"] == 2

    service.reset_counts()
    said = provisor("undo", small.job, str(report.cycle), "--no-pause")
    assert said.status == 1
    assert "It was deleted; --recreate creates it again, under another id." in said.out
    assert writes(service) == {}
    said = provisor("undo", small.job, str(report.cycle), "--recreate")
    assert said.status == 0, said.out + said.err
    assert asdict(read_back(service.url)) == asdict(target)
    assert all(account(service, anchor)["id"] != old[anchor] for anchor in gone)
    assert set(gone) <= set(link_states())


def test_an_undo_can_be_undone(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """It is a cycle like any other; the one taken back twice is done."""
    a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    target = read_back(service.url)
    assert provisor("undo", small.job, "2").status == 0
    assert provisor("undo", small.job, "3").status == 0
    assert asdict(read_back(service.url)) == asdict(target)


def test_what_is_as_before_already_is_left_alone(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """Somebody has put a part of it right by hand: that stands, and the rest is taken back."""
    target = read_back(service.url)
    movers, leavers = a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    for anchor in leavers[:2]:
        id_ = account(service, anchor)["id"]
        service.users[id_] = {**service.users[id_], "active": True}
    service.reset_counts()
    assert provisor("undo", small.job, "2").status == 0
    assert without(read_back(service.url), JOINER) == asdict(target)
    assert writes(service)["PATCH /Users"] == len(movers) + 1 + 1


def test_guards_judge_an_undo(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """It takes away from people like any cycle: what is too much waits, is approved, and goes with the next try."""
    small.document["limits"]["removals"] = {"count": 3, "fraction": 1.0}
    small.save()
    service.reset_counts()
    said = provisor("undo", small.job, "1")
    assert said.status == 3, said.out + said.err
    assert {line for line in writes(service) if "Users" in line} == set()
    assert provisor("approve", JOB, "--only", "user").status == 0
    said = provisor("undo", small.job, "1")
    assert said.status == 3, said.out + said.err  # everybody's memberships would end, and wait by themselves
    assert {user["active"] for user in service.users.values()} == {False}
    assert any(group.get("members") for group in service.groups.values())
    assert provisor("approve", JOB).status == 0
    said = provisor("undo", small.job, "1")
    assert said.status == 1, said.out + said.err  # groups cannot be disabled, and are left
    assert "--delete-created deletes it" in said.out
    assert not any(group.get("members") for group in service.groups.values())


def test_an_undo_that_dies_leaves_the_job_paused(
    small: Workplace, service: ScimService, before: State, provisor: Command, prefect_api: str
) -> None:
    """No cycle comes between; another undo of the same cycle does what was left to do."""
    target = read_back(service.url)
    small.write_rows({**row, "jobTitle": "Astronaut"} for row in small.rows())
    small.document["load"] = {"batch_size": 20, "concurrency": 2}
    small.save()
    assert small.cycle().exit_status == 0
    service.set_fault("hang", method="PATCH", path="^/Users", after=45, commit="after", seconds=600)
    process = small.start("undo", str(small.job), "2", PREFECT_API_URL=prefect_api)
    kill_hanging(process, service)
    assert "has been paused" in provisor("run", small.job).err
    said = small.call("undo", str(small.job), "2", PREFECT_API_URL=prefect_api)
    assert said.status == 0, said.out + said.err
    assert asdict(read_back(service.url)) == asdict(target)


# --- refused ---------------------------------------------------------------------------------------------------------


def test_refused_where_somebody_changed_it_since(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """Another value, an account that is gone: the entries are named, and nothing is written; the rest goes if asked."""
    movers, leavers = a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    mover, leaver, joiner = (account(service, anchor)["id"] for anchor in (movers[0], leavers[0], JOINER))
    service.users[mover] = {**service.users[mover], "title": "Cosmonaut"}
    del service.users[leaver]
    service.users[joiner] = {**service.users[joiner], "displayName": "Newer One"}
    said = refused(provisor, service, "undo", small.job, "2")
    assert "3 entries stand against it" in said
    assert f"({movers[0]}): title changed in the target since." in said
    assert f"({leavers[0]}): it is no longer in the target." in said
    assert f"({JOINER}): displayName changed in the target since." in said
    assert "Cosmonaut" not in said
    assert "3 entries stand against it" in refused(provisor, service, "undo", small.job, "2", "--plan-only")
    with open_ledger() as ledger:
        assert ledger.paused(JOB) is None

    said_of_rest = provisor("undo", small.job, "2", "--leave-alone")
    assert said_of_rest.status == 1
    assert service.users[mover]["title"] == "Cosmonaut"
    assert service.users[joiner]["active"] is True
    assert all(account(service, anchor)["active"] for anchor in leavers[1:])


def test_refused_where_the_log_has_no_value(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """A redacted value is nowhere but in the target, and the old one is no longer there."""
    title = small.document["users"]["attributes"]["title"]
    small.document["users"]["attributes"]["title"] = {**title, "redact": True}
    small.save()
    assert small.cycle().exit_status == 0
    movers, _ = a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    said = refused(provisor, service, "undo", small.job, "3")
    assert said.count("the log has no value of title, because the job redacts it.") == len(movers)
    assert provisor("undo", small.job, "3", "--leave-alone").status == 1
    assert {account(service, anchor)["title"] for anchor in movers} == {"Astronaut"}


def test_deleted_accounts_log_no_redacted_value(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """What was deleted is in the log, but for what the job redacts: such an account is not created again."""
    title = small.document["users"]["attributes"]["title"]
    small.document["users"]["attributes"]["title"] = {**title, "redact": True}
    small.save(deprovision={"out_of_scope": "delete", "disabled": "delete", "deleted": "delete"})
    assert small.cycle().exit_status == 0
    [gone] = without_reports(small, before)[:1]
    held = account(service, gone)
    small.change(gone, lambda row: None)
    report = small.cycle()
    assert report.counts["deleted"] == 1
    with open_ledger() as ledger:
        line = ledger.log(JOB, cycle=report.cycle, action=LogAction.DELETE, status=LogStatus.SUCCESS).iloc[0]
    logged = {one["name"]: one["old"] for one in line["modified"]}
    assert logged["userName"] == held["userName"]
    assert logged["title"] == "[Redact]"
    assert held["title"] not in logged.values()
    assert "the log has no value of title" in refused(
        provisor, service, "undo", small.job, str(report.cycle), "--recreate"
    )


def test_refused_where_the_job_no_longer_maps_it(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """What an attribute means is known from its mapping; without it nothing is written."""
    a_busy_day(small, before)
    assert small.cycle().exit_status == 0
    del small.document["users"]["attributes"]["title"]
    small.save()
    assert "the job no longer maps title" in refused(provisor, service, "undo", small.job, "2")


def test_refused_where_there_is_nothing(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """A cycle that is not there, one that did nothing, one that died."""
    assert small.cycle().exit_status == 0
    assert "has no cycle 9" in refused(provisor, service, "undo", small.job, "9")
    assert "there is nothing to undo" in refused(provisor, service, "undo", small.job, "2")
    with open_ledger() as ledger:
        for _ in range(2):
            ledger.begin_cycle(JOB, CycleKind.INCREMENTAL, fingerprint="f", now=now())
    assert "has not come to an end (crashed)" in refused(provisor, service, "undo", small.job, "5", "--plan-only")


def test_an_undo_switches_off_by_itself_and_only_what_is_linked(
    small: Workplace, service: ScimService, provisor: Command
) -> None:
    """No other value can be refused in its place; and an account that is nobody's, or another job's, stays as it is."""
    rows = [{**row, "manager": ""} for row in staff(small)[:6]]
    for name in ("groups.csv", "members.csv"):
        path = small.export / name
        path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    small.write_rows(rows)
    assert small.cycle().exit_status == 0
    small.write_rows(rows[1:])
    assert small.cycle().exit_status == 0
    small.write_rows([{**rows[0], "jobTitle": "Astronaut"}, *rows[1:]])
    assert small.cycle().exit_status == 0
    said = provisor("undo", small.job, "3", "--plan-only", "--json")
    changes = {one["action"]: set(one["after"]) for one in said.document["changes"]}
    assert changes == {"update": {"title"}, "disable": {"active"}}

    assert provisor("restart", JOB, "--scope", "links", "--yes").status == 0
    why = "is not linked to it any more, and only linked accounts are changed."
    assert why in refused(provisor, service, "undo", small.job, "3")
    owned = account(service, rows[0]["employeeId"])["id"]
    other = json.loads(small.job.read_text(encoding="utf-8")) | {"name": "other"}
    second = small.folder / "other.yaml"
    second.write_text(json.dumps(other), encoding="utf-8")
    assert provisor("run", second).status == 0
    assert f"the account {owned} now belongs to the job other." in refused(provisor, service, "undo", small.job, "3")
