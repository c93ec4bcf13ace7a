"""Who must exist before whom."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.plan.references import MAX_LEVELS, levels


def parents(*positions: int) -> list[np.ndarray]:
    return [np.array(positions, dtype=np.int64)]


def test_a_manager_is_created_before_their_people():
    """A tree gives levels from the top."""
    level, deferred = levels(parents(-1, 0, 0, 1))
    assert level.tolist() == [0, 1, 1, 2]
    assert not deferred.any()


def test_a_circle_costs_one_reference_afterwards():
    """Of two people who manage each other one is created without a manager; everybody else can wait for theirs."""
    level, deferred = levels(parents(1, 0, 1, -1))
    assert deferred.tolist() == [True, False, False, False]
    assert level.tolist() == [0, 1, 2, 0]


def test_every_circle_is_opened_once():
    """Circles of two, three and five, interleaved."""
    circles = [(0, 3), (1, 4, 2), (5, 7, 9, 6, 8)]
    parent = np.full(10, -1, dtype=np.int64)
    for circle in circles:
        for one, other in zip(circle, (*circle[1:], circle[0]), strict=True):
            parent[one] = other
    _, deferred = levels([parent])
    assert np.flatnonzero(deferred).tolist() == [0, 1, 5]


@given(st.integers(1, 60).flatmap(lambda n: st.lists(st.integers(-1, n - 1), min_size=n, max_size=n)))
def test_one_reference_each(graph):
    """With one reference each, whoever is not deferred comes after whom they refer to, whatever circles there are."""
    parent = np.array(graph, dtype=np.int64)
    level, deferred = levels([parent])
    for child, ancestor in enumerate(graph):
        if ancestor >= 0 and not deferred[child]:
            assert level[child] > level[ancestor]


def test_people_who_manage_themselves_are_a_circle():
    """A reference to oneself is set after one exists."""
    level, deferred = levels(parents(0, 0))
    assert deferred.tolist() == [True, False]
    assert level.tolist() == [0, 1]


def test_a_very_deep_chain_does_not_make_a_wave_of_every_person():
    """Levels are bounded; what lies deeper is set afterwards."""
    level, deferred = levels(parents(-1, *range(100)))
    assert level.max() == MAX_LEVELS - 1
    assert deferred.sum() == 101 - MAX_LEVELS


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(*[st.lists(st.integers(-1, n - 1), min_size=n, max_size=n)] * 2)))
def test_everybody_comes_after_whom_they_refer_to(graph):
    """For any references: whoever is not deferred has a level above everybody they refer to."""
    both = [np.array(column, dtype=np.int64) for column in graph]
    level, deferred = levels(both)
    assert (level >= 0).all()
    assert level.max() < MAX_LEVELS
    for parent in both:
        for child, ancestor in enumerate(parent):
            if ancestor >= 0 and not deferred[child]:
                assert level[child] > level[ancestor]
