"""Files as a target, in every format; what is there is read back without our code."""

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.contract import Action, Kind, Status, Wanted
from connectors.csv.target import SYSTEM, Drop, FileTargetSettings, State
from connectors.errors import ErrorCode, SettingsError
from connectors.kit import KitTarget
from connectors.registry import find
from tests.connectors import nasty
from tests.connectors.clocks import FakeClock
from tests.contract.bench import apply, change

WANTED = Wanted(("id", "name", "mail", "provisor:active"), ("id", "title"))


def read_file(path: Path) -> list[dict[str, Any]]:
    """A file by other code than ours."""
    match path.suffix:
        case ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        case ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        case ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        case _:
            return pq.read_table(path).to_pylist()


@pytest.fixture(params=["csv", "json", "jsonl", "parquet"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def target(tmp_path: Path, suffix: str) -> Iterator[KitTarget]:
    opened = open_files(tmp_path, suffix)
    yield opened
    opened.close()


def open_files(folder: Path, suffix: str, **more: Any) -> KitTarget:
    sections = {
        "users": {
            "path": f"people.{suffix}",
            "key": "id",
            "columns": ["id", "name", "mail", "status"],
            "enabled": {"column": "status", "on": "A", "off": "X"},
        },
        "groups": {"path": f"teams.{suffix}", "key": "id", "columns": ["id", "title"]},
        "members": {"path": f"seats.{suffix}", "group": "team", "member": "person"},
    }
    settings = FileTargetSettings.model_validate({**sections, **more})
    return KitTarget(SYSTEM, settings, folder=folder, clock=FakeClock())


def test_a_whole_life(target: KitTarget, tmp_path: Path, suffix: str) -> None:
    """Created, changed, switched off, put into a team and taken out, deleted; the files say so."""
    people = [change(Action.CREATE, id=f"p{n}", name=f"User {n}", **{"provisor:active": True}) for n in range(20)]
    assert {outcome.status for outcome in apply(target, *people)} == {Status.DONE}
    (team,) = apply(target, change(Action.CREATE, kind=Kind.GROUP, id="t1", title="Sales"))
    joined = change(Action.ADD_MEMBERS, team.target_id, kind=Kind.GROUP, members=["p1", "p2", "ghost"])
    (partly,) = apply(target, joined)
    assert (partly.status, list(partly.refused)) == (Status.PARTLY, ["ghost"])
    apply(target, change(Action.REMOVE_MEMBERS, "t1", kind=Kind.GROUP, members=["p1"]))
    apply(target, change(Action.DISABLE, "p3", **{"provisor:active": False}))
    apply(target, change(Action.UPDATE, "p4", mail="a@b.c"), change(Action.DELETE, "p5"), change(Action.DELETE, "p5"))
    held = {row["id"]: row for row in read_file(tmp_path / f"people.{suffix}")}
    assert len(held) == 19
    assert (held["p3"]["status"], held["p4"]["mail"], held["p4"]["status"]) == ("X", "a@b.c", "A")
    assert read_file(tmp_path / f"seats.{suffix}") == [{"team": "t1", "person": "p2"}]
    snapshot = target.read(WANTED)
    assert snapshot.complete
    assert snapshot.users.loc["p3", "provisor:active"] == False  # noqa: E712
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nasty_values(target: KitTarget) -> None:
    """What goes in comes out, in every format."""
    texts = [text for person in nasty.PEOPLE for text in person if text]
    apply(target, *(change(Action.CREATE, id=f"p{n}", name=text) for n, text in enumerate(texts)))
    held = target.read(WANTED).users["name"]
    assert [held[f"p{n}"] for n in range(len(texts))] == texts


def test_a_key_that_is_taken_or_missing(target: KitTarget) -> None:
    """Refused with its column; the others are written."""
    outcomes = apply(
        target,
        change(Action.CREATE, id="p1", name="A"),
        change(Action.CREATE, id="p1", name="B"),
        change(Action.CREATE, name="C"),
        change(Action.UPDATE, "p9", name="D"),
    )
    codes = [outcome.code for outcome in outcomes]
    assert codes == [None, ErrorCode.CONFLICT, ErrorCode.MISSING_VALUES, ErrorCode.INVALID_ANCHOR]


def test_changes_only(tmp_path: Path) -> None:
    """Each load leaves one more file with what was done, and nothing of what was refused."""
    target = open_files(tmp_path, "csv", changes="drop")
    apply(target, change(Action.CREATE, id="p1", name="A"), change(Action.UPDATE, "p9", name="D"))
    apply(target, change(Action.UPDATE, "p1", name="B"))
    target.close()
    files = sorted((tmp_path / "drop").iterdir())
    assert [path.name for path in files] == ["000001.jsonl", "000002.jsonl"]
    assert [row["action"] for path in files for row in read_file(path)] == ["create", "update"]


def test_a_reader_never_sees_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old file as it was, and nothing beside it."""
    target = open_files(tmp_path, "csv")
    apply(target, change(Action.CREATE, id="p1", name="A"))
    before = (tmp_path / "people.csv").read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("connectors.csv.drop_files.os.fsync", full)
    with pytest.raises(SettingsError, match="No space left"):
        target.apply([change(Action.CREATE, id="p2", name="B")], lambda outcome: None)
    target.close()
    assert (tmp_path / "people.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv"]


def test_it_is_in_the_registry() -> None:
    """A job names it like any other target."""
    assert find("csv").target_settings is FileTargetSettings


MANAGED = {"id": "p1", "name": "One", "mail": "", "status": "A", "age": 7, "vip": False, "score": 2.5}
OTHERS = {"id": "root", "name": "Root", "mail": None, "status": "A", "age": 41, "vip": True, "score": None}
DEEP = {"tags": ["a", "b"], "home": {"city": "Bern"}}


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_what_nobody_changes_stays_as_it_is(tmp_path: Path, suffix: str) -> None:
    """Rows of others, and values that are not mapped, keep their types; a new value gets the type of its column."""
    rows = [{**OTHERS, **DEEP}, {**MANAGED, **DEEP}]
    path = tmp_path / f"people.{suffix}"
    match suffix:
        case "json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case _:
            pq.write_table(pa.Table.from_pylist(rows), path)
    target = open_files(tmp_path, suffix)
    apply(target, change(Action.UPDATE, "p1", name="Uno", age="8", vip="true"))
    target.close()
    assert read_file(path) == [rows[0], {**rows[1], "name": "Uno", "age": 8, "vip": True}]


def test_columns_of_memberships_that_nobody_maps_stay(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name,mail,status\np1,,,A\np2,,,A\n", encoding="utf-8")
    (tmp_path / "teams.csv").write_text("id,title\nt1,Sales\n", encoding="utf-8")
    (tmp_path / "seats.csv").write_text("team,since,person\nt1,2020,p1\n,1999,p9\n", encoding="utf-8")
    target = open_files(tmp_path, "csv")
    apply(target, change(Action.ADD_MEMBERS, "t1", kind=Kind.GROUP, members=["p1", "p2"]))
    target.close()
    assert read_file(tmp_path / "seats.csv") == [
        {"team": "t1", "since": "2020", "person": "p1"},
        {"team": "t1", "since": "", "person": "p2"},
        {"team": "", "since": "1999", "person": "p9"},
    ]


def test_a_link_leads_on_to_the_file_and_permissions_stay(tmp_path: Path) -> None:
    """The app reads the file behind the link; and what only it may read, nobody else may read afterwards."""
    (tmp_path / "app").mkdir()
    real = tmp_path / "app" / "real.csv"
    real.write_text("id,name,mail,status\np1,One,,A\n", encoding="utf-8")
    real.chmod(0o600)
    (tmp_path / "people.csv").symlink_to(real)
    target = open_files(tmp_path, "csv")
    apply(target, change(Action.DISABLE, "p1", **{"provisor:active": False}))
    target.close()
    assert (tmp_path / "people.csv").is_symlink()
    assert [row["status"] for row in read_file(real)] == ["X"]
    assert real.stat().st_mode & 0o777 == 0o600


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    """Each reads what the other has written: otherwise somebody who is told as switched off would be on again."""
    count = 40
    (tmp_path / "people.csv").write_text(
        "id,name,mail,status\n" + "".join(f"p{n},,,A\n" for n in range(count)), encoding="utf-8"
    )

    def switch_off(begin: int) -> None:
        target = open_files(tmp_path, "csv")
        for number in range(begin, count, 2):
            (outcome,) = apply(target, change(Action.DISABLE, f"p{number}", **{"provisor:active": False}))
            assert outcome.status is Status.DONE
        target.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(switch_off, range(2)))
    assert {row["status"] for row in read_file(tmp_path / "people.csv")} == {"X"}


def test_nothing_is_written_over_what_was_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who asks for no lock writes between our look and our write: their row is there afterwards."""
    path = tmp_path / "people.csv"
    path.write_text("id,name,mail,status\np1,,,A\n", encoding="utf-8")
    once = iter([True])

    def reading(drop: Drop) -> State:
        state = read(drop)
        if next(once, False):
            path.write_text("id,name,mail,status\np1,,,A\np2,Two,,A\n", encoding="utf-8")
        return state

    target = open_files(tmp_path, "csv")
    target.read(WANTED)
    read = Drop.read
    monkeypatch.setattr(Drop, "read", reading)
    apply(target, change(Action.DISABLE, "p1", **{"provisor:active": False}))
    target.close()
    assert [(row["id"], row["status"]) for row in read_file(path)] == [("p1", "X"), ("p2", "A")]


def test_keys_that_differ_in_case_alone_are_two_people(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name,mail,status\nss,,,A\nSS,,,A\n", encoding="utf-8")
    target = open_files(tmp_path, "csv")
    assert list(target.fetch(Kind.USER, ["ss"], WANTED).users.index) == ["ss"]
    target.close()


def test_cells_without_a_column_are_not_lost(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name,mail,status\np1,,,A,more\n", encoding="utf-8")
    target = open_files(tmp_path, "csv")
    with pytest.raises(SettingsError, match=r"people\.csv has more cells than columns in its row 1"):
        apply(target, change(Action.UPDATE, "p1", name="Uno"))
    target.close()
