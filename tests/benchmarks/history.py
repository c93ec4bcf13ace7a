"""What it costs to keep what a cycle wanted of the target, for a million people of whom one in a hundred has changed.

    python -m tests.benchmarks.history [people]

Printed: CPU seconds of a cycle in which nothing was planned, of one in which something was planned but nothing wanted
otherwise, of keeping a state, of reading two and comparing them, and of following one person; and the size on disk.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectors.contract import Kind
from tasks.history import History, compare
from tasks.job import Job
from tasks.ledger import Cycle, CycleKind, CycleState
from tasks.plan import EntryPlan, Plan
from tasks.plan.blocks import STANDING, Later

PATHS = [
    "userName",
    "displayName",
    "name.givenName",
    "name.familyName",
    "title",
    "department",
    "city",
    "phone",
    "manager",
]
JOB = Job.model_validate(
    {
        "name": "benchmark",
        "source": {"connector": "csv", "users": {"path": "people.csv", "key": "id"}},
        "target": {"connector": "scim", "url": "http://127.0.0.1:1"},
        "users": {"matching": [{"source": "[mail]", "target": "userName"}], "attributes": {"userName": "[mail]"}},
    }
)


def made_up_people(count: int) -> pd.DataFrame:
    """A desired state: nine texts, one boolean."""
    numbers = pd.Series(np.arange(count)).astype("str")
    index = pd.Index("p" + numbers.str.zfill(8), dtype="str", name="key")
    texts = {path: (f"{path} of " + numbers).set_axis(index) for path in PATHS}
    active = pd.Series(True, index=index, dtype="boolean")
    return pd.DataFrame({**texts, "active": active, STANDING: pd.Series("in scope", index=index, dtype="str")})


def plan_of(people: pd.DataFrame, edges: pd.DataFrame) -> Plan:
    """A plan that wants these people and memberships."""
    labels = pd.Series(people["userName"].array, index=people.index, dtype="str")
    entries = EntryPlan(
        Kind.USER, [], [], [], 0, Later(pd.DataFrame), [], 0, labels=labels, wanted=Later(lambda: people)
    )
    nobody: dict[Kind, int] = {}
    none: Any = pd.Series(dtype="int64")
    return Plan(
        *("benchmark", "", datetime.now(UTC), "", "", [], {Kind.USER: entries}, [], [], nobody, nobody, none, ()),
        wanted_members=Later(lambda: edges),
    )


def cycle(number: int) -> Cycle:
    """A finished cycle."""
    return Cycle(number, number, "benchmark", CycleKind.INCREMENTAL, CycleState.DONE, "same", datetime.now(UTC))


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Does the work and prints the CPU seconds of all threads that it took."""
    began = time.process_time()
    result = work()
    print(f"{what:<60} {time.process_time() - began:8.3f} s")
    return result


def main() -> None:
    """Runs everything once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("people", nargs="?", type=int, default=1_000_000)
    count = parser.parse_args().people
    people = made_up_people(count)
    groups = pd.Series("g" + pd.Series(np.arange(count) % 1000).astype("str"), dtype="str")
    edges = pd.DataFrame({"group": groups, "member": pd.Series(people.index, dtype="str")})
    changed = np.arange(count) % 100 == 0
    later = people.assign(title=people["title"].mask(changed, "Chief"))
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder))
        timed("keep the first state", lambda: history.keep(JOB, cycle(1), plan_of(people, edges), planned=True))
        timed("nothing planned", lambda: history.keep(JOB, cycle(2), plan_of(people, edges), planned=False))
        timed("planned, the same is wanted", lambda: history.keep(JOB, cycle(3), plan_of(people, edges), planned=True))
        shuffled = people.iloc[::-1]
        timed("the same in another order", lambda: history.keep(JOB, cycle(4), plan_of(shuffled, edges), planned=True))
        timed("keep a state, 1 % changed", lambda: history.keep(JOB, cycle(5), plan_of(later, edges), planned=True))
        first, second = history.kept
        states = timed("read two states", lambda: (history.read(first), history.read(second)))
        difference = timed("compare them", lambda: compare(*states))
        assert len(difference.entries[Kind.USER].changed) == changed.sum()
        assert not len(difference.added)
        anchor = str(people.index[count // 2])
        timed("one person in both", lambda: [history.read_entry(one, Kind.USER, anchor) for one in history.kept])
        size = sum(path.stat().st_size for path in (Path(folder) / "1").iterdir())
        print(f"{'size of one state':<60} {size / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
