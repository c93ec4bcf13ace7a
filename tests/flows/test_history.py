"""What cycles wanted, kept and compared: ``provisor diff`` and ``provisor history``, against a real service."""

from pathlib import Path

import pytest

from tests.flows.first_cycles import FirstCycle
from tests.flows.workplace import Command, Workplace, staff
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")


@pytest.fixture
def settled(small: Workplace, first_cycle: FirstCycle) -> Workplace:
    """A workplace after its first cycle."""
    first_cycle(small)
    return small


def states(workplace: Workplace) -> list[int]:
    """Numbers of the cycles whose desired state is kept."""
    desired = workplace.home / "snapshots" / "hr-to-scim" / "desired"
    return sorted(int(place.name) for place in desired.iterdir() if place.is_dir())


def test_diff_says_who_joined_left_and_changed(settled: Workplace, provisor: Command) -> None:
    """A joiner, a leaver and a mover between two cycles are told with old and new values, as JSON and as text."""
    mover, leaver, model = staff(settled)[:3]
    settled.change(mover["employeeId"], lambda row: row | {"jobTitle": "Chief of Staff"})
    settled.change(leaver["employeeId"], lambda row: None)
    joiner = model | {"employeeId": "99001", "userPrincipalName": "joiner@example.com", "mail": "joiner@example.com"}
    settled.write_rows([*settled.rows(), joiner])
    assert settled.cycle().exit_status in (0, 1)

    said = provisor("diff", "hr-to-scim", "1", "2", "--json")
    assert said.status == 0, said.err
    users = said.document["users"]
    assert [one["anchor"] for one in users["joined"]] == ["99001"]
    assert [one["anchor"] for one in users["left"]] == [leaver["employeeId"]]
    titles = {one["anchor"]: one["attributes"] for one in users["changed"]}
    assert {"name": "title", "old": mover["jobTitle"], "new": "Chief of Staff"} in titles[mover["employeeId"]]
    removed = {edge["member"] for edge in said.document["memberships"]["removed"]}
    assert removed <= {leaver["employeeId"]}
    text = provisor("diff", settled.job, "1", "2").out
    assert "Chief of Staff" in text
    assert "1 users joined" in text

    backwards = provisor("diff", "hr-to-scim", "2", "1", "--json").document
    assert [one["anchor"] for one in backwards["users"]["left"]] == ["99001"]


def test_a_cycle_that_wants_the_same_keeps_nothing_and_refers_to_the_earlier_one(
    settled: Workplace, provisor: Command
) -> None:
    """Cycles without changes cost no files; they can be compared all the same, also when everybody is evaluated."""
    assert settled.cycle().exit_status == 0
    assert settled.cycle("reconcile").exit_status == 0
    settled.write_rows(reversed(settled.rows()))
    assert settled.cycle("initial").exit_status == 0
    assert states(settled) == [1]
    said = provisor("diff", "hr-to-scim", "2", "4", "--json")
    assert said.document["to"]["state_of_cycle"] == 1
    assert not any(count for counts in said.document["counts"].values() for count in counts.values())
    assert "Nothing was wanted otherwise" in provisor("diff", "hr-to-scim", "2", "4").out


def test_a_drift_that_is_put_right_changes_nothing_that_was_wanted(settled: Workplace, service: ScimService) -> None:
    """There is something to do, but the desired state is the one of before: nothing is kept again."""
    settled.save(drift="correct")
    account = next(iter(service.users))
    service.users[account] = service.users[account] | {"title": "Emperor"}
    assert settled.cycle("reconcile").counts["updated"] == 1
    assert states(settled) == [1]


def test_old_states_go_and_a_missing_one_is_a_sentence(settled: Workplace, provisor: Command) -> None:
    """No more are kept than the job says; whoever asks for one that is gone is told which there are."""
    settled.save(history={"snapshots": 2})
    anchor = staff(settled)[0]["employeeId"]
    for title in ("One", "Two", "Three"):
        settled.change(anchor, lambda row, title=title: row | {"jobTitle": title})
        assert settled.cycle().exit_status == 0
    assert states(settled) == [3, 4]
    said = provisor("diff", "hr-to-scim", "1", "4")
    assert said.status == 2
    assert "cycle 1 of hr-to-scim" in said.err
    assert "3, 4" in said.err
    settled.save(history={"snapshots": 0})
    settled.change(anchor, lambda row: row | {"jobTitle": "Four"})
    assert settled.cycle().exit_status == 0
    assert not (settled.home / "snapshots" / "hr-to-scim" / "desired").exists()
    assert provisor("diff", "hr-to-scim", "3", "4").status == 2


def test_redacted_values_show_that_they_changed_and_are_kept_nowhere(small: Workplace, provisor: Command) -> None:
    """The files hold neither the old nor the new value; the difference says so without one."""
    small.document["users"]["attributes"]["nickName"] = {"expression": "[jobTitle]", "redact": True}
    del small.document["users"]["attributes"]["title"]
    assert small.save().cycle().exit_status == 0
    person = staff(small)[0]
    small.change(person["employeeId"], lambda row: row | {"jobTitle": "Secretkeeper"})
    assert small.cycle().exit_status == 0
    said = provisor("diff", "hr-to-scim", "1", "2", "--json")
    (changed,) = said.document["users"]["changed"]
    assert changed["attributes"] == [{"name": "nickName", "redacted": True}]
    assert "(redacted) changed" in provisor("diff", "hr-to-scim", "1", "2").out
    life = provisor("history", "hr-to-scim", person["employeeId"], "--json").out
    assert "Secretkeeper" not in life + said.out
    import pandas as pd

    for path in small.home.rglob("desired/*/*.parquet"):
        assert "Secretkeeper" not in pd.read_parquet(path).to_csv()


def test_nothing_is_kept_by_plan(settled: Workplace, provisor: Command) -> None:
    """Looking changes no file of the history."""
    desired = settled.home / "snapshots" / "hr-to-scim" / "desired"
    before = {path: path.stat().st_mtime_ns for path in desired.rglob("*")}
    settled.change(staff(settled)[0]["employeeId"], lambda row: row | {"jobTitle": "Other"})
    assert provisor("plan", settled.job, "--json").status == 0
    assert {path: path.stat().st_mtime_ns for path in desired.rglob("*")} == before


def test_history_tells_one_person_from_the_first_day_to_the_last(
    settled: Workplace, service: ScimService, provisor: Command
) -> None:
    """What was wanted and what was done about it, failures too, the oldest first; by anchor, target id and name."""
    person = staff(settled)[0]
    anchor = person["employeeId"]
    settled.change(anchor, lambda row: row | {"jobTitle": "First"})
    service.set_fault("error", status=403, method="PATCH", times=1)
    assert settled.cycle().exit_status == 1
    assert settled.cycle().exit_status == 0
    settled.change(anchor, lambda row: None)
    assert settled.cycle().exit_status in (0, 1)
    said = provisor("history", "hr-to-scim", anchor, "--json")
    assert said.status == 0, said.err
    events = [(event["cycle"], event["what"], event["status"]) for event in said.document["events"]]
    users = [event for event in events if "members" not in event[1]]
    assert users == [
        (1, "known", None),
        (1, "create", "success"),
        (2, "changed", None),
        (2, "update", "failure"),
        (3, "update", "success"),
        (4, "left", None),
        (4, "disable", "success"),
    ]
    changed = said.document["events"][2]
    assert changed["attributes"] == [{"name": "title", "old": person["jobTitle"], "new": "First"}]
    account = next(one for one in map(service.users.__getitem__, service.users) if one.get("externalId") == anchor)
    for name in (account["id"], account["userName"].upper()):
        assert provisor("history", settled.job, name, "--json").document == said.document
    assert "wanted" in provisor("history", "hr-to-scim", anchor).out


def test_history_of_nobody_is_a_sentence(settled: Workplace, provisor: Command) -> None:
    """An identity that nobody has ends the command with status 2."""
    said = provisor("history", "hr-to-scim", "nobody@example.com")
    assert said.status == 2
    assert "knows nobody called nobody@example.com" in said.err


def test_a_history_that_cannot_be_written_fails_no_cycle(settled: Workplace, tmp_path: Path) -> None:
    """Everything is done by then; the accounts are as they should be."""
    import shutil

    desired = settled.home / "snapshots" / "hr-to-scim" / "desired"
    shutil.rmtree(desired)
    desired.write_text("in the way")
    settled.change(staff(settled)[0]["employeeId"], lambda row: row | {"jobTitle": "Other"})
    assert settled.cycle().exit_status == 0
