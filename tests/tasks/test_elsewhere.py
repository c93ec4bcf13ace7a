"""A job whose target leads elsewhere: known ids are other people's there."""

import pytest

from connectors.contract import Kind
from connectors.errors import SchemaMismatchError
from tasks.elsewhere import refuse_elsewhere
from tests.tasks.plan.worlds import World
from tests.tasks.test_checks_limits import company


def moved(people: int = 10, strangers: int = 0, gone: int = 0) -> World:
    """Linked people, some of whose ids are strangers' by now, or nobody's."""
    world = company(people)
    for name, link in world.links[Kind.USER].items():
        link["label"] = f"{name}@x"
    accounts = world.accounts[Kind.USER]
    for number, id_ in enumerate(list(accounts)):
        if number < strangers:
            accounts[id_]["userName"] = f"stranger{number}@x"
        elif number < strangers + gone:
            del accounts[id_]
    return world


def refuse(world: World, before: str) -> None:
    refuse_elsewhere(world.job, world.remembered().links, world.target(), before=before)


@pytest.mark.parametrize(("strangers", "gone"), [(6, 0), (10, 0), (1, 9), (2, 7)])
def test_known_ids_of_other_people_stop_the_cycle(strangers: int, gone: int) -> None:
    """However many of the ids are there at all."""
    with pytest.raises(SchemaMismatchError, match="seems to be another system") as refused:
        refuse(moved(strangers=strangers, gone=gone), "the old one")
    assert f": {strangers} of " in str(refused.value)
    assert "provisor restart test --scope links,quarantine" in str(refused.value)


@pytest.mark.parametrize(("strangers", "gone"), [(0, 0), (5, 0), (0, 10), (0, 4)])
def test_the_same_system_under_another_address_goes_on(strangers: int, gone: int) -> None:
    """Though some were renamed, or deleted, outside Provisor; and a system without any of the ids has no strangers."""
    refuse(moved(strangers=strangers, gone=gone), "the old one")


def test_names_are_compared_in_any_case_and_keys_count() -> None:
    """An account may be known by the anchor of its entry."""
    world = moved()
    for number, account in enumerate(world.accounts[Kind.USER].values()):
        account["userName"] = account["userName"].upper() if number % 2 else f"p{number:03}"
    refuse(world, "the old one")


@pytest.mark.parametrize("before", ["", "target"])
def test_a_target_that_stays_where_it_is_is_not_judged(before: str) -> None:
    """Renames at home are drift, and a first cycle has nothing to compare."""
    world = moved(strangers=10)
    assert world.target().system == "target"
    refuse(world, before)
