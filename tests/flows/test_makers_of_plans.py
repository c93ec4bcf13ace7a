"""Each promise about taking away, with each maker of plans: whoever makes a plan, the same guards judge it.

Two accounts are protected, by the job's list and because Provisor signs in with it. Two more leave in a job that lets
one removal through: both wait. A decision about the first lets the second one neither go nor be forgotten; approved, it
goes, and nobody else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from flows.cycle.lease import holding
from flows.cycle.systems import now, open_ledger
from tasks.ledger import LogAction, LogStatus, StagedState
from tasks.load import FIRST_BATCH
from tests.data.expected import State, desired_state
from tests.flows.first_cycles import FirstCycle
from tests.flows.workplace import Command, Row, Workplace, account, accounts, refused, without_reports
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = "hr-to-scim"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
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
    "initial": cycle("initial"),
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


# --- a day on which everything happens ------------------------------------------------------------------------------

GRADE = f"{ENTERPRISE}:division"
BOSS = "n-1"


@dataclass(slots=True)
class Day:
    """One person leaves, others cannot be judged, and one reports to somebody who is still to come."""

    scene: Scene
    due: str
    """The last day is over; besides, a mapping fails for this person."""
    unclear: str
    """The last day is no date."""
    broken: str
    """Gets another title, and a mapping fails."""
    well: str
    """Gets another title, and a manager who cannot get an account yet."""

    def everybody(self) -> tuple[str, ...]:
        return (BOSS, self.due, self.unclear, self.broken, self.well)

    def begin(self, *, boss_grade: str) -> None:
        """The export of this day."""
        changes = {
            self.due: {"lastDay": "2020-01-31", "grade": "never"},
            self.unclear: {"lastDay": "soon"},
            self.broken: {"jobTitle": "Astronaut", "grade": "never"},
            self.well: {"jobTitle": "Astronaut", "manager": BOSS},
        }
        rows = [row | changes.get(row["employeeId"], {}) for row in self.scene.everybody]
        name = {"userPrincipalName": "boss@example.org", "mail": "boss@example.org", "displayName": "The Boss"}
        boss = next(row for row in self.scene.everybody if row["employeeId"] == self.well)
        rows.append(boss | name | {"employeeId": BOSS, "manager": "", "grade": boss_grade})
        self.scene.everybody, self.scene.leaving = rows, []


@pytest.fixture
def day(small: Workplace, service: ScimService, provisor: Command, first_cycle: FirstCycle) -> Day:
    """After one good cycle."""
    small.document["users"]["attributes"][GRADE] = 'FormatDateTime([grade], , "yyyy-MM-dd", "yyyy")'
    small.save(leavers={"date": "[lastDay]"})
    small.write_rows({**row, "lastDay": "", "grade": "2020-01-01"} for row in small.rows())
    people = without_reports(small, desired_state(small.export))[:4]
    first_cycle(small)
    return Day(Scene(small, service, provisor, small.rows(), []), *people)


def each_on_demand(day: Day) -> None:
    """All of them by name."""
    day.scene.small.write_rows(day.scene.everybody)
    for anchor in day.everybody():
        day.scene.provisor("on-demand", day.scene.small.job, anchor, "--json")


@pytest.mark.parametrize("maker", ["initial", "incremental", "reconcile", "on demand", "apply"])
def test_no_maker_of_plans_waits_for_one_row_or_takes_doubt_for_no(day: Day, maker: str) -> None:
    """Moments act, taking away waits for nothing, doubt takes nothing away, one bad row stops nobody, managers heal."""
    scene, service = day.scene, day.scene.service
    title = account(service, day.broken)["title"]
    day.begin(boss_grade="never")

    def make() -> None:
        each_on_demand(day) if maker == "on demand" else MAKERS[maker](scene)

    make()
    assert account(service, day.due)["active"] is False
    assert account(service, day.unclear)["active"] is True
    assert (account(service, day.broken)["active"], account(service, day.broken)["title"]) == (True, title)
    assert account(service, day.well)["title"] == "Astronaut"
    assert accounts(service, BOSS) == []
    with open_ledger() as ledger:
        for anchor in (BOSS, day.unclear, day.broken):
            [line, *_] = [line for chunk in ledger.log_chunks(JOB, identity=anchor) for line in chunk]
            assert (line.status, bool(line.message)) == (LogStatus.SKIPPED, True)

    scene.turn = 1
    scene.everybody = [row | {"grade": "2020-01-01"} if row["employeeId"] == BOSS else row for row in scene.everybody]
    make()
    assert account(service, day.well)[ENTERPRISE]["manager"]["value"] == account(service, BOSS)["id"]


@pytest.mark.parametrize("maker", ["initial", "reconcile", "apply"])
def test_no_maker_of_plans_takes_absence_from_a_torn_file(day: Day, maker: str) -> None:
    """Of the two who are missing at its end, one is torn in the middle: both keep their accounts."""
    service, people = day.scene.service, day.scene.small.people
    everybody = {user["id"] for user in service.users.values() if user["active"]}
    write_rows = day.scene.small.write_rows

    def write_torn(rows: list[Row]) -> None:
        write_rows(rows)
        text = people.read_bytes()
        people.write_bytes(text[: text.rindex(b"\n", 0, text.rindex(b"\n", 0, len(text) - 1)) + 12])

    day.scene.leaving = [day.scene.everybody[-3]["employeeId"]]
    day.scene.small.save(limits={"removals": FREE, "source": FREE, "members": FREE, "memberships": FREE})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workplace, "write_rows", lambda _, rows: write_torn(rows))
        MAKERS[maker](day.scene)
    assert {user["id"] for user in service.users.values() if user["active"]} == everybody


@pytest.mark.parametrize("words", [("run",), ("run", "--cycle", "reconcile"), ("undo",), ("apply",)])
def test_no_maker_of_plans_runs_beside_another_run(scene: Scene, words: tuple[str, ...]) -> None:
    """One run of a job at a time, whatever it is: a sentence, status 4, and nothing is sent."""
    scene.small.write_rows(scene.without_leavers(scene.everybody))
    plan = scene.small.folder / "plan.json"
    assert scene.provisor("plan", scene.small.job, "--out", plan).status == 3
    what = {"undo": (scene.small.job, "1"), "apply": (plan,)}.get(words[0], (scene.small.job,))
    with open_ledger() as ledger, holding(ledger, JOB, clock=now):
        said = refused(scene.provisor, scene.service, words[0], *what, *words[1:])
    assert "is being run by" in said


@pytest.mark.parametrize("maker", ["run", "on-demand", "undo"])
def test_no_maker_of_plans_takes_strangers_of_another_system_for_linked(day: Day, maker: str) -> None:
    """The target leads elsewhere, where accounts have the same ids and are other people's: nothing is sent."""
    small, strangers = day.scene.small, []
    for number, user in enumerate(map(day.scene.service.users.__getitem__, day.scene.service.users)):
        names = {"userName": f"stranger{number}@example.net", "externalId": f"s{number}"}
        strangers.append({"id": user["id"], "active": True, **names})
    small.write_rows(row | {"jobTitle": "Astronaut"} for row in small.rows() if row["employeeId"] != day.due)
    words = {"run": (), "on-demand": (day.due,), "undo": ("1",)}[maker]
    with ScimService() as other:
        other.seed(users=strangers)
        small.document["target"]["url"] = other.url
        small.save()
        said = refused(day.scene.provisor, other, maker, small.job, *words)
        assert "seems to be another system" in " ".join(said.split())


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
