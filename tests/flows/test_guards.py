"""What a bad extract must not do: nobody loses an account for it, and the joiners in the good part still come."""

import pytest

from connectors.contract import Action
from flows.cycle.systems import open_ledger
from tasks.ledger import LogAction
from tests.data.expected import State, desired_state
from tests.flows.first_cycles import FirstCycle
from tests.flows.reading_back import differences, read_back
from tests.flows.workplace import Row, Workplace, writes
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOINER = "900001"


@pytest.fixture
def before(small: Workplace, first_cycle: FirstCycle) -> State:
    """The target after one good cycle."""
    first_cycle(small)
    return desired_state(small.export)


def active(service: ScimService) -> set[str]:
    """Anchors of the accounts that are switched on."""
    return {str(user["externalId"]) for user in service.users.values() if user["active"]}


def with_joiner(rows: list[Row]) -> list[Row]:
    """The same with somebody new at the top, where the good part of a torn file is."""
    return [rows[0] | {"employeeId": JOINER, "userPrincipalName": "new.joiner@example.com", "manager": ""}, *rows]


def one(small: Workplace, before: State) -> str:
    """An anchor of somebody who has an account and whom nobody reports to."""
    managers = {row["manager"] for row in small.rows()}
    return max(anchor for anchor in before.users if anchor not in managers)


def test_half_a_file_disables_nobody(small: Workplace, service: ScimService, before: State) -> None:
    """Removals above the limit wait for approval, each one in the ledger and in the log; the joiner comes, exit 3."""
    rows = with_joiner(small.rows())
    small.write_rows(rows[: len(rows) // 2])
    report = small.cycle()
    assert report.exit_status == 3
    assert active(service) == set(before.users) | {JOINER}
    missing = before.users.keys() - {row["employeeId"] for row in small.rows()}
    with open_ledger() as ledger:
        staged = {entry.anchor for entry in ledger.staged("hr-to-scim") if entry.action is Action.DISABLE}
        logged = set(ledger.log("hr-to-scim", cycle=2, action=LogAction.STAGED_DISABLE)["anchor"])
    assert staged == logged == missing
    assert report.counts["created"] == 1
    assert any("fewer users than the 240 it had" in sentence for sentence in report.guards)

    small.write_rows([row for row in rows if row["employeeId"] != JOINER])
    report = small.cycle()  # the whole file again: but for the joiner, who is missing now, nothing is left to do
    assert report.exit_status == 0
    assert active(service) == set(before.users)
    with open_ledger() as ledger:
        assert ledger.staged("hr-to-scim") == []


def test_a_file_torn_in_the_middle_of_a_line_disables_nobody(
    small: Workplace, service: ScimService, before: State
) -> None:
    """However few people are missing: a file that does not end properly proves nobody's absence."""
    small.write_rows(with_joiner(small.rows()))
    text = small.people.read_bytes()
    small.people.write_bytes(text[: text.rindex(b"\n", 0, text.rindex(b"\n", 0, len(text) - 1)) + 12])
    report = small.cycle()
    assert report.exit_status != 0
    assert active(service) == set(before.users) | {JOINER}


def test_a_file_with_nobody_stops_the_cycle(small: Workplace, service: ScimService, before: State) -> None:
    """An empty extract is a fault, not an organisation without people: nothing is written, exit 4."""
    small.people.write_bytes(small.people.read_bytes().splitlines(keepends=True)[0])
    report = small.cycle()
    assert report.exit_status == 4
    assert "no users at all" in report.error
    assert not writes(service)


def test_rows_that_are_there_twice_are_left_alone(small: Workplace, service: ScimService, before: State) -> None:
    """Two rows with one key: nobody knows which is right, so the account stays as it is, and everybody else goes on."""
    rows = with_joiner(small.rows())
    anchor = one(small, before)
    twice = next(row for row in rows if row["employeeId"] == anchor)
    small.write_rows([*rows, twice | {"jobTitle": "Somebody else", "status": "terminated"}])
    report = small.cycle()
    assert report.exit_status != 0
    assert active(service) == set(before.users) | {JOINER}
    assert anchor in {held.anchor for held in report.held}
    found = read_back(service.url)
    assert found.users[anchor] == before.users[anchor]


def test_leavers_within_the_limit_are_disabled(small: Workplace, service: ScimService, before: State) -> None:
    """The guards hold back what is too much, not what is normal."""
    anchor = one(small, before)
    small.change(anchor, lambda row: None)
    after = desired_state(small.export, before)
    after.edges = {edge for edge in after.edges if edge[1] != anchor}  # who leaves altogether leaves the groups too
    assert small.cycle().exit_status == 0
    assert active(service) == set(before.users) - {anchor}
    found = read_back(service.url)
    found.edges = {edge for edge in found.edges if edge[1] != anchor}
    assert differences(found, after) == []


def test_limit_is_as_the_job_says(small: Workplace, service: ScimService, before: State) -> None:
    """Exactly as many removals as allowed pass; with one more all of them wait, also when fewer are left by then."""
    small.document["limits"]["removals"] = {"count": 2, "fraction": 1.0, "minimum": 0}
    managers = {row["manager"] for row in small.rows()}
    leavers = [anchor for anchor in sorted(before.users) if anchor not in managers][:5]
    small.save()
    everybody = small.rows()
    small.write_rows(row for row in everybody if row["employeeId"] not in leavers[:2])
    assert small.cycle().exit_status == 0
    assert active(service) == set(before.users) - set(leavers[:2])
    small.write_rows(row for row in everybody if row["employeeId"] not in leavers)
    assert small.cycle().exit_status == 3
    small.write_rows(row for row in everybody if row["employeeId"] not in leavers[:4])
    assert small.cycle().exit_status == 3
    assert active(service) == set(before.users) - set(leavers[:2])


def test_a_protected_account_is_never_disabled(small: Workplace, service: ScimService, before: State) -> None:
    """Whoever the job protects stays, whether gone from the source or terminated there, and the run says so."""
    managers = {row["manager"] for row in small.rows()}
    gone, terminated = [anchor for anchor in sorted(before.users) if anchor not in managers][:2]
    small.save(protect=[str(before.users[gone]["userName"]).upper(), terminated])
    small.change(gone, lambda row: None)
    small.change(terminated, lambda row: row | {"status": "terminated"})
    report = small.cycle()
    assert report.exit_status == 1
    assert active(service) == set(before.users)
    assert {gone, terminated} <= {held.anchor for held in report.held}


def test_two_candidates_mean_no_write(small: Workplace, service: ScimService) -> None:
    """Two accounts that match one person: neither is touched and no third is made; everybody else goes on; exit 1."""
    wanted = desired_state(small.export)
    anchor = one(small, wanted)
    doubles = [{"userName": f"{name}@example.com", "externalId": anchor, "active": True} for name in ("one", "two")]
    ids, _ = service.seed(users=doubles)
    were = [service.users[id_] for id_ in ids]
    report = small.cycle()
    assert report.exit_status == 1
    assert [service.users[id_] for id_ in ids] == were
    assert [held.code for held in report.held if held.anchor == anchor] == ["DuplicateTargetEntries"]
    assert report.counts["held"] == 1
    assert service.requests["POST /Users"] == len(wanted.users) - 1
