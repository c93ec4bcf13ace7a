"""Cycles after the first one: how many requests they send, and what they take.

    python -m tests.benchmarks.lifecycle [--people 100000] [--groups 1000] [--quiet-people 1000000] [--folder FOLDER]

First a company of ``--people`` and ``--groups``: a cycle that changes nothing, then one after 1 % of the people changed
(six in ten another title, two left, two new), then one that lists the target. Printed: requests by kind beside the
objects that changed. Then a cycle that changes nothing for ``--quiet-people`` from a CSV file, with what each part
takes. Everything is the ``provisor run`` command, a process of its own, against the tests' SCIM service in another one.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pandas as pd

from tests.benchmarks.plan import TOKEN, apart, environment, prepare, resources, run
from tests.servers.scim_service import ScimProcess

NEVER = 10**9


def seed_unchanged(people_csv: Path, url: str) -> None:
    """Puts everybody into the service at this address, as the export has them."""
    service = ScimProcess()
    service.url = url
    for batch in resources(people_csv, changed_share=NEVER):
        service.seed(users=batch)


def cycle(folder: Path, service: ScimProcess, *words: str) -> dict[str, Any]:
    """One ``provisor run``; prints what it took. Raises: RuntimeError unless it ends well."""
    service.reset_counts()
    out = folder / "report.json"
    command = [sys.executable, "-m", "flows.cli", "run", str(folder / "job.yaml"), "--json", *words]
    cost = run(command, out=out, env=environment(folder, service))
    report: dict[str, Any] = orjson.loads(out.read_bytes())
    print(f"  {report['kind']:12} {cost}", flush=True)
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in report["seconds"].items())
    print(f"    seconds: {parts}")
    print(f"    {report['target_seen']}")
    requests = service.requests
    listed = ", ".join(f"{name} {count:,}" for name, count in sorted(requests.items()))
    print(f"    {sum(requests.values()):,} requests: {listed}")
    return report


def change_one_percent(folder: Path) -> None:
    """Six in ten of one in a hundred get another title, two leave, two are replaced by somebody new."""
    people = pd.read_csv(folder / "people.csv", dtype=str, keep_default_na=False)
    chosen = people.index[::100]
    turn = pd.Series(range(len(chosen)), index=chosen) % 10
    people.loc[turn.index[turn < 6], "jobTitle"] = "Chief of Staff"
    people.loc[turn.index[(turn == 6) | (turn == 7)], "status"] = "terminated"
    joiners = people.loc[turn.index[turn > 7]].copy()
    for column, form in (("employeeId", "N{}"), ("userPrincipalName", "new{}@example.com"), ("mail", "new{}@e.com")):
        joiners[column] = [form.format(number) for number in range(len(joiners))]
    pd.concat([people, joiners]).to_csv(folder / "people.csv", index=False)


def print_comparison(report: dict[str, Any], requests: Counter[str]) -> None:
    counts = report["counts"]
    users = sum(counts.get(name, 0) for name in ("created", "updated", "enabled", "disabled", "deleted"))
    writes = {name: count for name, count in requests.items() if not name.startswith("GET")}
    groups = writes.get("PATCH /Groups", 0)
    total = sum(requests.values())
    print(
        f"    {users + groups:,} changed objects ({users:,} accounts, {groups:,} changes of groups), {total:,} requests"
    )
    print(f"    requests - changed objects = {total - users - groups:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--quiet-people", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the data here")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        if options.people:
            changing(root / "changing", options)
        if options.quiet_people:
            quiet(root / "quiet", options)


def changing(folder: Path, options: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{options.people:,} people, {options.groups:,} groups", flush=True)
    with ScimProcess(token=TOKEN) as service:
        prepare(folder, people=options.people, groups=options.groups)
        apart(seed_unchanged, folder / "people.csv", service.url)
        cycle(folder, service)
        print("nothing has changed", flush=True)
        cycle(folder, service)
        change_one_percent(folder)
        print("1 % has changed", flush=True)
        print_comparison(cycle(folder, service), service.requests)
        print("and the target listed", flush=True)
        cycle(folder, service, "--cycle", "reconcile")


def quiet(folder: Path, options: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{options.quiet_people:,} people, no groups", flush=True)
    with ScimProcess(token=TOKEN) as service:
        prepare(folder, people=options.quiet_people, groups=0)
        apart(seed_unchanged, folder / "people.csv", service.url)
        cycle(folder, service)
        print("nothing has changed", flush=True)
        cycle(folder, service)


if __name__ == "__main__":
    os.environ.pop("PROVISOR_HOME", None)
    main()
