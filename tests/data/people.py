"""Makes an HR export of any size: people in a management tree, groups and memberships; the same seed, the same bytes.

    python -m tests.data.people --people 1000000 --groups 1000 --out FOLDER [--seed 7] [--format csv] [--next]

``--next`` also writes the export of a later day into ``FOLDER/next``, with the events between the two in
``FOLDER/events.json`` (tests/data/events.py). An export of ``SMALLEST_EXPORT`` people or more contains the people of
tests/data/fixed_people.py; ``--plain`` leaves them out.

Every value is a function of seed, purpose and row number (no random generator whose stream could change between
versions of a library), and is computed for whole columns: a million people take seconds.
"""

import argparse
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tests.data.export import Export, Format
from tests.data.fixed_people import FIRST_POSITION, FIXED_PEOPLE, GROUP_NAMES, SMALLEST_EXPORT, STEP, position
from tests.data.names import (
    CITIES,
    COMPANIES,
    CULTURES,
    DEPARTMENTS,
    MAIL_DOMAINS,
    PLACES,
    TEAMS,
    TITLES,
    romanised,
)

Ints = npt.NDArray[np.int64]

DEFAULT_SEED = 7
SMALL_TEAM_SIZE = 12
"""Members of the last team, whatever the size of the export: small enough to lose most of them below any minimum."""
_ALL_DEPARTMENTS = (*DEPARTMENTS, "Executive Office")
_FIRST_START_DATE = np.datetime64("2004-01-05")
_DAYS_OF_HIRING = 8150


def draw(purpose: str, rows: Ints | int, below: Ints | int, *, seed: int) -> Ints:
    """For each row number a whole number from 0 to ``below`` - 1, evenly spread and fixed for ever.

    ``rows`` is the row numbers, or how many rows from 0. Source: the finaliser of SplitMix64 (public domain).
    """
    numbers = np.arange(rows) if isinstance(rows, int) else rows
    key = np.uint64(((zlib.crc32(purpose.encode()) << 20) + seed) * 0xD1B54A32D192ED03 % 2**64)
    bits = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) % np.asarray(below, dtype=np.uint64)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Lists:
    """Word lists laid end to end, so that "word ``j`` of list ``i``" is one index."""

    words: pa.Array
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, lists: list[list[str]]) -> "Lists":
        sizes = np.array([len(words) for words in lists])
        return cls(pa.array([word for words in lists for word in words]), np.cumsum(sizes) - sizes, sizes)

    def take(self, which: Ints, word: Ints) -> pa.Array:
        return self.words.take(pa.array(self.starts[which] + word))


@dataclass(frozen=True, slots=True)
class Names:
    """What somebody is called and where they work, one array element per person."""

    given: pa.Array
    surname: pa.Array
    display: pa.Array
    """Null where given name and surname in this order are good enough."""
    local: pa.Array
    """given.surname in lower-case ASCII; not unique."""
    country: pa.Array
    city: pa.Array


@cache
def _name_lists() -> tuple[Lists, Lists, Lists, Lists]:
    """Given names, their romanised forms, surnames and theirs; by culture."""

    def native(text: str) -> list[str]:
        return [word.partition("=")[0].replace("_", " ") for word in text.split()]

    def roman(text: str) -> list[str]:
        return [word.partition("=")[2] or romanised(word) for word in text.split()]

    return (
        Lists.of([native(culture.given) for culture in CULTURES]),
        Lists.of([roman(culture.given) for culture in CULTURES]),
        Lists.of([native(culture.surnames) for culture in CULTURES]),
        Lists.of([roman(culture.surnames) for culture in CULTURES]),
    )


def draw_names(rows: Ints, *, seed: int) -> Names:
    """Names for these row numbers."""
    given_names, given_roman, surnames, surnames_roman = _name_lists()
    weights = np.repeat(np.arange(len(CULTURES)), given_names.sizes)
    culture = weights[draw("culture", rows, len(weights), seed=seed)]
    which_given = draw("given", rows, given_names.sizes[culture], seed=seed)
    which_surname = draw("surname", rows, surnames.sizes[culture], seed=seed)
    given, surname = given_names.take(culture, which_given), surnames.take(culture, which_surname)

    between = np.array([culture.surname_first for culture in CULTURES], dtype=object)[culture]
    catalogued = (between == None) & (draw("comma", rows, 12, seed=seed) == 0)  # noqa: E711 - element by element
    between[catalogued] = ", "
    display = pc.binary_join_element_wise(surname, given, pa.array(between, pa.string()))

    countries = sorted(CITIES)
    homes = Lists.of([culture.countries.split() for culture in CULTURES])
    code = {country: number for number, country in enumerate(countries)}
    home_codes = np.array([code[country] for country in homes.words.to_pylist()])
    home = home_codes[homes.starts[culture] + draw("home", rows, homes.sizes[culture], seed=seed)]
    abroad = draw("abroad", rows, 6, seed=seed) == 0
    country = np.where(abroad, draw("country", rows, len(countries), seed=seed), home)
    cities = Lists.of([[city.replace("_", " ") for city in CITIES[country].split()] for country in countries])
    return Names(
        given=given,
        surname=surname,
        display=display,
        local=pc.binary_join_element_wise(
            given_roman.take(culture, which_given), surnames_roman.take(culture, which_surname), "."
        ),
        country=pa.array(countries).take(pa.array(country)),
        city=cities.take(country, draw("city", rows, cities.sizes[country], seed=seed)),
    )


@dataclass(frozen=True, slots=True)
class Tree:
    """The management tree, one array element per person in level order: the roots come first."""

    level: Ints
    manager: Ints
    """Index of the manager; -1 for roots."""
    company: Ints
    department: Ints
    """The last one, which is no other's, for roots."""


def grow_tree(size: int, *, seed: int) -> Tree:
    """A tree with one root per company and as many levels as there are kinds of job titles, each wider by one ratio."""
    roots = min(len(COMPANIES), max(1, size // 20))
    bounds = _level_bounds(size, roots)
    level = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    manager, company, department = np.full(size, -1), np.arange(size) % len(COMPANIES), np.full(size, len(DEPARTMENTS))
    for start, below, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
        rows = np.arange(below, end)
        # Companies start out equal; further down, chance makes large and small teams.
        above = start + (rows % roots if start == 0 else draw("manager", rows, below - start, seed=seed))
        stays = (department[above] < len(DEPARTMENTS)) & (draw("same department", rows, 10, seed=seed) > 0)
        manager[rows] = above
        company[rows] = company[above]
        department[rows] = np.where(stays, department[above], draw("department", rows, len(DEPARTMENTS), seed=seed))
    return Tree(level=level, manager=manager, company=company, department=department)


def _level_bounds(size: int, roots: int) -> list[int]:
    """Where each level begins, and the size; levels that would be empty are left out."""
    low, high = 1.0, float(size + 1)
    for _ in range(80):
        ratio = (low + high) / 2
        total = sum(roots * ratio**level for level in range(len(TITLES)))
        low, high = (ratio, high) if total < size else (low, ratio)
    widths = [max(1, round(roots * low**level)) for level in range(len(TITLES) - 1)]
    bounds = [0]
    for width in widths:
        if bounds[-1] + width < size:
            bounds.append(bounds[-1] + width)
    return [*bounds, size]


def employee_ids(positions: Ints | list[int], people: int) -> list[str]:
    """Keys of the people in these rows of an export of this size, with leading zeros."""
    width = max(6, len(str(people)) + 2)
    return [f"{number + 1:0{width}d}" for number in positions]


def generate(*, people: int, groups: int, seed: int = DEFAULT_SEED, plain: bool = False) -> Export:
    """The first day's export. Raises: ValueError when the fixed people do not fit in."""
    if not plain and people < SMALLEST_EXPORT:
        raise ValueError(f"An export with the fixed people needs at least {SMALLEST_EXPORT} people; or leave them out.")
    frame = _generate_people(people, fixed=0 if plain else len(FIXED_PEOPLE), seed=seed)
    if not plain:
        _put_in_fixed_people(frame)
    group_frame = _generate_groups(groups)
    return Export(people=frame, groups=group_frame, members=_generate_members(frame, group_frame, seed=seed))


def _generate_people(people: int, *, fixed: int, seed: int) -> pd.DataFrame:
    """Everybody in file order; the rows of fixed people get places at the foot of the tree, where nobody reports."""
    tree = grow_tree(people, seed=seed)
    at = _file_positions(people, fixed, seed=seed)
    node = np.empty(people, dtype=np.int64)
    node[at] = np.arange(people)

    rows = np.arange(people)
    names = draw_names(rows, seed=seed)
    ids = pa.array(employee_ids(range(people), people))  # type: ignore[arg-type]
    manager = tree.manager[node]
    manager_id = pc.if_else(pa.array(manager >= 0), ids.take(pa.array(at[manager])), pa.scalar(None, pa.string()))
    leads = np.zeros(people, dtype=bool)
    leads[at[tree.manager[tree.manager >= 0]]] = True
    company, department = tree.company[node], tree.department[node]

    principal = pc.binary_join_element_wise(_numbered(names.local), pa.array(MAIL_DOMAINS).take(pa.array(company)), "@")
    capitals = pa.array(draw("mail capitals", rows, 4, seed=seed) == 0)
    mail = pc.if_else(capitals, pc.utf8_capitalize(principal), principal)
    has_mail = pa.array(draw("has mail", rows, 33, seed=seed) > 0)
    span = _DAYS_OF_HIRING * (rows + 1) // people
    start = (_FIRST_START_DATE + span - draw("start", rows, np.minimum(span, 20) + 1, seed=seed)).astype(str)
    # Whoever leads others is an employee with an account, so that every reference can be resolved.
    kind = draw("employee type", rows, 100, seed=seed)
    kinds = np.select([leads, kind < 8, kind < 12], ["employee", "contractor", "intern"], "employee")
    status = draw("status", rows, 100, seed=seed)
    statuses = np.select([status < 3, leads, status < 6], ["leave", "active", "terminated"], "active")
    return _text_frame(
        {
            "employeeId": ids,
            "userPrincipalName": principal,
            "mail": pc.if_else(has_mail, mail, pa.scalar(None, pa.string())),
            "givenName": names.given,
            "surname": names.surname,
            "displayName": names.display,
            "jobTitle": _titles(tree.level[node], department, rows, seed=seed),
            "department": pa.array(_ALL_DEPARTMENTS).take(pa.array(department)),
            "company": pa.array(COMPANIES).take(pa.array(company)),
            "country": names.country,
            "city": names.city,
            "manager": manager_id,
            "startDate": pa.array(start),
            "employeeType": pa.array(kinds),
            "status": pa.array(statuses),
        }
    )


def _file_positions(people: int, fixed: int, *, seed: int) -> Ints:
    """For each node of the tree in level order, its row in the file: shuffled, the last nodes in the fixed rows."""
    reserved = FIRST_POSITION + STEP * np.arange(fixed)
    free = np.setdiff1d(np.arange(people), reserved)
    shuffled = free[np.argsort(draw("position", len(free), 2**62, seed=seed), kind="stable")]
    return np.concatenate([shuffled, reserved])


def _titles(level: Ints, department: Ints, rows: Ints, *, seed: int) -> pa.Array:
    lists = Lists.of([[title.format(name) for title in titles] for titles in TITLES for name in _ALL_DEPARTMENTS])
    which = level * len(_ALL_DEPARTMENTS) + department
    return lists.take(which, draw("title", rows, lists.sizes[which], seed=seed))


def _numbered(locals_: pa.Array) -> pa.Array:
    """The same with 2, 3, ... appended to all but the first of equal ones."""
    codes = pd.Series(pc.dictionary_encode(locals_).indices.to_numpy())
    nth = codes.groupby(codes).cumcount().to_numpy()
    suffix = pc.if_else(pa.array(nth > 0), pa.array(nth + 1).cast(pa.string()), "")
    return pc.binary_join_element_wise(locals_, suffix, "")


def _put_in_fixed_people(frame: pd.DataFrame) -> None:
    rows = [FIRST_POSITION + STEP * k for k in range(len(FIXED_PEOPLE))]
    ids = frame["employeeId"]
    cells: dict[str, list[str | None]] = {
        "userPrincipalName": [f"{person.local}@example.com" for person in FIXED_PEOPLE],
        "mail": [person.other.get("mail", f"{person.local}@example.com") for person in FIXED_PEOPLE],
        "givenName": [person.given for person in FIXED_PEOPLE],
        "surname": [person.surname for person in FIXED_PEOPLE],
        "displayName": [person.display for person in FIXED_PEOPLE],
        "company": [COMPANIES[0]] * len(rows),
        "employeeType": [person.other.get("employeeType", "employee") for person in FIXED_PEOPLE],
        "status": [person.other.get("status", "active") for person in FIXED_PEOPLE],
    }
    for column in ("jobTitle", "department", "country", "city", "manager"):
        was = frame[column].iloc[rows]
        cells[column] = [
            person.other.get(column, None if pd.isna(value) else value)
            for person, value in zip(FIXED_PEOPLE, was, strict=True)
        ]
    next_joiner = employee_ids([len(frame)], len(frame))[0]
    cells["manager"] = [
        next_joiner if value == "@next" else str(ids.iloc[position(value[1:])]) if value and value[0] == "@" else value
        for value in cells["manager"]
    ]
    for column, values in cells.items():
        series = frame[column].copy()
        series.iloc[rows] = values
        frame[column] = series


def department_group(department: str) -> str:
    """Name of the group that everybody in the department belongs to."""
    return f"Department {department}"


def _generate_groups(groups: int) -> pd.DataFrame:
    """Departments, then companies, then teams, as far as the number goes; the first teams have the nasty names."""
    standing = [(department_group(name), f"Everybody in {name}") for name in DEPARTMENTS]
    standing += [(f"Everyone at {name}", "Kept by HR") for name in COMPANIES]
    teams = [(name, None) for name in GROUP_NAMES]
    for number in range(max(0, groups - len(standing) - len(teams))):
        place, turn = PLACES[number // len(TEAMS) % len(PLACES)], number // (len(TEAMS) * len(PLACES))
        name = f"{TEAMS[number % len(TEAMS)]} {place}{f' {turn + 1}' if turn else ''}"
        teams.append((name, f"Project team, {place}"))
    rows = [*standing, *teams][:groups]
    width = max(4, len(str(groups)) + 1)
    return _text_frame(
        {
            "id": pa.array([f"G{number + 1:0{width}d}" for number in range(len(rows))]),
            "name": pa.array([name for name, _ in rows]),
            "description": pa.array([description for _, description in rows], pa.string()),
        }
    )


def _generate_members(people: pd.DataFrame, groups: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Everybody in their department and company; half as many team memberships as people, in teams of many sizes."""
    size, standing = len(people), len(DEPARTMENTS) + len(COMPANIES)
    department = _codes(people["department"], DEPARTMENTS)
    company = _codes(people["company"], COMPANIES) + len(DEPARTMENTS)
    rows = np.arange(size)
    group_of = [department[department >= 0], company]
    member_of = [rows[department >= 0], rows]
    teams = len(groups) - standing
    if teams > 0:
        shares = 1.0 / (1 + np.arange(teams) % 10)
        sizes = np.maximum(3, size / 2 * shares / shares.sum()).astype(np.int64)
        sizes[-1] = 0
        group_of += [standing + np.repeat(np.arange(teams), sizes), np.full(SMALL_TEAM_SIZE, len(groups) - 1)]
        picks = draw("team member", int(sizes.sum()), size, seed=seed)
        member_of += [picks, np.arange(SMALL_TEAM_SIZE) * (size // SMALL_TEAM_SIZE)]
    edges = np.unique(np.concatenate(group_of) * size + np.concatenate(member_of))
    edges = edges[edges // size < len(groups)]
    ids = pa.array(people["employeeId"])
    return _text_frame(
        {
            "group": pa.array(groups["id"]).take(pa.array(edges // size)),
            "member": ids.take(pa.array(edges % size)),
        }
    )


def _codes(column: pd.Series, values: tuple[str, ...]) -> Ints:
    """Which of the values each element is; -1 for none."""
    return pd.Index(values, dtype="str").get_indexer(column).astype(np.int64)


def _text_frame(columns: dict[str, pa.Array]) -> pd.DataFrame:
    """A frame of text columns with NaN for null."""
    return pd.DataFrame({name: pd.Series(array, dtype="str") for name, array in columns.items()}, copy=False)


def main(arguments: list[str] | None = None) -> None:
    """Write an export, and if asked the next one, to a folder."""
    from tests.data.events import derive_next

    parser = argparse.ArgumentParser(prog="python -m tests.data.people", description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--groups", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--format", type=Format, choices=list(Format), default=Format.CSV)
    parser.add_argument("--plain", action="store_true", help="without the people of fixed_people.py")
    parser.add_argument("--next", action="store_true", help="also the export of a later day, in OUT/next")
    chosen = parser.parse_args(arguments)
    if chosen.next and chosen.plain:
        parser.error("--next needs the fixed people: leave out --plain")
    began = time.perf_counter()
    first = generate(people=chosen.people, groups=chosen.groups, seed=chosen.seed, plain=chosen.plain)
    first.write(chosen.out, chosen.format)
    if chosen.next:
        following, events = derive_next(first, seed=chosen.seed)
        following.write(chosen.out / "next", chosen.format)
        events.write(chosen.out / "events.json")
    print(f"{len(first.people)} people in {chosen.out}, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
