"""A create that is refused because the name is taken, and whose account that is."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from connectors.contract import Kind
from flows.cycle.systems import open_ledger
from tests.faults.company import JOB, Person, person, user_name
from tests.faults.conftest import Bench
from tests.faults.test_matrix import A_DAY, LONG
from tests.servers.scim_service import ScimService

NEW = person(40)
WITHOUT: dict[str, str] = {}
WITH_ANOTHER = {"externalId": "another system's"}
TAKEN = pytest.mark.parametrize(
    ("lost", "external"),
    [
        pytest.param(False, WITH_ANOTHER, id="answered, with another"),
        pytest.param(True, WITHOUT, id="lost, without"),
        *([pytest.param(False, WITHOUT, id="answered, without")] if LONG else []),
        *([pytest.param(True, WITH_ANOTHER, id="lost, with another")] if LONG else []),
    ],
)
"""Whether the refusal is heard, and whether the account has an id of another system."""


def give_a_name_to_others(service: ScimService, **more: Any) -> str:
    """An account with the name that somebody is to have, made by others; gives its id."""
    [[id], _] = service.seed(users=[{"userName": user_name(NEW), **more}])
    return id


def match_by(bench: Bench, rule: Mapping[str, str]) -> None:
    document = orjson.loads(bench.driver.job.read_bytes())
    document["users"]["matching"] = [rule]
    bench.driver.job.write_bytes(orjson.dumps(document))


@TAKEN
def test_adopted_where_matching_says_so(bench: Bench, lost: bool, external: dict[str, str]) -> None:
    """Matched by user name, the account is the person's whatever else it holds; nobody is created twice."""
    bench.company.people[NEW] = Person()
    bench.company.write(bench.folder)
    id = give_a_name_to_others(bench.service, **external)
    if lost:
        bench.service.set_fault("error", method="POST", times=1)
    bench.driver.cycle("incremental")
    bench.driver.now += A_DAY
    report = bench.driver.cycle().report
    assert report is not None
    assert report.state == "done", report.failures
    with open_ledger() as ledger:
        assert ledger.links(JOB, Kind.USER)["target_id"][NEW] == id
    assert bench.service.users[id]["externalId"] == NEW
    assert bench.driver.preview("reconcile").empty


@TAKEN
def test_left_alone_where_matching_does_not(bench: Bench, lost: bool, external: dict[str, str]) -> None:
    """Matched by anchor, an account of the same name is somebody else's: never linked, never touched, and said so."""
    match_by(bench, {"source": "[id]", "target": "externalId"})
    bench.driver.cycle()
    bench.company.people[NEW] = Person()
    bench.company.write(bench.folder)
    id = give_a_name_to_others(bench.service, **external)
    before = bench.service.users[id]
    if lost:
        bench.service.set_fault("error", method="POST", times=1)
    for choice in ("incremental", "reconcile"):
        report = bench.driver.cycle(choice).report
        assert report is not None
        assert [failure.anchor for failure in report.failures] == [NEW]
        bench.driver.now += A_DAY
    assert bench.service.users[id] == before
    with open_ledger() as ledger:
        assert NEW not in ledger.links(JOB, Kind.USER).index
        assert ledger.log(JOB, limit=None)["code"].iloc[0] == "Conflict" or ledger.escrows(JOB)
