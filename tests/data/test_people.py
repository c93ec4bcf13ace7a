"""The HR export generator: what every export holds, and that the shipped demo data come from it."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from tests.data.events import derive_next
from tests.data.export import PEOPLE_COLUMNS, Export, Format
from tests.data.fixed_people import FIXED_PEOPLE, LONG_NAME, SMALLEST_EXPORT, position
from tests.data.names import CULTURES, romanised
from tests.data.people import draw, employee_ids, generate, main

DEMO = Path(__file__).parents[2] / "flows" / "jobs" / "hr-to-scim"


@pytest.fixture(scope="module")
def demo() -> Export:
    return generate(people=1000, groups=40)


@pytest.fixture(scope="module")
def large() -> Export:
    return generate(people=20_000, groups=200)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_shipped_demo_data_are_what_the_generator_makes(tmp_path: Path) -> None:
    """The demo data are never edited by hand: the documented command gives them again, byte for byte."""
    main(["--people", "1000", "--groups", "40", "--out", str(tmp_path), "--next"])
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    shipped = {path.relative_to(DEMO): path.read_bytes() for path in DEMO.rglob("*.*")}
    assert sorted(made) == sorted(shipped)
    assert len(made) == 7
    for path, content in made.items():
        assert content == shipped[path], f"{path} differs: make the demo data again and look at the difference"
    assert sum(map(len, shipped.values())) < 600_000


def test_draws_never_change() -> None:
    """Values depend on seed, purpose and row alone, so no library version can change the shipped data."""
    assert draw("given", 4, 1000, seed=7).tolist() == [786, 105, 638, 274]
    assert draw("given", np.array([3, 1]), 1000, seed=7).tolist() == [274, 105]


def test_another_seed_gives_other_people_but_the_same_fixed_ones(demo: Export) -> None:
    """A seed decides everything except the fixed people's names."""
    other = generate(people=1000, groups=40, seed=8)
    fixed = [position(person.key) for person in FIXED_PEOPLE]
    names = ["givenName", "surname", "userPrincipalName"]
    pd.testing.assert_frame_equal(other.people[names].iloc[fixed], demo.people[names].iloc[fixed])
    assert (other.people["givenName"] != demo.people["givenName"]).mean() > 0.8


@pytest.mark.parametrize("size", ["demo", "large"])
def test_keys_and_sign_in_names_are_unique(size: str, request: pytest.FixtureRequest) -> None:
    """A target that compares user names without case accepts everybody; keys keep leading zeros."""
    people = request.getfixturevalue(size).people
    assert list(people.columns) == list(PEOPLE_COLUMNS)
    assert people["employeeId"].is_unique
    assert people["employeeId"].str.startswith("00").all()
    assert people["userPrincipalName"].str.lower().is_unique
    assert people["userPrincipalName"].str.fullmatch(r"[a-z0-9'.-]+@([a-z]+\.)+[a-z]+").all()
    mail = people["mail"].dropna()
    assert mail.str.fullmatch(r"[A-Za-z0-9'.%+-]+@[A-Za-z.]+").all()
    assert 0.9 < len(mail) / len(people) < 1


def test_fixed_sign_in_names_cannot_be_generated() -> None:
    """A fixed person never takes a generated person's sign-in name, whatever the seed and the size."""
    fixed = {person.local.rstrip("0123456789") for person in FIXED_PEOPLE}
    for culture in CULTURES:
        given = [word.partition("=")[2] or romanised(word) for word in culture.given.split()]
        surnames = [word.partition("=")[2] or romanised(word) for word in culture.surnames.split()]
        assert fixed.isdisjoint(f"{a}.{b}" for a in given for b in surnames)


@pytest.mark.parametrize("size", ["demo", "large"])
def test_managers_form_a_tree(size: str, request: pytest.FixtureRequest) -> None:
    """Six to eight levels below the roots, one pair who manage each other, one manager who is not there yet."""
    people = request.getfixturevalue(size).people
    named = [None if pd.isna(manager) else manager for manager in people["manager"]]
    manager = dict(zip(people["employeeId"], named, strict=True))
    pair = {people["employeeId"].iloc[position(key)] for key in ("cycle_one", "cycle_two")}
    assert {manager[person] for person in pair} == pair
    unknown = {person for person in manager.values() if person is not None and person not in manager}
    assert unknown == set(employee_ids([len(people)], len(people)))

    depths: Counter[int] = Counter()
    for person in manager.keys() - pair:
        depth, above = 1, manager[person]
        while above is not None and above not in unknown:
            assert above not in pair
            depth, above = depth + 1, manager[above]
            assert depth < 20, "the managers go round in circles"
        depths[depth] += 1
    assert 6 <= max(depths) <= 8
    assert 5 <= depths[1] <= 8


def test_a_person_who_leads_has_an_account(demo: Export) -> None:
    """Every reference in the demo can be resolved, but for the one that heals: leaders are employees at work."""
    people = demo.people.set_index("employeeId")
    leaders = people.loc[people.index.intersection(people["manager"].dropna())]
    assert set(leaders["employeeType"]) == {"employee"}
    assert set(leaders["status"]) <= {"active", "leave"}


def test_fixed_people_survive_the_file(demo: Export, tmp_path: Path) -> None:
    """Quotes, backslashes, commas, newlines and every script come back from the CSV file as they went in."""
    demo.write(tmp_path)
    rows = rows_of(tmp_path / "people.csv")
    assert len(rows) == 1000
    for person in FIXED_PEOPLE:
        row = rows[position(person.key)]
        assert (row["givenName"], row["surname"], row["displayName"]) == (
            person.given,
            person.surname or "",
            person.display or "",
        )
        for column, value in person.other.items():
            if value is None or value[:1] != "@":
                assert row[column] == (value or "")
    assert len(LONG_NAME) == 300
    assert "\n" in rows[position("newline")]["jobTitle"]


def test_formats_hold_the_same(demo: Export, tmp_path: Path) -> None:
    """CSV, Parquet and JSON Lines are three spellings of one export."""
    for file_format in Format:
        demo.write(tmp_path, file_format)
    for name in ("people", "groups", "members"):
        from_csv = rows_of(tmp_path / f"{name}.csv")
        lines = (tmp_path / f"{name}.jsonl").read_bytes().splitlines()
        assert [{k: v for k, v in row.items() if v} for row in from_csv] == [orjson.loads(line) for line in lines]
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(demo, name))


@pytest.mark.parametrize("size", ["demo", "large"])
def test_memberships_refer_to_groups_and_people(size: str, request: pytest.FixtureRequest) -> None:
    """No edge is there twice or leads nowhere; no group of the first export is empty."""
    export = request.getfixturevalue(size)
    assert not export.members.duplicated().any()
    assert set(export.members["group"]) == set(export.groups["id"])
    assert set(export.members["member"]) <= set(export.people["employeeId"])
    assert export.groups["name"].str.lower().is_unique


@pytest.mark.parametrize("people", [1, 2, 30, 400])
def test_small_exports_can_be_made_without_the_fixed_people(people: int) -> None:
    """Any size works for tests that need few people; the fixed ones need room."""
    export = generate(people=people, groups=3, plain=True)
    assert len(export.people) == people
    assert export.people["manager"].isna().any()
    with pytest.raises(ValueError, match=str(SMALLEST_EXPORT)):
        generate(people=people, groups=3)


def test_large_exports_get_a_next_one_too(large: Export) -> None:
    """The number of events grows with the export, and the second is as sound as the first."""
    following, events = derive_next(large)
    assert len(events.people["joiner"]) == 500
    assert following.people["employeeId"].is_unique
    assert following.people["userPrincipalName"].str.lower().is_unique
    assert not following.members.duplicated().any()
    assert set(following.members["member"]) <= set(following.people["employeeId"])
    assert set(following.people["manager"].dropna()) <= set(following.people["employeeId"])
