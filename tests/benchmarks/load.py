"""Loading through the whole product, beside a bare client of the same library, on the same service, in the same run.

    python -m tests.benchmarks.load [--people 10000] [--groups 200] [--latency-ms 0] [--concurrency 32] [--workers 1]
                                    [--only creates] [--parts]

A new company is provisioned, then somebody gets another title (one in two), then somebody leaves (one in four), then
each group gets more members: four runs of ``provisor run``, Prefect with its local API included, each a process of its
own. The bare client sends the same requests, as many at a time, and does nothing else. ``--workers 2`` divides the
people between two jobs that run at once, each with half of the concurrency, and so is the bare client.

Printed: changes a second while loading (as the report has it) and over the whole run, CPU milliseconds a change (user
and system time of all processes and threads, the local API included), peak memory, and ratios. With latency, what
concurrency / latency would allow is the measure: by the latency as it was set, and by what one request alone takes the
bare client, which is that and the service's own work. ``--parts`` adds, for the creates, what the ledger, the wire and
the orchestration take: the same once more, with clocks inside (``load_parts``).

Read the ratios, and CPU before seconds: a busy machine slows everybody.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pandas as pd
from ruamel.yaml import YAML

from tests.benchmarks.plan import GROUP_FILES, GROUPS, JOB, TOKEN, Cost, run
from tests.servers.scim_service import ScimProcess

BATCH = 100
"""Members that go into one request."""
ALONE = 100
"""Requests by which the latency of one is measured."""
WIDE = {"count": None, "fraction": 1.0}
RESULTS = {"creates": "created", "updates": "updated", "disables": "disabled", "memberships": "members_added"}

Call = tuple[str, str, bytes]
"""Method, path, body."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a number of changes took."""

    changes: int
    load_s: float
    """While loading."""
    cost: Cost

    @property
    def per_s(self) -> float:
        return self.changes / self.load_s

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cost.cpu_s / self.changes

    def __str__(self) -> str:
        whole = self.changes / self.cost.wall_s
        return (
            f"{self.changes:8,} changes {self.per_s:7,.0f}/s loading {whole:7,.0f}/s in all "
            f"{self.cpu_ms:6.2f} ms CPU each {self.cost.peak_mb:6,.0f} MB"
        )


# The company


def write_company(folder: Path, *, people: int, groups: int, part: int = 0, parts: int = 1) -> None:
    """The export of one job: every ``parts``-th person from ``part`` on, in groups of a hundred."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = pd.Series(range(part, people, parts)).astype("str")
    frame = pd.DataFrame(
        {
            "employeeId": "E" + numbers.str.zfill(7),
            "userPrincipalName": "person" + numbers + "@example.com",
            "mail": "Person" + numbers + "@Example.com",
            "givenName": "Ada",
            "surname": "Ångström " + numbers,
            "displayName": "",
            "jobTitle": "Engineer",
            "city": "Berlin",
            "company": "Example",
            "department": "Research & Development",
            "status": "active",
        }
    )
    frame.to_csv(folder / "people.csv", index=False)
    names = [f"G{part}x{number}" for number in range(groups)]
    pd.DataFrame({"id": names, "name": [f"Team {name}" for name in names]}).to_csv(folder / "groups.csv", index=False)
    write_members(folder, frame, names, shift=0, share=1)


def write_members(folder: Path, people: pd.DataFrame, groups: Sequence[str], *, shift: int, share: int) -> None:
    """Each group with a hundred people from its place in the list on, ``share`` times over."""
    anchors = people["employeeId"].tolist()
    edges = [
        (group, anchors[(place * 100 + step + shift) % len(anchors)])
        for place, group in enumerate(groups)
        for step in range(min(100 * share, len(anchors)))
    ]
    pd.DataFrame(edges, columns=["group", "member"]).to_csv(folder / "members.csv", index=False)


def write_job(folder: Path, *, name: str, groups: int, load: dict[str, Any]) -> Path:
    """The job of ``tests.benchmarks.plan`` with this load section, and guards that let everything pass."""
    text = JOB
    if groups:
        text = text.replace("target:", f"{GROUP_FILES.strip(chr(10))}\ntarget:", 1)
        text = text.replace("limits:", f"{GROUPS.strip(chr(10))}\nlimits:", 1)
    document = YAML(typ="safe").load(text)
    document |= {"name": name, "load": load}
    document["limits"] = {"removals": WIDE, "members": WIDE, "attribute": WIDE, "updates": WIDE, "source": WIDE}
    document["limits"]["budget"] = {"per_day": WIDE, "per_week": WIDE}
    document["limits"]["memberships"] = {**WIDE, "per_day": WIDE, "per_week": WIDE}
    path = folder / "job.yaml"
    path.write_bytes(orjson.dumps(document))
    return path


def change_company(folder: Path, step: str) -> None:
    """What happens before a run."""
    people = pd.read_csv(folder / "people.csv", dtype=str, keep_default_na=False)
    match step:
        case "updates":
            people.loc[people.index[::2], "jobTitle"] = "Chief of Staff"
        case "disables":
            people.loc[people.index[::4], "status"] = "terminated"
        case "memberships":
            groups = pd.read_csv(folder / "groups.csv", dtype=str)["id"].tolist()
            write_members(folder, people, groups, shift=0, share=2)
    people.to_csv(folder / "people.csv", index=False)


# The two sides


def product(folders: Sequence[Path], service: ScimProcess, step: str) -> Measured:
    """One ``provisor run`` for each folder, all at once."""

    def one(folder: Path) -> tuple[Cost, dict[str, Any]]:
        out = folder / "report.json"
        command = [sys.executable, "-m", "flows.cli", "run", str(folder / "job.yaml"), "--json"]
        cost = run(command, out=out, env=environment(folder, service))
        return cost, orjson.loads(out.read_bytes())

    with ThreadPoolExecutor(len(folders)) as pool:
        found = list(pool.map(one, folders))
    changes = sum(report["counts"].get(RESULTS[step], 0) for _, report in found)
    cost = Cost(
        max(cost.wall_s for cost, _ in found),
        sum(cost.cpu_s for cost, _ in found),
        sum(cost.peak_mb for cost, _ in found),
    )
    return Measured(changes, max(report["seconds"]["load"] for _, report in found), cost)


def environment(folder: Path, service: ScimProcess) -> dict[str, str]:
    stays = {"PROVISOR_STAY_MINUTES": "0"}  # else the work is done in a fork of another process, which nobody measures
    return {"PROVISOR_HOME": str(folder / "home"), "SCIM_URL": service.url, "SCIM_TOKEN": TOKEN} | stays


def bare(requests: Path, service: ScimProcess, concurrency: int, step: str, *, members: int) -> Measured:
    """The same requests by a client that does nothing else, in a process of its own."""
    count = record(requests, service, step)
    cost, seconds = sent(requests, service, concurrency)
    return Measured(members if step == "memberships" else count, seconds, cost)


def sent(requests: Path, service: ScimProcess, concurrency: int) -> tuple[Cost, float]:
    """Sends what a file says in a process of its own: what that cost, and how many seconds the sending took."""
    out = requests.with_suffix(".out")
    command = [sys.executable, "-m", "tests.benchmarks.load", "--send", str(requests), service.url, str(concurrency)]
    cost = run(command, out=out, env={})
    return cost, float(out.read_text())


def latency_s(requests: Path, service: ScimProcess) -> float:
    """What one of the requests takes the bare client when nothing else is under way: seconds."""
    alone = requests.with_name("alone.jsonl")
    lines = requests.read_bytes().splitlines()[:ALONE]
    alone.write_bytes(b"\n".join(line.replace(b"rival", b"single") for line in lines))
    _, seconds = sent(alone, service, 1)
    return seconds / len(lines)


def send(requests: Path, url: str, concurrency: int) -> None:
    """Sends what a file says, a line a request; prints the seconds that it took."""
    import httpx
    from httpx_aiohttp import HttpxAiohttpClient

    calls: list[Call] = [
        (method, path, orjson.dumps(body)) for method, path, body in map(orjson.loads, requests.open("rb"))
    ]

    async def work() -> float:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/scim+json"}
        limits = httpx.Limits(max_connections=concurrency)
        async with HttpxAiohttpClient(base_url=url, headers=headers, limits=limits) as client:
            remaining = iter(calls)

            async def turn() -> None:
                for method, path, body in remaining:
                    response = await client.request(method, path, content=body)
                    assert response.status_code in (200, 201, 204), response.text
                    if response.content:
                        orjson.loads(response.content)

            began = time.perf_counter()
            await asyncio.gather(*(turn() for _ in range(concurrency)))
            return time.perf_counter() - began

    print(asyncio.run(work()))


def record(path: Path, service: ScimProcess, step: str) -> int:
    """Writes down what a run has just sent; what it created, under other names. Gives how many requests there are."""
    method, place = {"creates": ("POST", "/Users"), "memberships": ("PATCH", "/Groups")}.get(step, ("PATCH", "/Users"))
    count = 0
    with path.open("wb") as file:
        for entry in service.log:
            if entry["method"] == method and entry["path"].startswith(place):
                body = entry["body"].replace("person", "rival") if step == "creates" else entry["body"]
                file.write(orjson.dumps([method, entry["path"], orjson.loads(body)]) + b"\n")
                count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", choices=list(RESULTS))
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without the bare client: the service keeps no log then")
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        requests, url, concurrency = options.send
        send(Path(requests), url, int(concurrency))
        return
    with TemporaryDirectory() as temporary, ScimProcess(token=TOKEN, log="off" if options.alone else "full") as service:
        measure(Path(temporary), service, options)


def measure(root: Path, service: ScimProcess, options: argparse.Namespace) -> None:
    share = {"concurrency": options.concurrency // options.workers}
    folders = [root / f"job{number}" for number in range(options.workers)]
    for number, folder in enumerate(folders):
        write_company(folder, people=options.people, groups=options.groups, part=number, parts=options.workers)
        write_job(folder, name=f"benchmark{number}", groups=options.groups, load=share)
    if options.latency_ms:
        service.set_fault("latency", seconds=options.latency_ms / 1000)
    print(f"{options.people:,} people, {options.groups:,} groups, {options.latency_ms:g} ms, {options.workers} workers")
    for step in steps(options.only):
        change_company_all(folders, step)
        service.reset_counts()
        ours = product(folders, service, step)
        print(f"{step}\n  product  {ours}", flush=True)
        if not options.alone:
            theirs = bare(root / f"{step}.jsonl", service, options.concurrency, step, members=ours.changes)
            print(f"  bare     {theirs}")
            print(f"  ratio    {ours.per_s / theirs.per_s:.2f} by speed, {theirs.cpu_ms / ours.cpu_ms:.2f} by CPU")
        if options.latency_ms and step != "memberships":
            latencies_s = {"as set": options.latency_ms / 1000}
            if not options.alone:
                latencies_s["of one request alone"] = latency_s(root / f"{step}.jsonl", service)
            for which, seconds in latencies_s.items():
                limit = options.concurrency / seconds
                print(f"           {ours.per_s / limit:.2f} of {limit:,.0f}/s: concurrency / latency {which}")
        if options.parts and step == "creates":
            again = root / "again"
            write_company(again, people=options.people, groups=options.groups)
            write_job(again, name="again", groups=options.groups, load=share)
            service.clear()
            command = [sys.executable, "-m", "tests.benchmarks.load_parts", str(again / "job.yaml")]
            subprocess.run(command, env={**os.environ, **environment(again, service)}, check=True)


def steps(only: str | None) -> Iterable[str]:
    return [only] if only is not None else list(RESULTS)


def change_company_all(folders: Iterable[Path], step: str) -> None:
    for folder in folders:
        change_company(folder, step)


if __name__ == "__main__":
    os.environ.pop("PROVISOR_HOME", None)
    main()
