"""Whole cycles: what the target holds afterwards, read back by another client, and what it took.

Other makes of service live through three days in ``tests/quirks/test_real_services.py``. The import that counts every
request has 4,000 people, with ``PROVISOR_LONG=1`` 20,000.
"""

import os
from collections import Counter
from math import ceil
from pathlib import Path

import pytest

from tests.data.expected import MANAGER, State, desired_state
from tests.data.people import generate
from tests.flows.reading_back import differences, found_in, read_back
from tests.flows.workplace import EXPORT, Command, Workplace
from tests.servers.scim_service import ScimProcess, ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

NEXT = EXPORT / "next"
MANY = 20_000 if os.environ.get("PROVISOR_LONG") else 4_000
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def writes(requests: Counter[str]) -> dict[str, int]:
    """The requests that change something."""
    return {name: count for name, count in requests.items() if name.startswith(WRITES)}


def test_two_days_and_back(workplace: Workplace, service: ScimService, provisor: Command) -> None:
    """Joiners, movers, leavers: after every cycle the target holds what the export says, and the counts say how."""
    first = desired_state(EXPORT)
    report = workplace.cycle()
    assert report.exit_status == 0
    assert differences(read_back(service.url), first) == []
    assert report.counts["created"] == len(first.created) + len(first.groups)
    assert report.counts["members_added"] == len(first.edges)
    assert report.counts["updated"] == in_circles(first)
    assert {note.anchor for note in report.notes if "manager" in note.reason} == first.unresolved

    service.reset_counts()
    again = workplace.cycle()
    assert again.exit_status == 0
    assert writes(service.requests) == {}
    assert not any(again.counts.values())
    assert again.unchanged == len(first.users) + len(first.groups)

    second = desired_state(NEXT, first)
    report = workplace.use(NEXT).cycle()
    assert report.exit_status == 0
    assert differences(read_back(service.url), second) == []
    new_groups, renamed_groups = 1, 1
    assert {name: count for name, count in report.counts.items() if count} == {
        "created": len(second.created) + new_groups,
        "updated": len(second.updated) + renamed_groups,
        "disabled": len(second.disabled),
        "members_added": len(second.edges_added),
        "members_removed": len(second.edges_removed),
    }

    back = desired_state(EXPORT, second)
    back.edges = {edge for edge in back.edges if edge[1] in back.in_scope}  # who leaves the scope leaves the groups
    report = workplace.use(EXPORT).cycle()
    assert report.counts["enabled"] == len(back.enabled) == len(second.disabled)
    assert report.counts["disabled"] == len(back.disabled)
    found = read_back(service.url)
    [ended] = found.groups.keys() - back.groups.keys()  # a group that the source no longer has is kept, and emptied
    assert {ended} == second.groups.keys() - first.groups.keys()
    emptied = {edge for edge in second.edges if edge[0] == ended}
    assert (report.exit_status, report.counts["staged"]) == (3, len(emptied))  # of which somebody has to approve
    assert found.edges == back.edges | emptied
    assert provisor("approve", workplace.job).status == 0
    report = workplace.cycle()
    assert (report.exit_status, report.counts["members_removed"]) == (0, len(emptied))
    found = read_back(service.url)
    del found.groups[ended]
    assert differences(found, back) == []


def test_accounts_that_are_there_are_adopted_by_a_matching_attribute_only(
    small: Workplace, service: ScimService
) -> None:
    """Somebody else's accounts stay as they are; those that match are taken over and put right, and none is doubled."""
    wanted = desired_state(small.export)
    adopted = sorted(wanted.users)[:20]
    by_name = [str(wanted.users[anchor]["userName"]) for anchor in adopted[:10]]
    stranger = {"userName": "stranger@example.com", "displayName": "Not ours", "active": True}
    service.seed(
        users=[
            *({"userName": name.upper(), "active": True} for name in by_name),
            *({"userName": f"old-{anchor}", "externalId": anchor, "active": True} for anchor in adopted[10:]),
            stranger,
        ]
    )
    report = small.cycle()
    assert report.exit_status == 0
    assert service.requests["POST /Users"] == len(wanted.users) - len(adopted)
    found = read_back(service.url)
    assert found.strangers.pop("stranger@example.com") == stranger
    anchor_of = dict(zip(by_name, adopted, strict=False))
    for name, anchor in anchor_of.items():  # they are put right but for externalId, which is written on create only
        found.users[anchor] = found.strangers.pop(name) | {"externalId": anchor}
    found.edges = {(group, anchor_of.get(member, member)) for group, member in found.edges}
    for account in found.users.values():
        if MANAGER in account:
            account[MANAGER] = anchor_of.get(account[MANAGER], account[MANAGER])
    assert differences(found, wanted) == []

    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert writes(service.requests) == {}


def test_many_people_take_not_one_request_too_many(workplace: Workplace, tmp_path: Path) -> None:
    """An import costs a create for everybody, the pages of a listing, and the members in parcels; nothing per person
    besides, and a manager only where two people would each have to be there before the other. Again: no write, and
    not a look at the target but the pages of a listing that was asked for.
    """
    generate(people=MANY, groups=20).write(tmp_path / "export")
    wanted = desired_state(tmp_path / "export")
    page, parcel = 500, 100
    with ScimProcess(max_page_size=page, default_page_size=page) as service:
        workplace.document["target"]["url"] = service.url
        workplace.document["load"]["concurrency"] = 32
        workplace.use(tmp_path / "export").save()
        report = workplace.cycle()
        assert report.exit_status == 0
        sizes = Counter(group for group, _ in wanted.edges)
        asked_for_bulk = 1  # so many changes are worth the question
        looks = 2  # before and after the first addition of members, which is not believed unseen
        assert service.requests == {
            "GET /ResourceTypes": 1,
            "GET /Schemas": 1,
            "GET /ServiceProviderConfig": asked_for_bulk,
            "GET /Users": 1,
            "GET /Groups": 1 + looks,
            "POST /Users": len(wanted.users),
            "PATCH /Users": in_circles(wanted),
            "POST /Groups": len(wanted.groups),
            "PATCH /Groups": sum(ceil(size / parcel) for size in sizes.values()),
        }
        entries = list(service.export())
        users, groups = (
            [entry for entry in entries if entry["meta"]["resourceType"] == kind] for kind in ("User", "Group")
        )
        assert differences(found_in(users, groups), wanted) == []

        service.reset_counts()
        again = workplace.cycle()
        assert again.exit_status == 0
        assert service.requests == {"GET /ResourceTypes": 1, "GET /Schemas": 1}

        service.reset_counts()
        listed = workplace.cycle("reconcile")
        assert listed.exit_status == 0
        look_past_the_end = 1  # a listing proves that nothing comes after its last page
        assert service.requests == {
            "GET /ResourceTypes": 1,
            "GET /Schemas": 1,
            "GET /Users": ceil(len(wanted.users) / page) + look_past_the_end,
            "GET /Groups": ceil(len(wanted.groups) / page) + look_past_the_end,
        }


def in_circles(state: State) -> int:
    """How many managers have to be set afterwards: one in every circle of people who report to each other."""
    manager = {anchor: str(account[MANAGER]) for anchor, account in state.users.items() if MANAGER in account}
    circles: set[str] = set()
    for anchor in manager:
        path: list[str] = []
        while anchor in manager and anchor not in path:
            path.append(anchor)
            anchor = manager[anchor]
        if anchor in path:
            circles.add(min(path[path.index(anchor) :]))
    return len(circles)
