"""Each promise about taking away, with each maker of plans: whoever makes a plan, the same guards judge it.

Two accounts are protected, by the job's list and because Provisor signs in with it. Two more leave in a job that lets
one removal through: both wait. A decision about the first lets the second one neither go nor be forgotten; approved, it
goes, and nobody else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from flows.cycle.systems import open_ledger
from tasks.ledger import LogAction, StagedState
from tasks.load import FIRST_BATCH
from tests.data.expected import State, desired_state
from tests.flows.first_cycles import FirstCycle
from tests.flows.workplace import Command, Row, Workplace, account, without_reports
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = "hr-to-scim"
FREE: dict[str, Any] = {"count": None, "fraction": 1.0}


@dataclass(slots=True)
class Scene:
    """A workplace in which four people are to lose their accounts."""

    small: Workplace
    service: ScimService
    provisor: Command
    everybody: list[Row]
    leaving: list[str]
    turn: int = field(default=0)

    def without_leavers(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["employeeId"] not in self.leaving]

    def active(self) -> set[str]:
        """Who of the four has an account that is switched on."""
        return {anchor for anchor in self.leaving if account(self.service, anchor)["active"]}


def cycle(choice: str) -> Callable[[Scene], None]:
    """One cycle of the job."""

    def make(scene: Scene) -> None:
        scene.small.write_rows(scene.without_leavers(scene.everybody))
        scene.small.cycle(choice)

    return make


def apply(scene: Scene) -> None:
    """A plan file that somebody has looked at."""
    scene.small.write_rows(scene.without_leavers(scene.everybody))
    plan = scene.small.folder / f"plan-{scene.turn}.json"
    scene.provisor("plan", scene.small.job, "--out", plan)
    scene.provisor("apply", plan)


def on_demand(scene: Scene) -> None:
    """Each of the four by name, after a cycle has held them once."""
    if not scene.turn:
        cycle("auto")(scene)
    for anchor in scene.leaving:
        said = scene.provisor("on-demand", scene.small.job, anchor, "--json")
        if said.document["result"] == "staged":
            assert f"provisor approve {JOB} --only {anchor}" in said.out


def undo(scene: Scene) -> None:
    """The cycle that has created the four is taken back: what was created is disabled."""
    scene.provisor("undo", scene.small.job, "2")


MAKERS: dict[str, Callable[[Scene], None]] = {
    "incremental": cycle("incremental"),
    "reconcile": cycle("reconcile"),
    "on demand": on_demand,
    "apply": apply,
    "undo": undo,
}


@pytest.fixture
def scene(
    small: Workplace,
    service: ScimService,
    provisor: Command,
    first_cycle: FirstCycle,
    request: pytest.FixtureRequest,
) -> Scene:
    """After one good cycle; for an undo, after a second one that has created the four."""
    limits: dict[str, Any] = dict.fromkeys(("members", "attribute", "updates"), FREE)
    small.save(limits={**limits, "removals": {"count": 1, "fraction": 1.0}, "memberships": FREE})
    wanted: State = desired_state(small.export)
    scene = Scene(small, service, provisor, small.rows(), without_reports(small, wanted)[:4])
    if "maker" in request.fixturenames and request.getfixturevalue("maker") == "undo":
        small.write_rows(scene.without_leavers(scene.everybody))
        first_cycle(small)
        small.write_rows(scene.everybody)
        assert small.cycle().exit_status == 0
    else:
        first_cycle(small)
    listed, own = scene.leaving[:2]
    small.save(protect=[listed])
    service.application.me = str(account(service, own)["id"])
    return scene


def undecided() -> set[str]:
    with open_ledger() as ledger:
        return {one.anchor for one in ledger.staged(JOB, state=StagedState.STAGED)}


@pytest.mark.parametrize("maker", MAKERS)
def test_no_maker_of_plans_passes_by_a_guard(scene: Scene, maker: str) -> None:
    """Protected accounts stay, what is too much waits, what is undecided goes on waiting, and the approved one goes."""
    make = MAKERS[maker]
    everybody = set(scene.leaving)
    _, _, one, two = scene.leaving
    make(scene)
    assert scene.active() == everybody
    assert undecided() == {one, two}

    scene.turn = 1
    assert scene.provisor("reject", JOB, "--only", one).status == 0
    make(scene)
    assert scene.active() == everybody
    assert undecided() == {two}

    scene.turn = 2
    assert scene.provisor("approve", JOB, "--only", two, "--by", "Eve").status == 0
    make(scene)
    assert scene.active() == everybody - {two}
    assert undecided() == set()
    with open_ledger() as ledger:
        lines = [line for chunk in ledger.log_chunks(JOB, identity=two, action=LogAction.DISABLE) for line in chunk]
        assert "approved by Eve" in lines[0].reason
        assert ledger.removals(JOB, since=lines[0].time) == 0


def test_other_processes_carry_out_what_may_go_and_nothing_else(scene: Scene, prefect_api: str) -> None:
    """More than two hundred updates and one approved removal; protected ones stay, undecided and new ones wait."""
    cycle("auto")(scene)
    before = set(scene.leaving)
    _, _, one, two = scene.leaving
    assert undecided() == {one, two}
    assert scene.provisor("approve", JOB, "--only", two, "--by", "Eve").status == 0

    scene.everybody = [{**row, "jobTitle": "Retitled"} for row in scene.everybody]
    more = without_reports(scene.small, desired_state(scene.small.export))[:2]
    scene.leaving += more
    scene.small.write_rows(scene.without_leavers(scene.everybody))
    scene.small.save(load={"batch_size": 50, "workers": "dask"})
    said = scene.small.call("run", str(scene.small.job), PREFECT_API_URL=prefect_api)
    assert said.status == 3, said.out + said.err
    assert scene.active() == {*before, *more} - {two}
    assert undecided() == {one, *more}
    retitled = sum(user.get("title") == "Retitled" for user in scene.service.users.values())
    assert retitled > FIRST_BATCH  # fewer would not be worth the processes
