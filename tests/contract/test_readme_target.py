"""The target that ``connectors/README.md`` builds step by step, run against its app."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Action, Kind, Pace, Status, Wanted
from connectors.errors import CredentialsError, ErrorCode
from connectors.kit import KitTarget
from tests.connectors.clocks import FakeClock
from tests.contract.bench import apply, change
from tests.contract.desk_service import TOKEN, Desk, desk_server

README = Path(__file__).parents[2] / "connectors" / "README.md"
WANTED = Wanted(("login", "mail", "badge", "skills", "boss", "provisor:active"), ("title",))


def blocks() -> list[str]:
    """The page's Python, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    """What the page builds, word for word."""
    names: dict[str, Any] = {"__name__": "desk"}
    for number, text in enumerate(blocks(), 1):
        exec(compile(text, f"README.md, block {number}", "exec"), names)
    return names


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def target(built: dict[str, Any], desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KitTarget]:
    monkeypatch.setenv("DESK_TOKEN", TOKEN)
    with desk_server(desk) as url:
        settings = built["DeskSettings"](url=url, auth={"bearer": "${env:DESK_TOKEN}"}, page_size=3)
        opened = KitTarget(built["DESK"], settings, folder=tmp_path, pace=Pace(concurrency=4), clock=FakeClock())
        yield opened
        opened.close()


def test_it_is_small() -> None:
    """A whole target takes about 150 lines."""
    assert sum(text.count("\n") for text in blocks()) <= 160


def test_a_whole_life(target: KitTarget, desk: Desk) -> None:
    """Created, listed, changed, switched off and on, put into a team and taken out, deleted."""
    assert target.check().endswith("answers with 0 people.")
    made = apply(
        target,
        *(
            change(Action.CREATE, login=f"user{number}", badge=str(number), skills=["x", "y"], pin="1234")
            for number in range(7)
        ),
    )
    assert {outcome.status for outcome in made} == {Status.DONE}
    ids = [outcome.target_id or "" for outcome in made]
    assert {person["badge"] for person in desk.people.values()} == set(range(7))
    (team,) = apply(target, change(Action.CREATE, kind=Kind.GROUP, title="Sales"))
    joined = change(Action.ADD_MEMBERS, team.target_id, kind=Kind.GROUP, members=[*ids[:3], "p999"])
    (partly,) = apply(target, joined)
    assert (partly.status, set(partly.refused)) == (Status.PARTLY, {"p999"})
    apply(target, change(Action.DISABLE, ids[0], **{"provisor:active": False}))
    apply(target, change(Action.UPDATE, ids[1], mail="new@example.com", boss=ids[2]))
    snapshot = target.read(WANTED)
    assert snapshot.complete
    assert sorted(snapshot.users.index) == sorted(ids)
    assert snapshot.users.loc[ids[0], "provisor:active"] == False  # noqa: E712
    assert snapshot.users.loc[ids[1], ["mail", "boss"]].tolist() == ["new@example.com", ids[2]]
    assert set(snapshot.members["member"]) == set(ids[:3])
    assert list(target.find(Kind.USER, "login", ["USER3"], WANTED).index) == [ids[3]]
    (gone, again) = apply(target, change(Action.DELETE, ids[6]), change(Action.DELETE, "p999"))
    assert (gone.status, again.status) == (Status.DONE, Status.DONE)
    assert ids[6] not in desk.people


@pytest.mark.parametrize("fault", ["lost before", "lost after"])
def test_a_lost_create_is_made_once(target: KitTarget, desk: Desk, fault: str) -> None:
    """Nothing is repeated unread."""
    target.check()
    desk.faults.append(("POST", fault))
    (outcome,) = apply(target, change(Action.CREATE, login="ann"))
    assert outcome.status is Status.DONE
    assert [person["login"] for person in desk.people.values()] == ["ann"]


def test_a_conflict_names_its_attribute_and_no_value(target: KitTarget, desk: Desk) -> None:
    """The rest goes on; the value stays out of the message."""
    desk.create("people", {"login": "secretname"})
    taken, fine = apply(target, change(Action.CREATE, login="SecretName"), change(Action.CREATE, login="bob"))
    assert (taken.code, list(taken.refused), fine.status) == (ErrorCode.CONFLICT, ["login"], Status.DONE)
    assert "secretname" not in taken.message.lower()


def test_a_wrong_token_stops(
    built: dict[str, Any], desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, and the error says what to check."""
    monkeypatch.setenv("DESK_TOKEN", "wrong")
    with desk_server(desk) as url:
        settings = built["DeskSettings"](url=url, auth={"bearer": "${env:DESK_TOKEN}"})
        opened = KitTarget(built["DESK"], settings, folder=tmp_path)
        with pytest.raises(CredentialsError):
            opened.check()
        opened.close()
