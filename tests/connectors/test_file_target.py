"""Files as a target, in every format; what is there is read back without our code."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.contract import Action, Kind, Status, Wanted
from connectors.csv.target import SYSTEM, FileTargetSettings
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

    monkeypatch.setattr("connectors.csv.target.os.fsync", full)
    with pytest.raises(SettingsError, match="No space left"):
        target.apply([change(Action.CREATE, id="p2", name="B")], lambda outcome: None)
    target.close()
    assert (tmp_path / "people.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv"]


def test_it_is_in_the_registry() -> None:
    """A job names it like any other target."""
    assert find("csv").target_settings is FileTargetSettings
