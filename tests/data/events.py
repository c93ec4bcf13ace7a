"""Makes the export of a later day from a first one, and the list of what happened in between.

The numbers are those of an export of 1,000 people and grow with its size; groups have one event of each kind. Fates do
not overlap: nobody has two, but for the people of ``Events.cast``, who each stand for the fate they are named after.
Whoever leaves (their accounts have to be disabled) loses their memberships as well.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tests.data.export import Export
from tests.data.fixed_people import CAST, FIRST_POSITION, FIXED_PEOPLE, STEP, position
from tests.data.names import COMPANIES, DEPARTMENTS, MAIL_DOMAINS
from tests.data.people import DEFAULT_SEED, Ints, department_group, draw, draw_names, employee_ids


class Fate(StrEnum):
    """What became of a person between the two exports."""

    JOINER = "joiner"
    """Not in the first export. The first joiner was already named as a manager there."""
    MOVER_DEPARTMENT = "mover_department"
    """Another department, and with it another department group; some also another title."""
    MOVER_TITLE = "mover_title"
    MOVER_MANAGER = "mover_manager"
    MANAGER_REPLACED = "manager_replaced"
    """Their manager left; they report to that manager's manager now."""
    LEAVER_GONE = "leaver_gone"
    """Not in the second export."""
    LEAVER_TERMINATED = "leaver_terminated"
    """Still in the second export, with the status terminated."""
    RENAMED = "renamed"
    """New surname, sign-in name and mail address after a wedding."""
    REHIRED = "rehired"
    """Terminated in the first export, active in the second."""
    LEFT_SCOPE = "left_scope"
    """An employee became a contractor."""
    ENTERED_SCOPE = "entered_scope"
    """A contractor became an employee."""
    NEVER_IN_SCOPE = "never_in_scope"
    """A contractor in both exports."""
    TITLE_CLEARED = "title_cleared"
    """Had a job title, has none now."""
    MANAGER_HEALED = "manager_healed"
    """Named a manager in the first export who joined only in the second."""
    UNCHANGED = "unchanged"
    """On leave in both exports: an account that nothing happens to."""


class GroupFate(StrEnum):
    """What became of a group."""

    RENAMED = "renamed"
    NEW = "new"
    SHRUNK = "shrunk"
    """Had a few members, has one now. (A team that loses everybody at once waits for approval.)"""
    MEMBERS_CHANGED = "members_changed"
    """People were added and others removed, though nothing happened to these people otherwise."""


STORIES = {
    Fate.JOINER: "Joined after the first export, where somebody already named her as their manager.",
    Fate.MOVER_DEPARTMENT: "Moved to another department, with a new title and manager.",
    Fate.RENAMED: "Married: new surname, sign-in name and mail address, the same account.",
    Fate.LEAVER_GONE: "Left: no longer in the export.",
    Fate.LEAVER_TERMINATED: "Left: still in the export, with the status terminated.",
    Fate.REHIRED: "Had left before the first export and was hired again.",
    Fate.UNCHANGED: "On parental leave all the time; leave is not an end.",
    Fate.LEFT_SCOPE: "Was an employee, is a contractor now and so out of scope.",
    Fate.ENTERED_SCOPE: "Was a contractor, is an employee now and so in scope.",
    Fate.NEVER_IN_SCOPE: "A contractor all the time, never in scope.",
    Fate.TITLE_CLEARED: "The acting title ended and nothing took its place.",
    Fate.MANAGER_HEALED: "Named a manager who was hired only later.",
}

_PER_THOUSAND = {
    Fate.JOINER: 25,
    Fate.MOVER_DEPARTMENT: 15,
    Fate.MOVER_TITLE: 13,
    Fate.MOVER_MANAGER: 12,
    Fate.LEAVER_GONE: 14,
    Fate.LEAVER_TERMINATED: 7,
    Fate.LEFT_SCOPE: 3,
    Fate.ENTERED_SCOPE: 2,
    Fate.REHIRED: 2,
}
"""How many have a fate by lot, for each 1,000 people and at least; the cast comes on top."""

_CAST_FATES = {person.key: Fate(person.key) for person in CAST if person.key != "mover"} | {
    "mover": Fate.MOVER_DEPARTMENT
}
_RENAMED_TEAM, _CHANGED_TEAM = 2, 4
"""Counted from the end of the groups; the last team is the one that shrinks."""


@dataclass(slots=True)
class Events:
    """What happened between the two exports."""

    people: dict[Fate, list[str]]
    """employeeIds, sorted."""
    groups: dict[GroupFate, list[str]]
    """Group ids."""
    cast: list[dict[str, str]] = field(default_factory=list)
    """One person of each fate: employeeId, name, fate, story."""

    def write(self, path: Path) -> None:
        """As JSON, one employeeId after the other on a line of their fate."""
        sections = []
        for name, fates in (("people", self.people), ("groups", self.groups)):
            lines = ",\n".join(f'    "{fate}": {_compact(ids)}' for fate, ids in fates.items())
            sections.append(f'  "{name}": {{\n{lines}\n  }}')
        cast = ",\n".join(f"    {_compact(person)}" for person in self.cast)
        path.write_text("{\n" + ",\n".join([*sections, f'  "cast": [\n{cast}\n  ]']) + "\n}\n", encoding="utf-8")


def _compact(value: object) -> str:
    return orjson.dumps(value).decode().replace('","', '", "').replace('":"', '": "')


def derive_next(first: Export, *, seed: int = DEFAULT_SEED) -> tuple[Export, Events]:
    """The export of a later day, and what happened. The first must hold the fixed people."""
    rows = _cast_lots(first.people, seed=seed)
    people = first.people.copy()
    _move(people, rows, seed=seed)
    _change_cells(people, rows, seed=seed)
    joiners = _join(people, rows, seed=seed)
    following = pd.concat([people.drop(index=rows[Fate.LEAVER_GONE]), joiners], ignore_index=True)
    ids = first.people["employeeId"]
    fates = {fate: sorted(ids.iloc[chosen]) for fate, chosen in rows.items()}
    fates[Fate.JOINER] = list(joiners["employeeId"])
    groups, members, group_fates = _regroup(first, following, fates, seed=seed)
    events = Events({fate: fates[fate] for fate in Fate}, group_fates)
    events.cast = _cast(first, joiners)
    return Export(following, groups, members), events


def _cast_lots(people: pd.DataFrame, *, seed: int) -> dict[Fate, Ints]:
    """Rows of the first export by fate; joiners, who have none, are left out."""
    size = len(people)
    ids = people["employeeId"]
    fixed = np.zeros(size, dtype=bool)
    fixed[FIRST_POSITION + STEP * np.arange(len(FIXED_PEOPLE))] = True
    leads = _among(ids, people["manager"].dropna())
    status, kind = people["status"].to_numpy(), people["employeeType"].to_numpy()
    # Contractors of IT Operations are in scope of the example jobs: nothing happens to them.
    outside = (kind == "contractor") & (people["department"] != "IT Operations").to_numpy()
    employed = ~fixed & ~leads & (kind == "employee") & (status == "active")
    order = np.argsort(draw("fate", size, 2**62, seed=seed), kind="stable")
    pools = {
        "employed": order[employed[order]],
        "outside": order[(~fixed & outside & (status == "active"))[order]],
        "terminated": order[(~fixed & (kind == "employee") & (status == "terminated"))[order]],
    }
    pool_of = {Fate.ENTERED_SCOPE: "outside", Fate.REHIRED: "terminated"}
    rows: dict[Fate, Ints] = {fate: np.array([], dtype=np.int64) for fate in Fate if fate is not Fate.JOINER}
    for fate, per_thousand in _PER_THOUSAND.items():
        if fate is not Fate.JOINER:
            name = pool_of.get(fate, "employed")
            count = _scaled(per_thousand, size)
            rows[fate], pools[name] = pools[name][:count], pools[name][count:]
    rows[Fate.LEAVER_GONE], rows[Fate.MANAGER_REPLACED] = _add_leaving_manager(people, rows, fixed, order)
    for key, fate in _CAST_FATES.items():
        rows[fate] = np.append(rows[fate], position(key))
    return {fate: np.sort(chosen) for fate, chosen in rows.items()}


def _scaled(per_thousand: int, size: int) -> int:
    return max(per_thousand, per_thousand * size // 1000)


def _add_leaving_manager(
    people: pd.DataFrame, rows: dict[Fate, Ints], fixed: np.ndarray, order: Ints
) -> tuple[Ints, Ints]:
    """The leavers with one manager among them, and the rows of those who reported there.

    The manager is one with two or three reports, all of them plain employees to whom nothing else happens.
    """
    touched = fixed.copy()
    touched[np.concatenate(list(rows.values()))] = True
    plain = ((people["employeeType"] == "employee") & (people["status"] == "active")).to_numpy() & ~touched
    ids = pd.Index(people["employeeId"])
    manager = pd.Series(ids.get_indexer(people["manager"].fillna("")))
    reports = manager[manager >= 0]
    counts = reports.value_counts()
    excluded = {*reports[~plain[reports.index]], *np.flatnonzero(touched | (manager < 0).to_numpy())}
    suitable = set(counts[counts.between(2, 3)].index) - excluded
    chosen = next(row for row in order if row in suitable)
    return np.append(rows[Fate.LEAVER_GONE], chosen), reports.index[reports == chosen].to_numpy()


def _among(column: pd.Series, values: pd.Series | list[str]) -> npt.NDArray[np.bool_]:
    """``isin`` that stays in Arrow: pandas' own walks text in Python, three seconds for a million."""
    text = pa.large_string()
    return np.asarray(pc.is_in(pa.array(column).cast(text), value_set=pa.array(values).cast(text)))


def _set(people: pd.DataFrame, rows: Ints, column: str, values: object) -> None:
    series = people[column].copy()
    series.iloc[rows] = values
    people[column] = series


def _move(people: pd.DataFrame, rows: dict[Fate, Ints], *, seed: int) -> None:
    """Departments, titles and managers of the movers."""
    movers = rows[Fate.MOVER_DEPARTMENT]
    names = np.array(DEPARTMENTS)
    was = pd.Categorical(people["department"].iloc[movers], categories=list(DEPARTMENTS)).codes.astype(np.int64)
    department = names[(was + 1 + draw("new department", movers, len(names) - 1, seed=seed)) % len(names)]
    _set(people, movers, "department", department)
    with_title = np.flatnonzero(movers % 2 == 1)
    _set(people, movers[with_title], "jobTitle", [f"Specialist, {name}" for name in department[with_title]])

    promoted = rows[Fate.MOVER_TITLE]
    kinds = np.array(["Lead Specialist, ", "Principal, ", "Deputy Head of "])[draw("promotion", promoted, 3, seed=seed)]
    _set(people, promoted, "jobTitle", [a + b for a, b in zip(kinds, people["department"].iloc[promoted], strict=True)])

    ids = pd.Index(people["employeeId"])
    replaced = rows[Fate.MANAGER_REPLACED]
    gone = ids.get_indexer(people["manager"].iloc[replaced])
    _set(people, replaced, "manager", people["manager"].iloc[gone].to_numpy())
    moved = np.append(rows[Fate.MOVER_MANAGER], position("mover"))
    leading = np.setdiff1d(ids.get_indexer(people["manager"].dropna().unique()), [-1, *rows[Fate.LEAVER_GONE]])
    at = np.searchsorted(leading, ids.get_indexer(people["manager"].iloc[moved]))
    step = 1 + draw("new manager", moved, len(leading) - 1, seed=seed)
    _set(people, moved, "manager", ids[leading[(at + step) % len(leading)]].to_numpy())


def _change_cells(people: pd.DataFrame, rows: dict[Fate, Ints], *, seed: int) -> None:
    """Everything that is one new value in one column."""
    _set(people, rows[Fate.LEAVER_TERMINATED], "status", "terminated")
    _set(people, rows[Fate.REHIRED], "status", "active")
    _set(people, rows[Fate.LEFT_SCOPE], "employeeType", "contractor")
    _set(people, rows[Fate.ENTERED_SCOPE], "employeeType", "employee")
    _set(people, rows[Fate.TITLE_CLEARED], "jobTitle", None)
    bride = rows[Fate.RENAMED]
    for column, value in {
        "surname": "O'Brien-Ångström",
        "userPrincipalName": "siobhan.o'brien-angstrom@example.com",
        "mail": "Siobhan.O'Brien-Angstrom@example.com",
    }.items():
        _set(people, bride, column, value)


def _join(people: pd.DataFrame, rows: dict[Fate, Ints], *, seed: int) -> pd.DataFrame:
    """Rows of the joiners. The first is the manager some already have; the others get managers who stay."""
    size = len(people)
    numbers = size + np.arange(_scaled(_PER_THOUSAND[Fate.JOINER], size))
    names = draw_names(numbers, seed=seed)
    ids = pd.Index(people["employeeId"])
    leading = np.setdiff1d(ids.get_indexer(people["manager"].dropna().unique()), [-1, *rows[Fate.LEAVER_GONE]])
    # The two of the cycle lead each other and nobody else.
    leading = np.setdiff1d(leading, [position("cycle_one"), position("cycle_two")])
    leading = leading[people["department"].iloc[leading].isin(DEPARTMENTS).to_numpy()]
    above = people.iloc[leading[draw("joiner manager", numbers, len(leading), seed=seed)]]
    domain_of = dict(zip(COMPANIES, MAIL_DOMAINS, strict=True))
    taken = set(people["userPrincipalName"].str.lower())
    principals = []
    for local, company in zip(names.local.to_pylist(), above["company"], strict=True):
        number, principal = 1, f"{local}@{domain_of[company]}"
        while principal in taken:
            number, principal = number + 1, f"{local}{number + 1}@{domain_of[company]}"
        taken.add(principal)
        principals.append(principal)
    joiners = pd.DataFrame(
        {
            "employeeId": employee_ids(numbers, size),
            "userPrincipalName": principals,
            "mail": principals,
            "givenName": pd.Series(names.given, dtype="str"),
            "surname": pd.Series(names.surname, dtype="str"),
            "displayName": pd.Series(names.display, dtype="str"),
            "jobTitle": [f"Associate, {name}" for name in above["department"]],
            "department": above["department"].to_numpy(),
            "company": above["company"].to_numpy(),
            "country": pd.Series(names.country, dtype="str"),
            "city": pd.Series(names.city, dtype="str"),
            "manager": above["employeeId"].to_numpy(),
            "startDate": "2026-06-01",
            "employeeType": "employee",
            "status": "active",
        },
        dtype="str",
    )
    first = {"userPrincipalName": "ingrid.solberg@example.com", "mail": "ingrid.solberg@example.com"}
    first |= {"givenName": "Ingrid", "surname": "Solberg", "jobTitle": "Head of Research & Development"}
    first |= {"department": "Research & Development", "company": COMPANIES[0], "country": "NO", "city": "Oslo"}
    for column, value in first.items():
        joiners.loc[0, column] = value
    joiners.loc[0, "displayName"] = np.nan
    return joiners


def _regroup(
    first: Export, following: pd.DataFrame, fates: dict[Fate, list[str]], *, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, dict[GroupFate, list[str]]]:
    """Groups and memberships of the second export, and the fates of groups."""
    last = first.groups["id"].iloc[-1]
    renamed, changed = first.groups["id"].iloc[-_RENAMED_TEAM], first.groups["id"].iloc[-_CHANGED_TEAM]
    new = f"G{len(first.groups) + 1:0{len(last) - 1}d}"
    groups = first.groups.copy()
    groups.loc[groups["id"] == renamed, "name"] = "Prosumer Panel"
    groups.loc[len(groups)] = [new, "Hydrogen Pilot \U0001f4a7", "New this quarter"]

    edges = first.members
    ending = {Fate.LEAVER_GONE, Fate.LEAVER_TERMINATED, Fate.LEFT_SCOPE}
    ended = [person for fate in ending for person in fates[fate]]
    by_department = first.groups["id"][first.groups["name"].isin([department_group(name) for name in DEPARTMENTS])]
    moved = fates[Fate.MOVER_DEPARTMENT]
    edges = edges[
        ~_among(edges["member"], ended) & ~(_among(edges["member"], moved) & _among(edges["group"], by_department))
    ]
    edges = edges.drop(index=edges.index[edges["group"] == last][1:])
    id_of = dict(zip(first.groups["name"], first.groups["id"], strict=True))
    people = following.set_index("employeeId")
    arrivals = people.loc[[*moved, *fates[Fate.JOINER]], "department"]
    added = [(id_of.get(department_group(name)), person) for person, name in arrivals.items()]
    companies = people.loc[fates[Fate.JOINER], "company"]
    added += [(id_of.get(f"Everyone at {name}"), person) for person, name in companies.items()]

    affected = [person for fate, chosen in fates.items() if fate is not Fate.UNCHANGED for person in chosen]
    calm = following["employeeId"][
        (following["employeeType"] == "employee")
        & (following["status"] == "active")
        & ~_among(following["employeeId"], affected)
    ]
    newcomers = calm.iloc[np.argsort(draw("newcomer", len(calm), 2**62, seed=seed), kind="stable")[:20]]
    added += [(new, person) for person in newcomers[:15]] + [(changed, person) for person in newcomers[15:]]
    of_changed = edges[(edges["group"] == changed) & _among(edges["member"], calm)]
    edges = edges.drop(index=of_changed.index[:3])
    more = pd.DataFrame([edge for edge in added if edge[0] is not None], columns=["group", "member"], dtype="str")
    members = pd.concat([edges, more]).drop_duplicates().sort_values(["group", "member"], ignore_index=True)
    return (
        groups,
        members,
        {
            GroupFate.RENAMED: [renamed],
            GroupFate.NEW: [new],
            GroupFate.SHRUNK: [last],
            GroupFate.MEMBERS_CHANGED: [changed],
        },
    )


def _cast(first: Export, joiners: pd.DataFrame) -> list[dict[str, str]]:
    """One person of each fate, in the order of the story."""

    def entry(employee_id: str, name: str, fate: Fate) -> dict[str, str]:
        return {"employeeId": employee_id, "name": name, "fate": fate, "story": STORIES[fate]}

    cast = {Fate.JOINER: entry(joiners["employeeId"].iloc[0], "Ingrid Solberg", Fate.JOINER)}
    for person in CAST:
        fate = _CAST_FATES[person.key]
        employee_id = first.people["employeeId"].iloc[position(person.key)]
        cast[fate] = entry(employee_id, f"{person.given} {person.surname}", fate)
    return [cast[fate] for fate in STORIES]
