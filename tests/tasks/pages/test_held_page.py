"""What the page of held changes says of them all."""

import pytest

from connectors.contract import Action, Kind
from tasks.ledger import Staged
from tasks.pages.held_page import must_type, question_about
from tests.tasks.plan.worlds import NOW


def staged(kind: Kind, action: Action, number: int, members: int = 0) -> list[Staged]:
    ids = tuple(f"u{one}" for one in range(members))
    return [Staged(kind, action, f"a{one}", NOW, 1, "too many", members=ids) for one in range(number)]


@pytest.mark.parametrize(
    ("some", "total", "typed"),
    [
        (staged(Kind.USER, Action.DISABLE, 500), 100_000, False),
        (staged(Kind.USER, Action.DISABLE, 501), 100_000, True),
        (staged(Kind.USER, Action.DISABLE, 2), 8, False),
        (staged(Kind.USER, Action.DISABLE, 3), 8, True),
        (staged(Kind.USER, Action.UPDATE, 501), None, True),
        (staged(Kind.GROUP, Action.REMOVE_MEMBERS, 1, members=500), 100_000, False),
        (staged(Kind.GROUP, Action.REMOVE_MEMBERS, 1, members=501), 100_000, True),
        (staged(Kind.GROUP, Action.REMOVE_MEMBERS, 3, members=200), 100_000, True),
        (staged(Kind.GROUP, Action.REMOVE_MEMBERS, 1, members=3), 8, True),
        (staged(Kind.GROUP, Action.DELETE, 1), 100_000, True),
        (staged(Kind.GROUP, Action.DISABLE, 1), None, True),
        (staged(Kind.GROUP, Action.UPDATE, 1), 100_000, False),
    ],
)
def test_the_number_is_typed_where_many_people_are_concerned(
    some: list[Staged], total: int | None, typed: bool
) -> None:
    """People, not entries: one group may have nine thousand members, and of a group that goes nobody knows how many."""
    assert must_type(question_about(some), total) is typed
