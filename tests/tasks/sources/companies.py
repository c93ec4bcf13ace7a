"""A company whose people come from two HR systems and a contractors' list, with more attributes from a directory.

``Company.plan`` runs the product's own stages on four snapshots; ``tear`` makes one of them wrong in one way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from connectors.contract import Kind, Snapshot, Unreadable, no_members
from tasks.acting import as_it_acts
from tasks.checks import Checked, History, check_plan
from tasks.expressions import Context
from tasks.job import Job
from tests.tasks.plan.worlds import Entry, World, _edges, frame_of, make_job

CSV = {"connector": "csv", "users": {"path": "people.csv", "key": "id"}}
SOURCES = [
    {"name": "hr", **CSV},
    {"name": "abroad", "prefix": "A-", **CSV},
    {"name": "contractors", "prefix": "C-", **CSV, "gives": {"title": '"Contractor"', "dept": "[unit]"}},
]
DIRECTORY = {
    "name": "ad",
    **CSV,
    "join": {"people": "[number]", "own": "[employeeNumber]"},
    "gives": {"phone": "[telephoneNumber]"},
}
WAYS = ("empty", "torn", "late", "shrunk")


def company_job(**sections: Any) -> Job:
    """Matched by mail; titles and departments from the sources, phones from the directory, managers from anywhere."""
    users = {
        "title": {"expression": "[title]", "clear": True},
        "department": {"expression": "[dept]", "clear": True},
        'phoneNumbers[type eq "work"].value': {"expression": "[phone]", "clear": True},
    }
    job = {"sources": SOURCES, "enrich": [DIRECTORY], **sections}
    return make_job(users, **{"source": None, **job})


@dataclass(slots=True)
class Company(World):
    """Several sources, as dictionaries."""

    read: dict[str, dict[str, Entry]] = field(default_factory=dict)
    """By source, its entries by its own keys."""
    group_rows: dict[str, dict[str, Entry]] = field(default_factory=dict)
    edge_rows: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """By source, in which way it is wrong."""
    gone: dict[str, set[str]] = field(default_factory=dict)
    """By source, keys that it marks as disabled."""

    def source(self, random: Random | None) -> Snapshot:
        read = {name: self._snapshot(name, random) for name in self.read}
        return as_it_acts(self.job, read, Context(now=self.now))

    def judged(self, history: History | None = None) -> Checked:
        """The plan after the guards."""
        return check_plan(self.plan(), self.job.limits, history or History())

    def _snapshot(self, name: str, random: Random | None) -> Snapshot:
        rows, groups, edges = self.read[name], self.group_rows.get(name, {}), self.edge_rows.get(name, set())
        incomplete: tuple[str, ...] = ()
        unreadable: tuple[Unreadable, ...] = ()
        match self.broken.get(name):
            case "empty":
                rows, groups, edges = {}, {}, set()
            case "torn":
                rows = dict(list(rows.items())[: len(rows) // 2])
                groups, edges = {}, set()
                incomplete = ("The file ends inside a quoted cell.",)
            case "late":
                rows, groups, edges = {}, {}, set()
                incomplete = ("It could not be read: people.csv is not there.",)
            case "shrunk":
                rows = dict(list(rows.items())[:1])
            case "unreadable":
                first, *_ = rows
                unreadable = (Unreadable(Kind.USER, first, "line 2", "a cell is too long"),)
                rows = {key: row for key, row in rows.items() if key != first}
        paths = sorted({path for row in self.read[name].values() for path in row})
        return Snapshot(
            system=f"csv {name}.csv",
            users=frame_of(rows, random, paths=paths),
            groups=frame_of(groups, random, paths=["name"]),
            members=_edges(edges, random) if edges else no_members(),
            read_at=self.now,
            incomplete=incomplete,
            unreadable=unreadable,
            disabled=frozenset(self.gone.get(name, set())),
        )


def person(name: str, number: str, **more: str | None) -> Mapping[str, str | None]:
    """A row of an HR system."""
    return {"mail": f"{name}@example.com", "number": number, "title": "Clerk", "dept": "Sales", **more}


def company(size: int = 8, **sections: Any) -> Company:
    """So many people in each of the sources; the directory knows all of them."""
    made = Company(company_job(**sections))
    made.read = {
        "hr": {f"{n:04}": dict(person(f"hr{n}", f"N{n}")) for n in range(size)},
        "abroad": {f"{n:04}": dict(person(f"ab{n}", f"F{n}")) for n in range(size)},
        "contractors": {
            f"{n:04}": {"mail": f"co{n}@example.com", "number": f"K{n}", "unit": "Guests"} for n in range(size)
        },
        "ad": {},
    }
    numbers = [row["number"] for name in ("hr", "abroad", "contractors") for row in made.read[name].values()]
    made.read["ad"] = {f"guid{n}": {"employeeNumber": n, "telephoneNumber": f"+1 {n}"} for n in numbers}
    return made


def with_job(made: Company, **sections: Any) -> Company:
    """The same company with another job."""
    return replace(made, job=company_job(**sections))
