"""Killing the process in the middle of a load, and running again: no duplicate, and nobody lost.

Two moments in the short form, two more with ``PROVISOR_LONG=1``; ``tests/faults/test_kill.py`` kills at random ones.
"""

import os

import pytest

from connectors.contract import Kind
from flows.cycle.systems import open_ledger
from tests.data.expected import desired_state
from tests.flows.reading_back import differences, read_back
from tests.flows.workplace import Workplace, kill_hanging, writes
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

LONG = bool(os.environ.get("PROVISOR_LONG"))


@pytest.mark.parametrize(
    ("request_line", "after", "commit"),
    [
        ("POST /Users", 70, "after"),
        ("PATCH /Groups", 2, "after"),
        *([("POST /Users", 151, "before"), ("POST /Groups", 3, "after")] if LONG else []),
    ],
    ids=lambda value: str(value).replace("/", ""),
)
def test_kill_in_the_middle_of_a_load(
    small: Workplace, service: ScimService, prefect_api: str, request_line: str, after: int, commit: str
) -> None:
    """Requests that took effect and whose answers nobody read are found again, whatever was under way."""
    wanted = desired_state(small.export)
    small.document["load"] = {"batch_size": 40, "concurrency": 2}
    small.save()
    method, path = request_line.split()
    service.set_fault("hang", method=method, path=f"^{path}", after=after, commit=commit, seconds=600)
    process = small.start("run", str(small.job), PREFECT_API_URL=prefect_api)
    kill_hanging(process, service)
    there = len(service.users)
    with open_ledger() as ledger:
        unanswered = ledger.open_attempts("hr-to-scim")
        assert unanswered, "the kill came too late to be in the middle of anything"
    service.reset_counts()

    report = small.cycle()
    assert report.exit_status == 0, report.message
    assert differences(read_back(service.url), wanted) == []
    assert service.requests["POST /Users"] == len(wanted.users) - there
    names = [user["userName"].lower() for user in service.users.values()]
    assert len(set(names)) == len(names) == len(wanted.users)
    with open_ledger() as ledger:
        assert ledger.open_attempts("hr-to-scim") == []
        crashed, finished = reversed(ledger.cycles("hr-to-scim"))
        assert (crashed.state, finished.state) == ("crashed", "done")
        lines = ledger.log("hr-to-scim", limit=None)
        # Everybody has exactly one line about an account that was made: by the dead run, by reading back, or again.
        made = lines[(lines["action"] == "create") & (lines["status"] == "success") & (lines["kind"] == "user")]
        adopted = wanted.users.keys() - set(made["anchor"])
        assert not made["anchor"].duplicated().any()
        assert not adopted, f"no line says how these came by their accounts: {sorted(adopted)[:5]}"
        links = ledger.links("hr-to-scim", Kind.USER)
        assert set(links.index) == set(wanted.users)
        settled = {attempt.change_id for attempt in unanswered}
        assert settled <= set(lines["change_id"])

    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert not writes(service)
