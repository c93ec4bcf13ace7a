"""Names of a job's protect list that nobody has: a typing mistake protects nobody."""

import pytest

from tasks.checks import unused_names
from tests.tasks.plan.worlds import World
from tests.tasks.test_checks_limits import company


def said(world: World, *names: str) -> str:
    world.job = world.job.model_copy(update={"protect": names})
    return unused_names(world.job, world.plan(), world.source(None), world.target())


def small() -> World:
    world = company(3)
    world.users["newcomer"] = {"mail": "new@x", "title": "Clerk", "nick": "Newt"}
    return world


@pytest.mark.parametrize("name", ["p001", "P001@X", "tp002", "newcomer", "new@x", "NEWT"])
def test_a_name_that_somebody_has_is_right(name: str) -> None:
    """By anchor, id or matching attribute, of an account or of somebody who is still to get one, in any case."""
    assert said(small(), name) == ""


@pytest.mark.parametrize("name", ["\u212aELVIN@x", "kelvin@X", "MÜLLER@x", "müller@x", "Ⱥda@x", "K@x"])
def test_the_case_of_any_letter_may_differ(name: str) -> None:
    """Also where the small letter is written with fewer bytes than the large one, or with more."""
    world = small()
    world.users["newcomer"]["nick"] = "\u212aelvin@x"
    world.users["other"] = {"mail": "o@x", "title": "Clerk", "nick": "Müller@x"}
    world.users["third"] = {"mail": "t@x", "title": "Clerk", "nick": "ⱥDA@X"}
    assert (said(world, name) == "") is (name != "K@x")


def test_a_name_that_nobody_has_is_told() -> None:
    """All of them in one sentence, however many."""
    assert said(small(), "p001", "admln@x") == (
        "protect names admln@x, but no account that was seen in the target and no row of the source has it: "
        "it protects nobody."
    )
    many = said(small(), *(f"old{number}" for number in range(12)))
    assert many.startswith("protect names old0, old1, ")
    assert "old9 and 2 more, but" in many
    assert "old10" not in many


def test_the_account_of_somebody_who_is_gone_counts() -> None:
    """Its owner is no longer in the source, and that is when protection matters."""
    world = small()
    del world.users["p001"]
    assert said(world, "p001", "tp001") == ""
