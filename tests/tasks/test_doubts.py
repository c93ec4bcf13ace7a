"""Files in which a spreadsheet has changed keys prove nobody's absence."""

import pandas as pd
import pytest

from connectors.contract import Kind
from tasks.doubts import spoilt_keys, spoilt_members
from tests.tasks.plan.worlds import World, changes, make_job


def edges(*members: str) -> pd.DataFrame:
    return pd.DataFrame({"group": ["g"] * len(members), "member": list(members)}, dtype="str")


@pytest.mark.parametrize("member", ["100", "0100", "00100.0", "100.0"])
def test_members_that_are_almost_somebody(member):
    """One of them is enough: who is meant is not known."""
    (sentence,) = spoilt_members(edges("7", member), pd.Index(["00100", "7"], dtype="str"))
    assert f"{member!r} for '00100'" in sentence


@pytest.mark.parametrize("member", ["00100", "101", "1000", "x", "10.5"])
def test_members_that_are_somebody_or_nobody(member):
    """Whoever is not here yet is no sign of a spreadsheet."""
    assert spoilt_members(edges("7", member), pd.Index(["00100", "7"], dtype="str")) == ()


def test_new_keys_that_are_almost_those_of_somebody_gone():
    """Only where somebody is gone."""
    new = pd.Index(["100", "200"], dtype="str")
    assert spoilt_keys(pd.Index([], dtype="str"), new, "user") == ()
    assert "'100' for '00100'" in spoilt_keys(pd.Index(["00100"], dtype="str"), new, "user")[0]


def test_nobody_loses_a_group_by_members_without_leading_zeros():
    """The removals wait, and the sentence says what probably happened."""
    world = World(make_job(groups={}))
    world.users = {f"00{n}": {"mail": f"{n}@x"} for n in range(3)}
    world.groups = {"g": {"name": "G"}}
    for n in range(3):
        world.accounts[Kind.USER][f"t{n}"] = {"userName": f"{n}@x", "active": True}
        world.link(f"00{n}", f"t{n}")
    world.accounts[Kind.GROUP] = {"tg": {"displayName": "G"}}
    world.link("g", "tg", Kind.GROUP)
    world.edges = {("tg", f"t{n}") for n in range(3)}
    world.members = {("g", str(n)) for n in range(3)}
    checked = world.checked()
    assert checked.blocks == []
    assert len(checked.staged) == 1
    assert "spreadsheet" in checked.verdicts[0].sentence
    world.members = {("g", "000"), ("g", "001")}
    assert [change[0] for change in changes(world.plan())] == ["remove members"]
