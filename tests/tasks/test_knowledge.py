"""Which entries a listing may show as they were before: those written lately that are known otherwise."""

from connectors.contract import Kind
from tasks.knowledge import shown_otherwise
from tests.tasks.plan.worlds import World
from tests.tasks.test_checks_limits import add_group, company

RECENT = {Kind.USER: {"tp000", "tp001", "gone"}, Kind.GROUP: {"tg"}}


def small() -> World:
    world = company(4)
    add_group(world, "g", ["p000", "p001"])
    add_group(world, "h", ["p002"])
    return world


def doubtful(listed: World, known: World) -> dict[Kind, set[str]]:
    return shown_otherwise(listed.target(), known.target(), RECENT)


def test_a_list_that_shows_what_is_known_is_believed() -> None:
    """Nobody is looked at, however much was written."""
    assert doubtful(small(), small()) == {Kind.USER: set(), Kind.GROUP: set()}


def test_an_account_that_was_switched_on_and_is_listed_as_off_is_looked_at() -> None:
    """Of those to which something was sent alone: what others have changed is drift."""
    listed = small()
    for id_ in ("tp001", "tp003"):
        listed.accounts[Kind.USER][id_]["active"] = False
    assert doubtful(listed, small()) == {Kind.USER: {"tp001"}, Kind.GROUP: set()}


def test_a_group_whose_members_are_listed_otherwise_is_looked_at() -> None:
    """More members than known, or fewer."""
    for edge in (("tg", "tp003"), ("tg", "tp000")):
        listed = small()
        listed.edges ^= {edge, ("th", "tp000")}
        assert doubtful(listed, small()) == {Kind.USER: set(), Kind.GROUP: {"tg"}}
