"""What a deployment costs beside a command: the same import as ``provisor run`` and as a run of ``provisor up``.

    python -m tests.benchmarks.orchestration [--people 20000]

Prints seconds from asking to the end, seconds of the cycle itself, and from that what comes on top. The target is the
own SCIM service in a process of its own, empty for each of them.
"""

import argparse
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx

from tests.benchmarks.creates import TOKEN
from tests.data.people import generate
from tests.flows.browser.up import provisor_up
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimProcess


def main() -> None:
    """Runs both and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20_000)
    people = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "export"
        export.mkdir()
        generate(people=people, groups=40, plain=True).write(export)
        plain, cycle = by_command(Path(folder) / "command", export)
        asked, run, of_it, waited = by_deployment(Path(folder) / "deployment", export)
    print(f"import of {people:,} people           asked to end   cycle alone")
    print(f"provisor run                     {plain:10.1f} s {cycle:10.1f} s")
    print(f"deployment, by a worker          {asked:10.1f} s {of_it:10.1f} s")
    print(f"  of it until the flow begins    {waited:10.1f} s")
    print(f"  of it the flow run             {run:10.1f} s")
    print(f"on top of the command: {asked - plain:+.1f} s ({(asked / plain - 1) * 100:+.0f} %)")
    print(f"on top of its cycle:   {of_it - cycle:+.1f} s ({(of_it / cycle - 1) * 100:+.0f} %)")


def by_command(folder: Path, export: Path) -> tuple[float, float]:
    """Seconds of the command, and of its cycle."""
    with ScimProcess(token=TOKEN) as service:
        workplace = Workplace.make(folder, url=service.url).use(export)
        began = time.monotonic()
        said = workplace.call("run", str(workplace.job), "--json", SCIM_TOKEN=TOKEN)
        took = time.monotonic() - began
        assert said.status == 0, said.err
        report = said.document
    return took, (datetime.fromisoformat(report["ended"]) - datetime.fromisoformat(report["began"])).total_seconds()


def by_deployment(folder: Path, export: Path) -> tuple[float, float, float, float]:
    """Seconds from asking for a run to its end, of the run, of its cycle, and until it began."""
    with ScimProcess(token=TOKEN) as service:
        workplace = Workplace.make(folder, url=service.url).use(export)
        with provisor_up(workplace) as up:
            asked = datetime.now().astimezone()
            ended = up.ended(up.start("hr-to-scim"))
            assert ended["state_name"] == "Completed", up.tail()
            began, end = (datetime.fromisoformat(ended[name]) for name in ("start_time", "end_time"))
            with up.api() as api:
                cycle = _cycle_seconds(api, ended["id"])
    return (end - asked).total_seconds(), (end - began).total_seconds(), cycle, (began - asked).total_seconds()


def _cycle_seconds(api: httpx.Client, run: str) -> float:
    """The parts of the cycle as its artifact has them."""
    mine = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["hr-to-scim-cycle"]}}}
    page = str(api.post("/artifacts/filter", json=mine).json()[0]["data"])
    table = page.partition("| part | seconds |")[2].partition("##")[0]
    return sum(float(line.split("|")[2]) for line in table.splitlines()[2:] if line.count("|") == 3)


if __name__ == "__main__":
    main()
