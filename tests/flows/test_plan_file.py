"""A plan as a file: what stands in it, that exactly it is carried out, and everything it is refused for."""

import re
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from flows.cycle import plan_file
from flows.cycle.plan_file import PlanRefusedError, differences, read_plan_file
from flows.cycle.preview import Decision
from flows.cycle.sight import Sight
from flows.cycle.systems import now, open_ledger
from tasks.ledger import CycleState, StagedState
from tests.data.expected import State, desired_state
from tests.flows.first_cycles import FirstCycle
from tests.flows.reading_back import differences as differing
from tests.flows.reading_back import read_back
from tests.flows.workplace import Command, Row, Workplace, account, at, kill_hanging, refused, without_reports, writes
from tests.servers.scim_service import ScimService
from tests.tasks.plan.worlds import NOW as NOON
from tests.tasks.plan.worlds import World, make_job, settle

pytestmark = pytest.mark.usefixtures("plain_runs")

GOLDEN = Path(__file__).with_name("plan_file") / "small.json"
TITLE = "title"
JOB = "hr-to-scim"


@pytest.fixture
def before(small: Workplace, first_cycle: FirstCycle) -> State:
    """The target after one good cycle."""
    first_cycle(small)
    return desired_state(small.export)


@pytest.fixture
def plan(small: Workplace) -> Path:
    return small.folder / "plan.json"


def retitled(small: Workplace, anchors: list[str], title: str = "Astronaut") -> None:
    small.write_rows({**row, "jobTitle": title} if row["employeeId"] in anchors else row for row in small.rows())


def some_changes(small: Workplace, before: State) -> tuple[list[str], str, Row]:
    """Three new titles, one leaver, one joiner: the next plan."""
    *movers, leaver = without_reports(small, before)[:4]
    retitled(small, movers)
    small.change(leaver, lambda row: None)
    rows = small.rows()
    joiner = {**rows[0], "employeeId": "999001", "userPrincipalName": "new.one@example.com", "manager": ""}
    joiner |= {"mail": "new.one@example.com", "givenName": "New", "surname": "One", "employeeType": "employee"}
    small.write_rows([*rows, joiner])
    return movers, leaver, joiner


# --- what stands in it -----------------------------------------------------------------------------------------------


def test_golden(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path, golden: Callable[..., None]
) -> None:
    """A small plan, line by line: the header, what is done, what must hold for it."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    text = plan.read_text(encoding="utf-8").replace(service.url, "http://127.0.0.1:8080/v2")
    text = re.sub(r'"(plan|configuration|digest|checksum|seal)": "[0-9a-f]{16,}"', r'"\1": "…"', text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "2026-01-31T08:00:00+00:00", text)
    text = re.sub(r'"id":"[0-9a-f-]{36}"', '"id":"…"', text)
    text = re.sub(r"\(\d+ requests\)", "(3 requests)", text)
    golden(GOLDEN, text)


def test_only_its_owner_reads_it(small: Workplace, provisor: Command, plan: Path) -> None:
    """The plan is full of people's data, and the key opens its digests: both are private, and the key's folder."""
    assert provisor("plan", small.job, "--out", plan).status == 0
    [key] = (small.home / "plans").iterdir()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (plan, key, key.parent)]
    assert modes == [0o600, 0o600, 0o700]


def test_what_is_written_is_read_again(
    small: Workplace, before: State, provisor: Command, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same changes come out of JSON and out of Parquet."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    from_json = read_plan_file(plan)
    assert from_json.header["changes_in"] is None
    assert len(from_json.changes) == 6
    monkeypatch.setattr(plan_file, "MOST_IN_JSON", 2)
    assert provisor("plan", small.job, "--out", plan).status == 0
    from_parquet = read_plan_file(plan)
    assert from_parquet.header["changes_in"]["rows"] == 6
    assert orjson.loads(plan.read_bytes())["changes"] == []
    assert stat.S_IMODE(plan.with_suffix(".parquet").stat().st_mode) == 0o600
    assert differences(from_json.changes, from_parquet.changes) == []
    assert from_json.changes.to_pylist() == from_parquet.changes.to_pylist()


def test_redacted_values_are_nowhere(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """Neither the file nor the state folder has one; two people with the same value cannot be told to have it."""
    title = small.document["users"]["attributes"][TITLE]
    small.document["users"]["attributes"][TITLE] = {**title, "redact": True}
    small.save()
    movers = without_reports(small, before)[:3]
    secret = "Zymurgist-4711"
    retitled(small, movers, secret)
    assert provisor("plan", small.job, "--out", plan).status == 0
    document = orjson.loads(plan.read_bytes())
    shown = [change["after"][TITLE] for change in document["changes"] if change["anchor"] in movers]
    assert all(set(value) == {"hmac"} for value in shown)
    assert len({value["hmac"] for value in shown}) == len(movers)
    assert provisor("apply", plan).status == 0
    assert {account(service, anchor)[TITLE] for anchor in movers} == {secret}
    for path in (plan, *(file for file in small.home.rglob("*") if file.is_file() and "prefect" not in file.parts)):
        assert secret.encode() not in path.read_bytes(), path


def test_another_redacted_value_is_another_plan(small: Workplace, before: State, provisor: Command, plan: Path) -> None:
    """That a value is hidden does not mean that anything goes."""
    title = small.document["users"]["attributes"][TITLE]
    small.document["users"]["attributes"][TITLE] = {**title, "redact": True}
    small.save()
    [mover] = without_reports(small, before)[:1]
    retitled(small, [mover], "One")
    assert provisor("plan", small.job, "--out", plan).status == 0
    retitled(small, [mover], "Two")
    said = provisor("apply", plan)
    assert said.status == 4
    assert "other values from the source (title)" in said.out + said.err


def test_drawn_values_count_by_their_presence(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """Nobody can say beforehand what RandomString gives: the file does not pretend to, and the plan is carried out."""
    small.document["users"]["attributes"]["nickName"] = {"expression": "RandomString(12,2,0,2,2)", "apply": "on_create"}
    small.save()
    _, _, joiner = some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    changes = orjson.loads(plan.read_bytes())["changes"]
    [made] = [change for change in changes if change["action"] == "create"]
    assert made["after"]["nickName"] == {"drawn": True}
    assert provisor("apply", plan).status == 0
    assert len(account(service, joiner["employeeId"])["nickName"]) == 12


# --- carried out -----------------------------------------------------------------------------------------------------


def test_exactly_the_plan_is_carried_out(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """The requests are the plan's, one for one; the cycle says which plan it was; afterwards nothing is left to do."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    document = orjson.loads(plan.read_bytes())
    assert document["counts"] == {"create": 1, "update": 3, "disable": 1, "remove members": 1}
    service.reset_counts()
    said = provisor("apply", plan, "--json")
    assert said.status == 0, said.err
    counts = {name: count for name, count in said.document["counts"].items() if count}
    assert counts == {"created": 1, "updated": 3, "disabled": 1, "members_removed": 1}
    assert writes(service) == {"POST /Users": 1, "PATCH /Users": 4, "PATCH /Groups": 1}
    sent = {logged.path.rpartition("/")[2] for logged in service.log if logged.method == "PATCH"}
    assert sent == {change["id"] for change in document["changes"] if change["id"]}
    wanted = desired_state(small.export, before)
    wanted.edges = {edge for edge in wanted.edges if edge[1] in wanted.in_scope}  # who leaves the scope leaves groups
    assert differing(read_back(service.url), wanted) == []
    with open_ledger() as ledger:
        last = ledger.last_cycle(JOB)
        assert last is not None
        assert last.initiator.endswith(f"by plan {document['plan']}")
    assert not list((small.home / "plans").iterdir())
    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert writes(service) == {}


def test_the_first_cycle_may_be_a_plan(
    small: Workplace, service: ScimService, provisor: Command, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but what was reviewed has to happen to a target, from the first request on; here by way of Parquet."""
    monkeypatch.setattr(plan_file, "MOST_IN_JSON", 100)
    assert provisor("plan", small.job, "--out", plan).status == 0
    assert provisor("apply", plan).status == 0
    assert differing(read_back(service.url), desired_state(small.export)) == []


def test_what_is_staged_stays_staged(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """A plan file is no approval: what a guard holds waits; and an approval since then makes another plan of it."""
    small.document["limits"]["removals"] = {"count": 3, "fraction": 1.0}
    small.save()
    leavers = without_reports(small, before)[:4]
    retitled(small, without_reports(small, before)[4:6])
    small.write_rows([row for row in small.rows() if row["employeeId"] not in leavers])
    assert provisor("plan", small.job, "--out", plan).status == 3
    document = orjson.loads(plan.read_bytes())
    staged = [change for change in document["staged"] if change["kind"] == "user"]  # their memberships go with them
    assert {change["anchor"] for change in staged} == set(leavers)
    assert all(change["guards"] == ["removals"] for change in staged)
    assert document["guards"][0]["guard"] == "removals"
    service.reset_counts()
    assert provisor("apply", plan).status == 3
    assert writes(service) == {"PATCH /Users": 2}
    assert provisor("plan", small.job, "--out", plan).status == 3
    assert provisor("approve", JOB).status == 0
    service.reset_counts()
    said = provisor("apply", plan)
    assert said.status == 4
    assert "the plan has disable (active), held back; now it would be disable (active)." in said.out + said.err
    assert "what Provisor remembers or may do changed" in said.out + said.err
    assert writes(service) == {}


def test_an_approval_that_has_run_out_does_not_live_on_in_a_plan(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """The plan is worked out for the moment it was made, but what people allowed until then is over."""
    small.document["limits"]["removals"] = {"count": 3, "fraction": 1.0}
    small.save()
    leavers = without_reports(small, before)[:4]
    small.write_rows([row for row in small.rows() if row["employeeId"] not in leavers])
    assert small.cycle().exit_status == 3
    assert provisor("approve", JOB, "--until", "2100-01-31").status == 0
    assert provisor("plan", small.job, "--out", plan).status == 0
    with open_ledger() as ledger:
        approved = ledger.staged(JOB, state=StagedState.APPROVED)
        ledger.put_staged(JOB, [replace(one, until=now() + timedelta(minutes=30)) for one in approved])
    service.reset_counts()
    with at(read_plan_file(plan).made_at + timedelta(hours=1)):
        assert provisor("apply", plan).status == 4
    assert writes(service) == {}


# --- refused ---------------------------------------------------------------------------------------------------------


def test_expired(small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path) -> None:
    """A plan that nobody carried out in its time is refused, and its key goes."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan, "--expires", "2h").status == 0
    with at(read_plan_file(plan).made_at + timedelta(hours=2)):
        assert "has expired on" in refused(provisor, service, "apply", plan)
    assert not list((small.home / "plans").iterdir())
    assert "key" in refused(provisor, service, "apply", plan)


def test_a_wrong_length_is_the_persons_mistake(small: Workplace, provisor: Command, plan: Path) -> None:
    """Nothing is read for a plan that could never be applied."""
    said = provisor("plan", small.job, "--out", plan, "--expires", "soon")
    assert said.status == 2
    assert "no length of time" in said.err
    assert not plan.exists()


def test_edited(
    small: Workplace,
    service: ScimService,
    before: State,
    provisor: Command,
    plan: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One byte of another value is enough, in JSON and in Parquet; so is a file that makes its checksum fit again."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    content = plan.read_bytes()
    plan.write_bytes(content.replace(b"Astronaut", b"Astronaus", 1))
    assert "its checksum does not fit" in refused(provisor, service, "apply", plan)
    document = orjson.loads(content)
    document["expires_at"] = "2200-01-31T00:00:00+00:00"
    document["checksum"] = plan_file._checksum(document)
    plan.write_bytes(orjson.dumps(document))
    assert "its checksum does not fit" in refused(provisor, service, "apply", plan)
    plan.write_bytes(content[: len(content) // 2])
    assert "is no plan, or not a whole one" in refused(provisor, service, "apply", plan)
    monkeypatch.setattr(plan_file, "MOST_IN_JSON", 2)
    assert provisor("plan", small.job, "--out", plan).status == 0
    beside = plan.with_suffix(".parquet")
    content = beside.read_bytes()
    beside.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert "its checksum does not fit" in refused(provisor, service, "apply", plan)
    beside.unlink()
    assert "cannot be read" in refused(provisor, service, "apply", plan)


def test_white_space_is_no_edit(small: Workplace, before: State, provisor: Command, plan: Path) -> None:
    """An editor that formats the file anew changes nothing."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    plan.write_bytes(orjson.dumps(orjson.loads(plan.read_bytes()), option=orjson.OPT_INDENT_2))
    assert provisor("apply", plan).status == 0


@pytest.mark.parametrize("content", [b"[]", b'{"job": "x"}', b"7"])
def test_no_plan_at_all(service: ScimService, small: Workplace, provisor: Command, plan: Path, content: bytes) -> None:
    """Any other JSON is told what makes a plan."""
    plan.write_bytes(content)
    assert "is no plan" in refused(provisor, service, "apply", plan)
    assert "cannot be read" in refused(provisor, service, "apply", plan.with_name("nowhere.json"))


def test_twice(small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path) -> None:
    """A plan is carried out once, whatever there would be to do again."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    key = next((small.home / "plans").iterdir())
    kept = key.read_bytes()
    assert provisor("apply", plan).status == 0
    assert "has been carried out already, by cycle 2" in refused(provisor, service, "apply", plan)
    key.write_bytes(kept)  # the ledger knows, whatever lies in the folder
    assert "has been carried out already, by cycle 2" in refused(provisor, service, "apply", plan)


def test_another_job_or_configuration(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """A plan is of one job and one configuration."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    other = small.folder / "other.yaml"
    other.write_bytes(orjson.dumps({**small.document, "name": "other"}))
    assert "is of the job hr-to-scim, not of other" in refused(provisor, service, "apply", plan, "--job", other)
    small.document["users"]["attributes"]["nickName"] = "[givenName]"
    small.save()
    assert "another configuration" in refused(provisor, service, "apply", plan)


def test_the_target_has_moved(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """Changed, deleted or created by others: the entry is named, and nothing at all is written."""
    movers, leaver, joiner = some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    mover = account(service, movers[0])["id"]
    kept = service.users[mover]

    service.users[mover] = {**kept, "title": "Somebody else's"}
    said = refused(provisor, service, "apply", plan)
    assert "since it was made, the target changed" in said
    assert (
        f"({movers[0]}): the plan has update (title); now it would be the same with other values in the target" in said
    )
    assert "Somebody else's" not in said
    assert "1 entries differ" in said
    service.users[mover] = kept

    gone = account(service, leaver)
    groups = {id_: dict(group) for id_, group in service.groups.items()}
    del service.users[gone["id"]]
    assert f"({leaver}): the plan has disable (active); now it would be nothing" in refused(
        provisor, service, "apply", plan
    )
    service.users[gone["id"]] = gone
    for id_, group in groups.items():  # memberships go with an account
        service.groups[id_] = group

    [taken] = service.seed(users=[{"userName": joiner["userPrincipalName"], "active": True}])[0]
    said = refused(provisor, service, "apply", plan)
    assert f"({joiner['employeeId']}): the plan has create; now it would be update" in said
    del service.users[taken]
    assert provisor("apply", plan).status == 0  # all is as it was: what was refused may be carried out


def test_the_source_has_moved(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """Another change of the plan's, one more, one less; a change that makes no difference to it does not matter."""
    movers, _, _ = some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    kept = small.rows()
    retitled(small, movers[:1], "Cosmonaut")
    said = refused(provisor, service, "apply", plan)
    assert "since it was made, the source changed" in said
    assert "other values from the source (title)" in said
    small.write_rows(kept)
    retitled(small, without_reports(small, before)[10:35])
    said = refused(provisor, service, "apply", plan)
    assert "25 entries differ" in said
    assert said.count("the plan has nothing") == 20
    assert "… and 5 more" in said
    small.write_rows(kept)
    assert provisor("apply", plan).status == 0


@pytest.mark.parametrize(
    ("row", "hours", "refused_for"),
    [
        ({"lastDay": "2026-03-15"}, 4.9, None),
        ({"lastDay": "2026-03-15"}, 5, "1 person of the plan has a first or last day that has come since"),
        ({"lastDay": None}, 32 * 24, "is older than 31 days, and test acts on first and last days"),
    ],
)
def test_a_date_of_somebody_in_the_plan_has_come_since(
    row: Row, hours: float, refused_for: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned before the last hour, applied after it: nobody gets an account who has left meanwhile."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    made = World(make_job(leavers={"date": "[lastDay]", "at": "17:00"}), now=NOON)
    # The last hour of somebody of whom the plan says nothing has no bearing on it.
    made.users["bob"] = {"mail": "bob@example.com", "lastDay": "2026-03-15T13:00:00"}
    settle(made)
    made.users["ann"] = {"mail": "ann@example.com", **row}
    target = made.target()
    decision = Decision(made.checked(), [], sight=Sight(target, "listed", listing=target), source=made.source(None))
    written = plan_file.write_plan_file(tmp_path / "p.json", decision, made.job, job_file=tmp_path / "job", now=NOON)
    assert [change["anchor"] for change in written.changes.to_pylist()] == ["ann"]
    [secret] = (tmp_path / "state" / "plans").iterdir()
    key = plan_file.Key(bytes.fromhex(orjson.loads(secret.read_bytes())["key"]))
    moment = NOON + timedelta(hours=hours)
    if refused_for is None:
        plan_file.refuse_moved(written, decision, made.job, key, now=moment)
        return
    with pytest.raises(PlanRefusedError, match=refused_for):
        plan_file.refuse_moved(written, decision, made.job, key, now=moment)


def test_another_state_folder(
    small: Workplace,
    service: ScimService,
    before: State,
    provisor: Command,
    plan: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its key a plan says nothing about redacted values: it is carried out where it was made."""
    some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    monkeypatch.setenv("PROVISOR_HOME", str(small.folder / "elsewhere"))
    assert "is not in the state folder" in refused(provisor, service, "apply", plan)


def test_a_refusal_ends_the_run_as_stopped(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path
) -> None:
    """The cycle is there with its reason, and does not count as a fault of the systems."""
    movers, _, _ = some_changes(small, before)
    assert provisor("plan", small.job, "--out", plan).status == 0
    retitled(small, movers, "Cosmonaut")
    for _ in range(2):
        refused(provisor, service, "apply", plan)
    with open_ledger() as ledger:
        last = ledger.last_cycle(JOB)
        assert last is not None
        assert (last.state, last.watermark) == (CycleState.STOPPED, None)
        assert "is not what would be done now" in last.message
        assert ledger.quarantine(JOB) is None
    assert small.cycle().exit_status == 0


def test_killed_in_the_middle(
    small: Workplace, service: ScimService, before: State, provisor: Command, plan: Path, prefect_api: str
) -> None:
    """What the plan had begun, the next run ends; the plan itself is used up."""
    movers = without_reports(small, before)[:30]
    retitled(small, movers)
    small.document["load"] = {"batch_size": 10, "concurrency": 2}
    small.save()
    assert provisor("plan", small.job, "--out", plan).status == 0
    service.set_fault("hang", method="PATCH", path="^/Users", after=12, commit="after", seconds=600)
    process = small.start("apply", str(plan), PREFECT_API_URL=prefect_api)
    kill_hanging(process, service)
    assert "has been carried out already, by cycle 2" in refused(provisor, service, "apply", plan)
    assert small.cycle().exit_status == 0
    assert {account(service, anchor)[TITLE] for anchor in movers} == {"Astronaut"}
    with open_ledger() as ledger:
        assert ledger.open_attempts(JOB) == []
    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert writes(service) == {}


def test_a_refusal_is_an_error_of_ours() -> None:
    """Chosen by recovery: it neither stops the job for good nor is it tried again."""
    from connectors.errors import FatalError, ProvisorError, RetryableError

    assert issubclass(PlanRefusedError, ProvisorError)
    assert not issubclass(PlanRefusedError, FatalError | RetryableError)
