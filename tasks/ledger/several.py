"""Statements about entries of several jobs: as many for two hundred jobs as for two."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import CTE, ColumnElement, func, select, tuple_

from tasks.ledger.tables import JOB

AT_ONCE = 2_000
"""Entries that one statement is about."""

_T = TypeVar("_T")
Entry = tuple[str, str, str]
"""Job, kind and key."""


def about(table: Any, entries: Collection[Entry]) -> ColumnElement[bool]:
    """Condition for the rows of some entries."""
    return tuple_(table.c.job, table.c.kind, table.c.anchor).in_(list(entries))


def portions(entries: Sequence[_T], at_once: int = AT_ONCE) -> Iterator[Sequence[_T]]:
    """So many that one statement takes them."""
    for start in range(0, len(entries), at_once):
        yield entries[start : start + at_once]


def ends_at(
    table: Any,
    column: str,
    jobs: Collection[str],
    limit: int,
    which: Callable[[Any], Sequence[ColumnElement[bool]]] = lambda table: (),
) -> CTE:
    """For each job, as ``name``, where its last rows begin: the ``limit``-th highest value of a number, as ``first``.

    ``which``: conditions for the rows, given the table. An index leads to each end, however many rows a job has.
    """
    mine = table.alias()
    nth = (
        select(mine.c[column])
        .where(mine.c.job == JOB.c.name, *which(mine))
        .order_by(mine.c[column].desc())
        .limit(1)
        .offset(limit - 1)
        .scalar_subquery()
    )
    found = select(JOB.c.name, func.coalesce(nth, 0).label("first")).where(JOB.c.name.in_(jobs))
    return found.cte().prefix_with("MATERIALIZED")
