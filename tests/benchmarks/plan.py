"""``provisor plan JOB --json`` beside a hand-written script that does the same work on the same data in the same run.

    python -m tests.benchmarks.plan [--people 1000000] [--existing none|all|linked|both] [--stages] [--data-limit 3G]

Twelve mapped attributes, four of them expressions, matched by user name. The target is the tests' own SCIM service in a
process of its own: once with nobody in it (everybody is created), once with everybody in it, one in a hundred of them
changed by others; ``linked`` is the same with everybody in the ledger, as after a first cycle. Both sides are processes
of their own; both must find the very same changes. Printed: seconds, CPU seconds (user and system) and peak memory of
both, and their ratios; with ``--stages`` also what each part of ours takes.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson

from tests.benchmarks import plan_by_hand
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
limits: {removals: {count: 10000000, fraction: 1.0}}
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
        process = subprocess.Popen(command, stdout=stream, env={**os.environ, **env}, preexec_fn=limit)  # noqa: PLW1509
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


# The two sides agree


def digests(path: Path) -> dict[bytes, int]:
    """How often each change is in a plan, by what both sides say about it; printing a million would help nobody."""
    found: dict[bytes, int] = {}
    document = orjson.loads(path.read_bytes())
    assert not document.get("staged") and not document.get("held")
    for change in document["changes"]:
        told = [change[name] for name in ("action", "anchor", "id", "after")]
        text = orjson.dumps([*told, change.get("before")], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(text, digest_size=12).digest()
        found[digest] = found.get(digest, 0) + 1
    return found


# The data


def resources(people_csv: Path, *, changed_share: int = 100) -> Iterator[list[dict[str, Any]]]:
    """Everybody as the service holds them, some at a time: one in ``changed_share`` has another value somewhere."""
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


def fill_ledger(folder: Path, service: ScimProcess) -> None:
    """A ledger in which everybody is linked, as a first cycle leaves it."""
    command = [sys.executable, "-m", "tests.benchmarks.plan", "--link", str(folder / "job.yaml")]
    run(command, out=None, env=environment(folder, service))


def link(job_file: Path) -> None:
    """Writes the links that a cycle would write before it loads."""
    from connectors.contract import Kind
    from flows.running import decide_now
    from flows.systems import now, open_ledger
    from tasks.job import load_job
    from tasks.ledger import CycleKind

    job = load_job(job_file)
    entries = decide_now(job).checked.plan.entries[Kind.USER]
    with open_ledger() as ledger:
        store_links(ledger, job.name, entries.settled, now(), CycleKind)


def store_links(ledger: Any, job: str, settled: Any, at: Any, kinds: Any) -> None:
    raise NotImplementedError


# The measurement


def environment(folder: Path, service: ScimProcess) -> dict[str, str]:
    return {"PROVISOR_HOME": str(folder / "home"), "SCIM_URL": service.url, "SCIM_TOKEN": TOKEN}


def compare(folder: Path, service: ScimProcess, *, rounds: int, data_limit: int | None, stages: bool) -> None:
    """Runs both sides in turns and prints their figures."""
    env, job = environment(folder, service), str(folder / "job.yaml")
    ours_out, theirs_out = folder / "ours.json", folder / "theirs.json"
    ours_command = [sys.executable, "-m", "flows.cli", "plan", job, "--json"]
    theirs_command = [sys.executable, "-m", "tests.benchmarks.plan_by_hand", str(folder / "people.csv"), service.url]
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(run([*theirs_command, str(theirs_out)], out=None, env=env))
        print(f"  by hand   {theirs[-1]}", flush=True)
        ours.append(run(ours_command, out=ours_out, env=env, data_limit=data_limit))
        print(f"  provisor  {ours[-1]}", flush=True)
    cpu = min(cost.cpu_s for cost in ours) / min(cost.cpu_s for cost in theirs)
    memory = max(cost.peak_mb for cost in ours) / max(cost.peak_mb for cost in theirs)
    print(f"  ratio     {cpu:.2f} by CPU, {memory:.2f} by memory", flush=True)
    found = digests(ours_out)
    assert found == digests(theirs_out), "the two sides do not find the same changes"
    print(f"  both find the same {sum(found.values()):,} changes", flush=True)
    if stages:
        subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.plan", "--stages-of", job],
            env={**os.environ, **env},
            stdout=sys.stdout,
            check=True,
        )


def print_stages(job_file: Path) -> None:
    """Ours once more in this process, with a clock around each part; CPU seconds of all threads."""
    imported = time.process_time()
    import flows.preview
    import tasks.plan.build
    from flows.plan_json import write_plan
    from flows.running import decide_now
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

    watch(flows.preview, "read_source", "reading source")
    watch(flows.preview, "read_target", "reading target")
    watch(flows.preview, "recall", "ledger")
    watch(tasks.plan.build, "select", "scope")
    watch(tasks.plan.build, "map_entries", "mapping")
    watch(tasks.plan.build, "match_entries", "matching")
    watch(tasks.plan.build, "plan_entries", "plan")
    watch(flows.preview, "check_plan", "guards")
    decision = decide_now(load_job(job_file))
    with Path(os.devnull).open("wb") as stream, clock("JSON"):
        write_plan(stream, decision)
    total = time.process_time()
    spent["everything else"] = (total - sum(seconds for seconds, _ in spent.values()), peak_mb())
    del imported
    for name, (seconds, peak) in spent.items():
        print(f"    {name:18} {seconds:6.2f} s CPU, peak so far {peak:6,.0f} MB")
    print(f"    {'together':18} {total:6.2f} s CPU", flush=True)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--existing", choices=["none", "all", "linked", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stages", action="store_true", help="also what each part of ours takes, in one more run")
    parser.add_argument("--data-limit", type=int, metavar="BYTES", help="RLIMIT_DATA of `provisor plan`")
    parser.add_argument("--stages-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--link", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="keep the data here, and use them again")
    options = parser.parse_args()
    if options.stages_of:
        print_stages(options.stages_of)
        return
    if options.link:
        link(options.link)
        return
    with TemporaryDirectory() as temporary, ScimProcess(token=TOKEN) as service:
        folder = options.folder or Path(temporary)
        if not (folder / "people.csv").exists():
            generate = [sys.executable, "-m", "tests.data.people", "--plain", "--groups", "1", "--out", str(folder)]
            run([*generate, "--people", str(options.people)], out=None, env={})
        (folder / "job.yaml").write_text(JOB)
        settings = {"rounds": options.rounds, "data_limit": options.data_limit, "stages": options.stages}
        if options.existing in ("none", "both"):
            print(f"{options.people:,} people, nobody in the target", flush=True)
            compare(folder, service, **settings)
        if options.existing != "none":
            for batch in resources(folder / "people.csv"):
                service.seed(users=batch)
        if options.existing in ("all", "both"):
            print(f"{options.people:,} people, everybody in the target, 1 % changed", flush=True)
            compare(folder, service, **settings)
        if options.existing == "linked":
            fill_ledger(folder, service)
            print(f"{options.people:,} people, everybody in the target and linked, 1 % changed", flush=True)
            compare(folder, service, **settings)


if __name__ == "__main__":
    main()
