"""``provisor plan JOB --json`` beside a hand-written script that does the same work on the same data in the same run.

    python -m tests.benchmarks.plan [--people 1000000] [--existing none|all|both|linked] [--stages]
                                    [--groups 1000] [--data-limit BYTES] [--folder FOLDER] [--rounds 1]

Twelve mapped attributes, four of them expressions, matched by user name. The target is the tests' own SCIM service in a
process of its own: once with nobody in it (everybody is created), once with everybody in it, one in a hundred of them
changed by others; ``linked`` is the latter with everybody in the ledger, as after a first cycle. Both sides are
processes of their own (``tests.benchmarks.plan_by_hand``), and both must find the very same changes. Printed: seconds,
CPU seconds (user and system, all threads) and peak memory of both, and the ratios; read the ratios, a busy machine
slows both. ``--stages`` adds what each part of ours takes, ``--groups`` so many groups with two and a half memberships
a person, and managers: that has no counterpart by hand, so only ours is measured.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson

from tests.servers.scim_service import ScimProcess

JOB = """
name: benchmark
source:
  connector: csv
  users: {path: people.csv, key: employeeId, enabled: {column: status, values: [active, leave]}}
target:
  connector: scim
  url: "${env:SCIM_URL}"
  auth: {bearer: "${env:SCIM_TOKEN}"}
  page_size: 500
users:
  matching:
    - {source: "[userPrincipalName]", target: userName}
  attributes:
    userName: "[userPrincipalName]"
    externalId: "[employeeId]"
    active: Not([IsSoftDeleted])
    displayName: Coalesce([displayName], Join(" ", [givenName], [surname]))
    name.givenName: "[givenName]"
    name.familyName: "[surname]"
    emails[type eq "work"].value: ToLower([mail])
    title: "[jobTitle]"
    addresses[type eq "work"].locality: "[city]"
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber: "[employeeId]"
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:organization: "[company]"
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department: Replace([department], "&", , , "and", , )
limits:
  removals: {count: null, fraction: 1.0}
  updates: {count: null, fraction: 1.0}
  attribute: {count: null, fraction: 1.0}
  members: {count: null, fraction: 1.0}
"""
GROUPS = """
groups:
  matching:
    - {source: "[name]", target: displayName}
  attributes: {displayName: "[name]", externalId: "[id]"}
"""
GROUP_FILES = """
  groups: {path: groups.csv, key: id}
  members: {path: members.csv, group: group, member: member}
"""
MANAGER = """
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager: {reference: "[manager]"}
"""
TOKEN = "a-token"
SEEDED_AT_ONCE = 20_000


class Cost(NamedTuple):
    """What one process took."""

    wall_s: float
    cpu_s: float
    """User and system time of all its threads."""
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.wall_s:7.1f} s wall {self.cpu_s:7.1f} s CPU {self.peak_mb:7,.0f} MB"


def run(command: list[str], *, out: Path | None, env: dict[str, str], data_limit: int | None = None) -> Cost:
    """Runs a command to its end. Raises: RuntimeError when it fails."""

    def limit() -> None:
        if data_limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (data_limit, data_limit))

    began = time.perf_counter()
    with (out or Path(os.devnull)).open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, env={**os.environ, **env}, preexec_fn=limit)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, run in a process that ends with it.

    Memory of this process would count as that of the processes it starts: the system counts from the fork on.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


# The two sides agree


def count_same_changes(ours: Path, theirs: Path) -> int:
    """How many changes both plans have. Raises: AssertionError when one has a change that the other has not."""
    found = digests(ours)
    assert found == digests(theirs), "the two sides do not find the same changes"
    return sum(found.values())


def digests(path: Path) -> dict[bytes, int]:
    """How often each change is in a plan, by what both sides say about it; printing a million would help nobody."""
    found: dict[bytes, int] = {}
    document = orjson.loads(path.read_bytes())
    assert not document.get("staged")
    assert not document.get("held")
    for change in document["changes"]:
        told = [change[name] for name in ("action", "anchor", "id", "after")]
        text = orjson.dumps([*told, change.get("before")], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(text, digest_size=12).digest()
        found[digest] = found.get(digest, 0) + 1
    return found


# The data


def prepare(folder: Path, *, people: int, groups: int) -> None:
    """The export, unless it is there, and the job."""
    if not (folder / "people.csv").exists():
        generate = [sys.executable, "-m", "tests.data.people", "--plain", "--out", str(folder)]
        run([*generate, "--people", str(people), "--groups", str(max(1, groups))], out=None, env={})
    job = JOB
    if groups:
        job = job.replace("target:", f"{GROUP_FILES.strip(chr(10))}\ntarget:", 1)
        job = job.replace("limits:", f"{MANAGER.strip(chr(10))}\n{GROUPS.strip(chr(10))}\nlimits:", 1)
    (folder / "job.yaml").write_text(job)


def seed(people_csv: Path, url: str) -> None:
    """Puts everybody into the service at this address."""
    service = ScimProcess()
    service.url = url
    for batch in resources(people_csv):
        service.seed(users=batch)


def resources(people_csv: Path, *, changed_share: int = 100) -> Iterator[list[dict[str, Any]]]:
    """Everybody as the service holds them, some at a time: one in ``changed_share`` has another value somewhere."""
    from tests.benchmarks import plan_by_hand

    desired = plan_by_hand.map_people(plan_by_hand.read_people(str(people_csv)))
    count = len(desired["userName"])
    for start in range(0, count, SEEDED_AT_ONCE):
        columns = {path: values.slice(start, SEEDED_AT_ONCE).to_pylist() for path, values in desired.items()}
        batch = []
        for k in range(len(columns["userName"])):
            person = {path: values[k] for path, values in columns.items()}
            number = start + k
            if number % changed_share == 0:
                match number // changed_share % 4:
                    case 0:
                        person["title"] = "Something else"
                    case 1:
                        person["displayName"] = None
                    case 2:
                        person[plan_by_hand.WORK_CITY], person["title"] = "Elsewhere", "Something else"
                    case _:
                        person["active"] = not person["active"]
            batch.append(nested(person, number))
        yield batch


def nested(person: dict[str, Any], number: int) -> dict[str, Any]:
    """One person as SCIM writes it, under an id of their own."""
    from tests.benchmarks import plan_by_hand

    extension = {
        name: person[f"{plan_by_hand.ENTERPRISE}:{name}"] for name in ("employeeNumber", "organization", "department")
    }
    user = {path: person[path] for path in ("userName", "externalId", "active", "displayName", "title")}
    user["id"] = f"{number * 2_654_435_761 % 2**64:024x}"
    user["name"] = {"givenName": person["name.givenName"], "familyName": person["name.familyName"]}
    user[plan_by_hand.ENTERPRISE] = extension
    if person[plan_by_hand.WORK_MAIL] is not None:
        user["emails"] = [{"type": "work", "value": person[plan_by_hand.WORK_MAIL], "primary": True}]
    if person[plan_by_hand.WORK_CITY] is not None:
        user["addresses"] = [{"type": "work", "locality": person[plan_by_hand.WORK_CITY]}]
    return without_nulls(user)


def without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_nulls(held) if isinstance(held, dict) else held for key, held in value.items() if held is not None
    }


def link_everybody(job_file: Path, env: dict[str, str]) -> None:
    """Writes the links that a first cycle would write before it loads."""
    os.environ |= env
    from connectors.contract import Kind
    from flows.cli.here import decide_now
    from flows.cycle.systems import now, open_ledger
    from tasks.job import load_job
    from tasks.ledger import CycleKind

    job = load_job(job_file)
    settled = decide_now(job).checked.plan.entries[Kind.USER].settled
    with open_ledger() as ledger:
        cycle = ledger.begin_cycle(job.name, CycleKind.INITIAL, fingerprint=job.fingerprint(), now=now())
        ledger.put_links(job.name, Kind.USER, settled, cycle_id=cycle.id, now=now())


# The measurement


def measure(folder: Path, service: ScimProcess, options: argparse.Namespace) -> None:
    """Runs both sides in turns and prints their figures."""
    env, job = environment(folder, service), str(folder / "job.yaml")
    ours_out, theirs_out = folder / "ours.json", folder / "theirs.json"
    ours_command = [sys.executable, "-m", "flows.cli", "plan", job, "--json"]
    theirs_command = [sys.executable, "-m", "tests.benchmarks.plan_by_hand", str(folder / "people.csv"), service.url]
    ours, theirs = [], []
    for _ in range(options.rounds):
        if not options.groups:
            theirs.append(run([*theirs_command, str(theirs_out)], out=None, env=env))
            print(f"  by hand   {theirs[-1]}", flush=True)
        ours.append(run(ours_command, out=ours_out, env=env, data_limit=options.data_limit))
        print(f"  provisor  {ours[-1]}", flush=True)
    if theirs:
        cpu = min(cost.cpu_s for cost in ours) / min(cost.cpu_s for cost in theirs)
        memory = max(cost.peak_mb for cost in ours) / max(cost.peak_mb for cost in theirs)
        print(f"  ratio     {cpu:.2f} by CPU, {memory:.2f} by memory", flush=True)
        print(f"  both find the same {apart(count_same_changes, ours_out, theirs_out):,} changes", flush=True)
    if options.stages:
        apart(print_stages, Path(job), env)


def environment(folder: Path, service: ScimProcess) -> dict[str, str]:
    stays = {"PROVISOR_STAY_MINUTES": "0"}  # else the work is done in a fork of another process, which nobody measures
    return {"PROVISOR_HOME": str(folder / "home"), "SCIM_URL": service.url, "SCIM_TOKEN": TOKEN} | stays


def print_stages(job_file: Path, env: dict[str, str]) -> None:
    """Ours once more in this process, with a clock around each part; CPU seconds of all threads."""
    os.environ |= env
    import flows.cycle.preview
    import tasks.plan.build
    from flows.cli.here import decide_now
    from flows.show.plan_json import write_plan
    from tasks.job import load_job

    spent: dict[str, tuple[float, float]] = {}
    spent["start and imports"] = (time.process_time(), peak_mb())

    @contextmanager
    def clock(name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        before = spent.get(name, (0.0, 0.0))[0]
        spent[name] = (before + time.process_time() - began, peak_mb())

    def watch(module: Any, function: str, name: str) -> None:
        inner = getattr(module, function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with clock(name):
                return inner(*args, **kwargs)

        setattr(module, function, timed)

    watch(flows.cycle.preview, "see_source", "reading source")
    watch(flows.cycle.preview, "see_target", "reading target")
    watch(flows.cycle.preview, "recall", "ledger")
    watch(tasks.plan.build, "select", "scope")
    watch(tasks.plan.build, "map_entries", "mapping")
    watch(tasks.plan.build, "match_entries", "matching")
    watch(tasks.plan.build, "plan_entries", "plan")
    watch(tasks.plan.build, "plan_memberships", "memberships")
    watch(flows.cycle.preview, "check_plan", "guards")
    decision = decide_now(load_job(job_file))
    with Path(os.devnull).open("wb") as stream, clock("JSON"):
        write_plan(stream, decision)
    total = time.process_time()
    spent["everything else"] = (total - sum(seconds for seconds, _ in spent.values()), peak_mb())
    for name, (seconds, peak) in spent.items():
        print(f"    {name:18} {seconds:6.2f} s CPU, peak so far {peak:6,.0f} MB")
    print(f"    {'together':18} {total:6.2f} s CPU", flush=True)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--existing", choices=["none", "all", "both", "linked"], default="both")
    parser.add_argument("--groups", type=int, default=0, help="groups, memberships and managers too; ours alone")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stages", action="store_true", help="also what each part of ours takes, in one more run")
    parser.add_argument("--data-limit", type=int, metavar="BYTES", help="RLIMIT_DATA of `provisor plan`")
    parser.add_argument("--folder", type=Path, help="keep the data here, and use them again")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary, ScimProcess(token=TOKEN) as service:
        folder = options.folder or Path(temporary)
        prepare(folder, people=options.people, groups=options.groups)
        if options.existing in ("none", "both"):
            print(f"{options.people:,} people, nobody in the target", flush=True)
            measure(folder, service, options)
        if options.existing != "none":
            apart(seed, folder / "people.csv", service.url)
        if options.existing in ("all", "both"):
            print(f"{options.people:,} people, everybody in the target, 1 % changed", flush=True)
            measure(folder, service, options)
        if options.existing == "linked":
            apart(link_everybody, folder / "job.yaml", environment(folder, service))
            print(f"{options.people:,} people, everybody in the target and linked, 1 % changed", flush=True)
            measure(folder, service, options)


if __name__ == "__main__":
    main()
