"""Cycles between two listings: what they ask, what they write, and what they notice."""

from collections import Counter
from collections.abc import Callable

import pandas as pd
import pytest

from tests.flows.first_cycles import FirstCycle
from tests.flows.workplace import Command, Row, Workplace, account, staff
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

ASKED_ALWAYS = {"GET /ResourceTypes": 1, "GET /Schemas": 1}


@pytest.fixture
def settled(small: Workplace, first_cycle: FirstCycle) -> Workplace:
    """A workplace after its first cycle; accounts are recognised by their user name alone."""
    small.document["users"]["matching"] = [{"source": "[userPrincipalName]", "target": "userName"}]
    first_cycle(small.save())
    return small


def asked(service: ScimService) -> Counter[str]:
    """What was sent besides what every cycle asks."""
    return service.requests - Counter(ASKED_ALWAYS)


def with_values(**values: str) -> Callable[[Row], Row]:
    return lambda row: row | values


def test_one_change_is_one_request(settled: Workplace, service: ScimService) -> None:
    """A mover costs a PATCH, a leaver a PATCH, a joiner a POST; nobody is looked up and nothing is listed, since the
    service itself says that it refuses a user name twice. Before somebody is disabled, the service is asked once which
    account Provisor signs in with, and, as the job protects a name, what the leaver's account is called today.
    """
    mover, leaver, model = staff(settled)[:3]
    settled.change(mover["employeeId"], with_values(jobTitle="Chief of Staff"))
    settled.change(leaver["employeeId"], with_values(status="terminated"))
    joiner = model | {"employeeId": "99001", "userPrincipalName": "joiner@example.com", "mail": "joiner@example.com"}
    settled.write_rows([*settled.rows(), joiner])
    report = settled.cycle()
    assert report.exit_status == 0, report.message
    assert report.kind == "incremental"
    assert asked(service) == {"GET /Me": 1, "GET /Users": 1, "PATCH /Users": 2, "POST /Users": 1}
    assert account(service, mover["employeeId"])["title"] == "Chief of Staff"
    assert account(service, leaver["employeeId"])["active"] is False

    service.reset_counts()
    assert settled.cycle("reconcile").exit_status == 0
    assert not [name for name in service.requests if name.startswith(("POST", "PATCH"))]


def test_joiners_are_looked_up_where_the_target_does_not_refuse_doubles(small: Workplace, service: ScimService) -> None:
    """The job also matches by externalId, of which two may be the same: somebody who got an account by hand since the
    last listing is found by that and adopted, not doubled.
    """
    assert small.cycle().exit_status == 0
    model = staff(small)[0]
    for number in ("99001", "99002"):
        row = model | {"employeeId": number, "userPrincipalName": f"u{number}@example.com", "mail": f"{number}@e.com"}
        small.write_rows([*small.rows(), row])
    service.seed(users=[{"userName": "by-hand@example.com", "externalId": "99001", "active": True}])
    service.reset_counts()
    report = small.cycle()
    assert report.exit_status == 0, report.message
    assert report.counts["created"] == 1
    assert asked(service)["POST /Users"] == 1
    assert account(service, "99001")["userName"] == "u99001@example.com"
    assert "1 unknown accounts found" in report.seen


def test_nobody_is_doubled_by_a_service_that_finds_nobody(small: Workplace, service: ScimService) -> None:
    """To every question about an externalId it answers that nobody has it, and it takes doubles: it is asked for an
    account that it has, and when it does not find that either, the target is listed.
    """
    assert small.cycle().exit_status == 0
    joiner = staff(small)[0] | {"employeeId": "99001", "userPrincipalName": "u1@example.com", "mail": "1@example.com"}
    small.write_rows([*small.rows(), joiner])
    service.seed(users=[{"userName": "by-hand@example.com", "externalId": "99001", "active": True}])
    service.quirks["filter_external_id"] = "silent_empty"
    report = small.cycle()
    assert report.exit_status == 0, report.message
    assert "asked for users by externalId, the service found nobody" in report.seen
    assert not report.counts.get("created")
    assert account(service, "99001")["userName"] == "u1@example.com"


def test_an_account_made_by_others_meanwhile_is_adopted_after_the_refusal(
    settled: Workplace, service: ScimService
) -> None:
    """The service refuses the second account; the next cycle looks the person up and takes the first one over."""
    model = staff(settled)[0]
    joiner = model | {"employeeId": "99001", "userPrincipalName": "joiner@example.com", "mail": "joiner@example.com"}
    settled.write_rows([*settled.rows(), joiner])
    service.seed(users=[{"userName": "JOINER@example.com", "active": True}])
    refused = settled.cycle()
    assert refused.exit_status == 1
    assert [failure.code for failure in refused.failures] == ["Conflict"]
    service.reset_counts()
    report = settled.cycle()
    assert report.exit_status == 0, report.message
    assert not report.counts.get("created")
    names = [user["userName"].lower() for user in map(service.users.__getitem__, service.users)]
    assert names.count("joiner@example.com") == 1


def test_what_failed_is_looked_at_first(settled: Workplace, service: ScimService) -> None:
    """The answer to a change was no answer: in the next cycle the account is read before it is changed, and after that
    it is as known as any other.
    """
    person = staff(settled)[0]
    settled.change(person["employeeId"], with_values(jobTitle="First"))
    service.set_fault("html", commit="before", method="PATCH")  # however often it is repeated
    assert settled.cycle().exit_status == 1
    service.clear_fault()
    service.reset_counts()
    report = settled.cycle()
    assert report.exit_status == 0, report.message
    assert asked(service) == {"GET /Users": 1, "PATCH /Users": 1}
    assert account(service, person["employeeId"])["title"] == "First"
    service.reset_counts()
    assert settled.cycle().exit_status == 0
    assert asked(service) == {}


def test_an_account_that_others_deleted_comes_back(settled: Workplace, service: ScimService) -> None:
    """The refusal of a change shows it; the next cycle creates the account again, once."""
    person = staff(settled)[0]
    del service.users[account(service, person["employeeId"])["id"]]
    settled.change(person["employeeId"], with_values(jobTitle="Gone"))
    assert settled.cycle().exit_status == 1
    service.reset_counts()
    report = settled.cycle()
    assert report.exit_status == 0, report.message
    assert asked(service)["POST /Users"] == 1
    assert account(service, person["employeeId"])["title"] == "Gone"


def test_drift_is_reported_and_put_right_only_where_the_job_says_so(settled: Workplace, service: ScimService) -> None:
    """What others changed shows at the next listing; a leaver whom others let in again is out again at once."""
    person, leaver = staff(settled)[:2]
    settled.change(leaver["employeeId"], with_values(status="terminated"))
    assert settled.cycle().exit_status == 0
    for anchor, change in ((person["employeeId"], {"title": "Emperor"}), (leaver["employeeId"], {"active": True})):
        found = account(service, anchor)
        service.users[found["id"]] = found | change
    stranger = service.seed(users=[{"userName": "stranger@example.com", "active": True}])
    assert stranger
    unaware = settled.cycle()
    assert unaware.drift is None
    assert not any(unaware.counts.values())

    report = settled.cycle("reconcile")
    assert report.drift is not None
    assert {(one.anchor, one.attributes, one.corrected) for one in report.drift.entries} == {
        (person["employeeId"], ("title",), False),
        (leaver["employeeId"], ("active",), True),
    }
    assert report.drift.unmanaged["user"] == 1
    assert account(service, person["employeeId"])["title"] == "Emperor"
    assert account(service, leaver["employeeId"])["active"] is False

    settled.save(drift="correct")
    assert settled.cycle("reconcile").counts["updated"] == 1
    assert account(service, person["employeeId"])["title"] == person["jobTitle"]


def test_a_changed_mapping_evaluates_everybody_and_a_changed_limit_nobody(
    settled: Workplace, service: ScimService, provisor: Command
) -> None:
    """Links survive: everybody's account is changed as soon as somebody has approved that, none is created."""
    settled.document["limits"]["removals"]["count"] = 7
    assert settled.save().cycle().kind == "incremental"
    settled.document["users"]["attributes"]["nickName"] = "[givenName]"
    service.reset_counts()
    report = settled.save().cycle()
    assert report.kind == "initial"
    assert report.exit_status == 3
    assert report.counts["staged"] == len(service.users)
    assert not [name for name in service.requests if not name.startswith("GET")]
    assert provisor("approve", settled.job).status == 0
    report = settled.cycle()
    assert report.exit_status == 0, report.message
    users = list(service.users.values())
    assert report.counts["updated"] == len(users) == sum(bool(user.get("nickName")) for user in users)
    assert not report.counts.get("created")
    assert settled.cycle().kind == "incremental"


def test_an_account_has_one_owner_among_jobs(settled: Workplace, service: ScimService) -> None:
    """A second job on the same target with the same people touches nobody's account, and says whose they are."""
    settled.save(name="second-job")
    report = settled.cycle()
    assert report.exit_status == 1
    assert not [name for name in service.requests if name.startswith(("POST", "PATCH", "DELETE"))]
    assert "belongs to the job hr-to-scim" in report.held[0].reason


def test_redacted_values_are_written_when_they_change_although_nobody_keeps_them(
    small: Workplace, service: ScimService
) -> None:
    """What the target holds of them is not remembered; the fingerprint of what was written tells."""
    small.document["users"]["attributes"]["nickName"] = {"expression": "[jobTitle]", "redact": True}
    assert small.save().cycle().exit_status == 0
    person = staff(small)[0]
    small.change(person["employeeId"], with_values(jobTitle="Secretkeeper"))
    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert asked(service) == {"PATCH /Users": 1}
    assert account(service, person["employeeId"])["nickName"] == "Secretkeeper"
    kept = {path: pd.read_parquet(path) for path in small.home.rglob("*.parquet")}
    assert kept
    told = [
        path for path, frame in kept.items() if "Secretkeeper" in frame.get("nickName", pd.Series(dtype="str")).array
    ]
    assert not told


def test_who_is_protected_by_the_name_of_today_stays(small: Workplace, service: ScimService) -> None:
    """The account was renamed in the app since it was last listed; what is known of it from then protects nobody."""
    people = [{**row, "manager": ""} for row in staff(small)[:6]]
    for name in ("groups.csv", "members.csv"):
        path = small.export / name
        path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    small.write_rows(people)
    assert small.save(protect=["break.glass@example.com"]).cycle().exit_status == 0
    renamed, leaver = people[0]["employeeId"], people[1]["employeeId"]
    made = account(service, renamed)
    service.users[made["id"]] = {**made, "userName": "Break.Glass@example.com"}
    small.write_rows(people[2:])
    report = small.cycle()
    assert report.kind == "incremental"
    assert [(one.anchor, "protected" in one.reason) for one in report.held] == [(renamed, True)]
    assert account(service, renamed)["active"] is True
    assert account(service, leaver)["active"] is False
