"""What check says about people who leave is what the plan does."""

from datetime import timedelta

import pytest

from connectors.contract import Action, Kind, Traits
from tasks.job import Job, Removal
from tasks.leaving import what_leaving_means
from tests.tasks.plan.worlds import make_job


def job(**deprovision: object) -> Job:
    made = make_job(groups={})
    return made.model_copy(update={"deprovision": made.deprovision.model_copy(update=deprovision)})


def test_ways_with_one_end_are_one_sentence() -> None:
    """The default: everybody is disabled, for ever; who is still there as disabled is still a member."""
    assert what_leaving_means(job(), Traits()) == [
        "Users gone from the source, out of scope or not assigned any more: the account is disabled and loses its "
        "memberships, and is never deleted.",
        "Users disabled in the source: the account is disabled, with the memberships that the source says, and is "
        "never deleted.",
        "Groups that leave: a group cannot be disabled, so it loses its members and stays.",
    ]


def test_the_grace_period_is_said_for_every_way_that_disables() -> None:
    """And not for those that keep or delete."""
    given = job(delete_after=timedelta(days=30), disabled=Removal.DELETE, out_of_scope=Removal.KEEP)
    assert what_leaving_means(given, Traits())[:3] == [
        "Users gone from the source or not assigned any more: the account is disabled and loses its memberships, and "
        "is deleted 30 days after that.",
        "Users disabled in the source: the account is deleted; one that is only just adopted is disabled first.",
        "Users out of scope: the account stays as it is, with its memberships.",
    ]


@pytest.mark.parametrize(
    ("traits", "removal"),
    [(Traits(cannot=frozenset({(Kind.USER, Action.DELETE)})), Removal.DELETE), (Traits(switch=None), Removal.DISABLE)],
)
def test_what_the_target_cannot_do_is_said(traits: Traits, removal: Removal) -> None:
    """Else somebody would believe that leavers lose access."""
    first, *_ = what_leaving_means(job(deleted=removal), traits)
    assert "nothing is done" in first
