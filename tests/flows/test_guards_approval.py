"""What people decide about what guards hold, end to end: approve, reject, run out, lapse; and guards over time."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.contract import Action
from flows.cycle.systems import now, open_ledger
from tasks.ledger import LogAction, Staged, StagedState
from tests.data.expected import State, desired_state
from tests.flows.first_cycles import FirstCycle
from tests.flows.workplace import Command, Row, Workplace, without_reports
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = "hr-to-scim"


@pytest.fixture
def before(small: Workplace, first_cycle: FirstCycle) -> State:
    """The target after one good cycle of a job that lets three removals through."""
    small.document["limits"]["removals"] = {"count": 3, "fraction": 1.0}
    small.save()
    first_cycle(small)
    return desired_state(small.export)


def active(service: ScimService) -> set[str]:
    """Anchors of the accounts that are switched on."""
    return {str(user["externalId"]) for user in service.users.values() if user["active"]}


def without(small: Workplace, gone: list[str]) -> list[Row]:
    """Takes people out of the export; gives everybody who was in it."""
    rows = small.rows()
    small.write_rows(row for row in rows if row["employeeId"] not in gone)
    return rows


def waiting(state: StagedState | None = None) -> list[Staged]:
    with open_ledger() as ledger:
        return ledger.staged(JOB, state=state)


def logged(action: LogAction) -> list[str]:
    with open_ledger() as ledger:
        return sorted(ledger.log(JOB, action=action)["anchor"])


def test_four_wait_and_go_when_they_are_approved(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """One big legitimate change needs nothing but an approval; then nothing is left of it, and the log says who."""
    leavers = without_reports(small, before)[:4]
    without(small, leavers)
    assert small.cycle().exit_status == 3
    assert active(service) == set(before.users)
    assert {item.anchor for item in waiting()} == set(leavers)
    assert logged(LogAction.STAGED_DISABLE) == leavers

    [status] = provisor("status", JOB, "--json").document
    assert status["staged"] == 4
    [held] = status["approval"]["waiting"]
    assert held["counts"] == {"disable user": 4}
    assert "more than the 3 allowed" in held["guard"]
    with_seal = f"{JOB} --shown {status['approval']['shown']}"
    assert status["approval"]["commands"] == {
        "approve": f"provisor approve {with_seal}",
        "reject": f"provisor reject {with_seal}",
    }
    shown = " ".join(provisor("status", JOB).out.split())
    assert "4 × disable user" in shown
    assert f"provisor reject {JOB}" in shown

    said = provisor("approve", small.job, "--why", "the shop has closed", "--by", "eve")
    assert said.status == 0
    assert f"provisor run {small.job}" in said.out
    assert active(service) == set(before.users)  # nothing runs by itself
    assert logged(LogAction.APPROVE) == leavers

    report = small.cycle()
    assert report.exit_status == 0
    assert report.counts["disabled"] == 4
    assert active(service) == set(before.users) - set(leavers)
    assert waiting() == []
    with open_ledger() as ledger:
        reasons = set(ledger.log(JOB, action=LogAction.DISABLE)["reason"])
    assert all("approved by eve" in reason and reason.endswith("the shop has closed") for reason in reasons)
    assert small.cycle().exit_status == 0


def test_what_is_rejected_stays_until_the_plan_changes(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """Left alone with the reason, announced once, exit 0; back in the export, the decision lapses."""
    leavers = without_reports(small, before)[:4]
    everybody = without(small, leavers)
    assert small.cycle().exit_status == 3
    said = provisor("reject", JOB, "--why", "they are on parental leave", "--by", "eve", "--json")
    assert said.status == 0
    assert {item["anchor"] for item in said.document["decided"]} == set(leavers)
    report = small.cycle()
    assert report.exit_status == 0
    assert report.message == "Done: nothing to do. 4 left alone as decided."
    assert active(service) == set(before.users)
    held = {entry.anchor: entry.reason for entry in report.held}
    assert set(held) == set(leavers)
    assert all("rejected by eve (" in reason and "parental leave" in reason for reason in held.values())
    assert report.guards == []
    assert logged(LogAction.STAGED_DISABLE) == leavers  # once, by the first cycle
    [status] = provisor("status", JOB, "--json").document
    assert status["staged"] == 0
    assert [made["why"] for made in status["approval"]["decisions"]] == ["they are on parental leave"]

    small.write_rows(everybody)
    assert small.cycle().exit_status == 0
    assert waiting() == []
    assert logged(LogAction.LAPSE) == leavers


def test_a_rejection_runs_out(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """From then on the change waits again, since it first did."""
    leavers = without_reports(small, before)[:4]
    without(small, leavers)
    assert small.cycle().exit_status == 3
    assert provisor("reject", JOB, "--until", "2099-01-31").status == 0
    rejected = waiting(StagedState.REJECTED)
    assert {item.until.isoformat() for item in rejected if item.until} == {"2099-02-01T00:00:00+00:00"}
    assert small.cycle().exit_status == 0
    with open_ledger() as ledger:
        ledger.put_staged(JOB, [replace(item, until=now() - timedelta(seconds=1)) for item in rejected])
    assert small.cycle().exit_status == 3
    assert [(item.anchor, item.since, item.state) for item in waiting()] == [
        (item.anchor, item.since, StagedState.STAGED) for item in rejected
    ]
    assert active(service) == set(before.users)


def test_one_of_many_may_be_decided(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """By anchor, id in the target, or name; each may be decided differently, the others go on waiting."""
    one, two, three, *others = leavers = without_reports(small, before)[:6]
    without(small, leavers)
    assert small.cycle().exit_status == 3
    by_anchor = {item.anchor: item for item in waiting()}
    name, id_ = by_anchor[two].label, by_anchor[three].target_id
    assert provisor("approve", JOB, "--only", one, "--only", name).status == 0
    assert provisor("reject", JOB, "--only", id_).status == 0
    assert small.cycle().exit_status == 3  # the three that are left are as many as are allowed, and wait all the same
    assert active(service) == set(before.users) - {one, two}
    states = {item.anchor: item.state for item in waiting()}
    assert states == {three: StagedState.REJECTED, **dict.fromkeys(others, StagedState.STAGED)}
    assert provisor("approve", JOB).status == 0
    report = small.cycle()
    assert report.exit_status == 0
    assert report.message.endswith(", 3 disabled. 1 left alone as decided.")
    assert active(service) == set(before.users) - {one, two, *others}


def test_commands_that_decide_nothing(small: Workplace, before: State, provisor: Command) -> None:
    """A sentence and status 2, and nothing is written down."""
    said = provisor("approve", JOB)
    assert (said.status, said.out) == (2, "")
    assert said.err == f"Nothing of {JOB} waits for approval.\n"
    without(small, without_reports(small, before)[:4])
    assert small.cycle().exit_status == 3
    for words in (("--only", "nobody"), ("--until", "2001-01-31"), ("--until", "soon")):
        said = provisor("reject", JOB, *words)
        assert said.status == 2, words
        assert words[1] in said.err or "2001" in said.err
    assert {item.state for item in waiting()} == {StagedState.STAGED}
    assert provisor("approve", JOB, "--only", "disable").status == 0
    assert provisor("approve", JOB).status == 2  # everything is decided
    assert provisor("reject", JOB).status == 0  # an approval that has not run may be taken back
    assert {item.state for item in waiting()} == {StagedState.REJECTED}


def test_slow_bleeding_is_stopped(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """Three a cycle are allowed, and five a day; what was approved was no bleeding and does not count later."""
    small.document["limits"]["budget"] = {"per_day": {"count": 5, "fraction": 1.0}}
    small.save()
    leavers = without_reports(small, before)[:8]
    without(small, leavers[:3])
    assert small.cycle().exit_status == 0
    without(small, leavers[3:6])
    report = small.cycle()
    assert report.exit_status == 3
    assert ["within 24 hours" in sentence for sentence in report.guards] == [True]
    assert active(service) == set(before.users) - set(leavers[:3])
    assert provisor("approve", JOB).status == 0
    assert small.cycle().exit_status == 0
    without(small, leavers[6:8])
    assert small.cycle().exit_status == 0  # five of the day's five
    assert active(service) == set(before.users) - set(leavers)


def test_a_lost_column_clears_nothing(small: Workplace, service: ScimService, before: State, provisor: Command) -> None:
    """Titles that are gone for everybody wait; another change of the same people is carried out."""
    titled = {anchor for anchor, user in before.users.items() if user.get("title")}
    renamed = without_reports(small, before)[0]
    small.document["users"]["attributes"]["title"] = {"expression": "[jobTitle]", "clear": True}
    small.save()
    small.write_rows(
        row | {"jobTitle": "", "givenName": "Zed" if row["employeeId"] == renamed else row["givenName"]}
        for row in small.rows()
    )
    report = small.cycle()
    assert report.exit_status == 3
    assert any("title would be cleared" in sentence for sentence in report.guards)
    users = {str(user["externalId"]): user for user in service.users.values()}
    assert {anchor for anchor, user in users.items() if user.get("title")} == titled
    assert users[renamed]["name"]["givenName"] == "Zed"
    assert {item.attributes for item in waiting()} == {("title",)}
    assert provisor("approve", JOB, "--only", "update").status == 0
    assert small.cycle().exit_status == 0
    assert not [user for user in service.users.values() if user.get("title")]
    assert waiting() == []


def test_a_slipped_column_rewrites_nobody(small: Workplace, service: ScimService, before: State) -> None:
    """More than half of the accounts changed by a cycle whose job is as it was."""
    small.write_rows(row | {"surname": row["givenName"], "givenName": row["surname"]} for row in small.rows())
    report = small.cycle()
    assert report.exit_status == 3
    assert {item.action for item in waiting()} == {Action.UPDATE}
    assert not [request for request in service.requests if request.startswith(("PATCH /Users", "PUT /Users"))]


def test_approved_removals_wait_for_a_complete_source(
    small: Workplace, service: ScimService, before: State, provisor: Command
) -> None:
    """A torn file holds them; they stay approved, and the next whole file carries them out."""
    leavers = without_reports(small, before)[:4]
    without(small, leavers)
    assert small.cycle().exit_status == 3
    assert provisor("approve", JOB).status == 0
    text = small.people.read_bytes()
    small.people.write_bytes(text[: text.rindex(b"\n", 0, len(text) - 1) + 12])
    report = small.cycle()
    assert report.exit_status != 0
    assert active(service) == set(before.users)
    assert {item.anchor for item in waiting(StagedState.APPROVED)} == set(leavers)
    small.people.write_bytes(text)
    assert small.cycle().exit_status == 0
    assert active(service) == set(before.users) - set(leavers)
    assert waiting() == []


def test_plans_show_the_numbers_of_guards(small: Workplace, before: State, provisor: Command) -> None:
    """For people in words, for machines as numbers; every held change names its guards."""
    leavers = without_reports(small, before)[:4]
    without(small, leavers)
    said = provisor("plan", small.job, "--json")
    assert said.status == 3
    [guard] = said.document["guards"]
    assert {key: guard[key] for key in ("guard", "held", "counted", "limit")} == {
        "guard": "removals",
        "held": 4,
        "counted": 4,
        "limit": {"count": 3, "fraction": 1.0, "minimum": 20},
    }
    disables = [change for change in said.document["staged"] if change["action"] == "disable"]
    assert [change["guards"] for change in disables] == [["removals"]] * 4
    shown = " ".join(provisor("plan", small.job).out.split())
    assert "more than the 3 allowed" in shown
    assert waiting() == []  # a plan writes nothing


def test_decisions_of_another_folder_are_not_seen(tmp_path: Path, provisor: Command, monkeypatch) -> None:
    """A ledger without cycles has nothing to decide about."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path))
    assert provisor("approve", JOB).status == 2
