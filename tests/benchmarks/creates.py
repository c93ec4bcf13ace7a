"""How fast users are created: the connector against a bare client of the same library, same service, same run.

    python -m tests.benchmarks.creates [--users 5000] [--concurrency 32] [--rounds 3]

Prints creates a second, client CPU milliseconds a create, and the connector's speed as a fraction of the bare client's.
The rounds alternate, so that a busy machine slows both; the ratio is that of the best rounds.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
from httpx_aiohttp import HttpxAiohttpClient

from connectors.contract import Action, Change, Kind, Outcome, Pace, Status
from connectors.scim.connector import ScimTarget
from connectors.scim.schema import CORE, ENTERPRISE
from connectors.scim.settings import ScimTargetSettings
from tests.servers.scim_service import ScimProcess

TOKEN = "a-token"


def attributes(name: str) -> dict[str, Any]:
    """A person of twelve attributes, as a plan has it."""
    return {
        "userName": f"{name}@example.com",
        "externalId": name,
        "active": True,
        "displayName": f"Ada {name}",
        "name.givenName": "Ada",
        "name.familyName": name,
        'emails[type eq "work"].value': f"{name}@example.com",
        'phoneNumbers[type eq "work"].value': "+49 30 1234567",
        "title": "Engineer",
        "preferredLanguage": "en",
        f"{ENTERPRISE}:department": "Research",
        f"{ENTERPRISE}:employeeNumber": name,
    }


def resource(name: str) -> dict[str, Any]:
    """The same person as JSON, written by hand."""
    return {
        "schemas": [CORE[Kind.USER], ENTERPRISE],
        "userName": f"{name}@example.com",
        "externalId": name,
        "active": True,
        "displayName": f"Ada {name}",
        "name": {"givenName": "Ada", "familyName": name},
        "emails": [{"type": "work", "value": f"{name}@example.com"}],
        "phoneNumbers": [{"type": "work", "value": "+49 30 1234567"}],
        "title": "Engineer",
        "preferredLanguage": "en",
        ENTERPRISE: {"department": "Research", "employeeNumber": name},
    }


def bare(url: str, names: list[str], concurrency: int) -> None:
    """As little as can be: a client, workers, JSON."""

    async def run() -> None:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/scim+json"}
        limits = httpx.Limits(max_connections=concurrency)
        ids = []
        remaining = iter(names)
        async with HttpxAiohttpClient(base_url=url, headers=headers, limits=limits) as client:

            async def work() -> None:
                for name in remaining:
                    response = await client.post("/Users", content=orjson.dumps(resource(name)))
                    assert response.status_code == 201
                    ids.append(orjson.loads(response.content)["id"])

            await asyncio.gather(*(work() for _ in range(concurrency)))
        assert len(ids) == len(names)

    asyncio.run(run())


def connector(url: str, names: list[str], concurrency: int) -> None:
    """The connector as the load stage uses it, in batches of 500."""
    settings = ScimTargetSettings.model_validate({"url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}})
    target = ScimTarget(settings, folder=Path(), pace=Pace(concurrency=concurrency))
    outcomes: list[Outcome] = []
    changes = [Change(name, Kind.USER, Action.CREATE, name, None, attributes=attributes(name)) for name in names]
    for start in range(0, len(changes), 500):
        target.apply(changes[start : start + 500], outcomes.append)
    target.close()
    assert len(outcomes) == len(names)
    assert all(outcome.status is Status.DONE for outcome in outcomes)


def measure(
    run: Callable[[str, list[str], int], None], url: str, names: list[str], concurrency: int
) -> tuple[float, float]:
    """Seconds a create, wall and CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(url, names, concurrency)
    return (time.perf_counter() - wall) / len(names), (time.process_time() - cpu) / len(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["SCIM_TOKEN"] = TOKEN
    best: dict[str, tuple[float, float]] = {}
    with ScimProcess(token=TOKEN) as service:
        for number in range(options.rounds):
            for run in (bare, connector):
                names = [f"{run.__name__}{number}x{user}" for user in range(options.users)]
                wall, cpu = measure(run, service.url, names, options.concurrency)
                held = best.get(run.__name__, (1e9, 1e9))
                best[run.__name__] = (min(held[0], wall), min(held[1], cpu))
                print(f"{run.__name__:10} {1 / wall:7.0f} creates/s {1000 * cpu:6.2f} ms CPU a create")
    speed, cpu_share = (best["bare"][measure_no] / best["connector"][measure_no] for measure_no in (0, 1))
    print(f"ratio      {speed:7.2f} of the bare client's speed, {cpu_share:.2f} by CPU")


if __name__ == "__main__":
    main()
