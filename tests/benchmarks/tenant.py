"""Microsoft Entra ID: the whole life of a company, requests of a large tenant, and a load at Graph's own limit.

    python -m tests.benchmarks.tenant life [--people 1000]
    python -m tests.benchmarks.tenant reads [--people 100000] [--groups 5000] [--memberships 200000]
    python -m tests.benchmarks.tenant throttled [--people 10000]

``life`` prints for each step what the cycle did, where the tenant, read by msgraph-sdk, is not what the exports mean,
and what a second look at everything would change; it ends with status 1 where anything is not as it must be. ``reads``
counts the requests of a whole read, of a quiet one and of one with one person in a hundred changed. ``throttled``
changes everybody in a tenant that takes 3,000 writes in 150 seconds, and prints the time beside the limit's own.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from connectors.contract import Action, Change, Kind, Outcome, Pace, Wanted
from connectors.entra.settings import EntraSettings, EntraTargetSettings
from connectors.entra.system import open_source, open_target
from tests.flows.tenant_life import live
from tests.servers.graph_service import SECRET, GraphService, serving

SHOWN = 20
"""Sentences of a kind that are printed."""
WANTED = Wanted(
    ("userPrincipalName", "displayName", "accountEnabled", "employeeId", "jobTitle", "manager"), ("displayName",)
)
WRITES, WINDOW_S = 3_000, 150.0


def life(options: argparse.Namespace) -> int:
    fine = True
    with TemporaryDirectory() as folder:
        for one in live(Path(folder), people=options.people):
            told = one.told
            counts = ", ".join(f"{name} {count:,}" for name, count in told.counts.items() if count)
            left = dict(told.left) or "nothing"
            print(f"{told.step}: {told.seconds:.1f} s, {one.requests:,} requests; {counts}; {left} left", flush=True)
            for what, sentences in (("wrong", told.wrong), ("could not", told.refused)):
                print(*(f"  {what}: {sentence}" for sentence in sentences[:SHOWN]), sep="\n", end="")
                print("\n" if sentences else "", end="")
            fine &= told.fine
    return 0 if fine else 1


def reads(options: argparse.Namespace) -> int:
    service, chance = GraphService(), random.Random(7)
    people = [service.put_user(employeeId=f"{number:07}") for number in range(options.people or 100_000)]
    for number in range(1, len(people)):
        service.managers[people[number]] = people[number // 10]
    groups = [service.put_group(f"Group {number}") for number in range(options.groups)]
    while len(service.members) < options.memberships:
        service.members.add((groups[chance.randrange(len(groups))], people[chance.randrange(len(people))]))
    print(f"{len(people):,} users, {len(groups):,} groups, {len(service.members):,} memberships", flush=True)
    with TemporaryDirectory() as folder, serving(service):
        source = open_source(EntraSettings.model_validate(service.section()), folder=Path(folder))
        watermark = None
        for what in ("whole read", "quiet cycle", "one person in a hundred changed, and 50 groups"):
            if what.startswith("one"):
                for key in chance.sample(people, max(1, len(people) // 100)):
                    service.change_user(key, jobTitle="Clerk")
                for group in groups[:50]:
                    service.join(group, people[0])
            service.requests.clear()
            began = time.monotonic()
            snapshot = source.read(WANTED, since=watermark)
            watermark = snapshot.watermark
            told = f"{snapshot.requests:,} requests, {time.monotonic() - began:.1f} s"
            print(f"{what}: {told}; {len(snapshot.users):,} users, {len(snapshot.members):,} memberships", flush=True)
            if snapshot.incomplete:
                print(*snapshot.incomplete, sep="\n")
        source.close()
    return 0


def throttled(options: argparse.Namespace) -> int:
    service = GraphService(writes=WRITES, window_s=WINDOW_S)
    people = [service.put_user() for _ in range(options.people or 10_000)]
    outcomes: Counter[str] = Counter()

    def told(outcome: Outcome) -> None:
        outcomes[str(outcome.status)] += 1

    with TemporaryDirectory() as folder, serving(service):
        parsed = EntraTargetSettings.model_validate(service.section())
        target = open_target(parsed, folder=Path(folder), pace=Pace())
        began = time.monotonic()
        target.apply([Change(key, Kind.USER, Action.UPDATE, key, key, {"jobTitle": "Clerk"}) for key in people], told)
        took_s, own_s = time.monotonic() - began, len(people) * WINDOW_S / WRITES
        target.close()
    beside = f"{took_s / own_s:.3f} of the limit's own {own_s:.0f} s"
    print(f"{len(people):,} writes: {took_s:.0f} s, {beside}; {dict(outcomes)}")
    print(f"refused: {len(service.throttled):,} requests, at most {max(service.throttled.values(), default=0)} times")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("life", "reads", "throttled"))
    parser.add_argument("--people", type=int)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--memberships", type=int, default=200_000)
    options = parser.parse_args()
    os.environ["ENTRA_SECRET"] = SECRET
    return {"life": life, "reads": reads, "throttled": throttled}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
