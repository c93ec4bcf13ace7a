"""The sources of a job as they act at a moment: one population, who is assigned, whose day has come. Pure but for the
job's assignment table."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from connectors.contract import Kind, Snapshot, Traits, Unreadable, Wanted
from tasks.assignment import with_assignments
from tasks.employment import with_dates
from tasks.expressions import Context, compile_expression
from tasks.extract import clause_attributes, dates_of, needs_of
from tasks.job import Job
from tasks.membership import is_among
from tasks.sources import ended_beside, one_each, population


def as_it_acts(job: Job, read: Mapping[str, Snapshot], context: Context, *, wanted: Wanted | None = None) -> Snapshot:
    """What rules are applied to.

    ``read``: every source by name, as ``tasks.extract.read_sources`` gives them. ``wanted``: what was asked for, where
    that is more than the job names.

    Dates come before persons: of two entries of one person, the one that acts now counts. Raises: FatalError for the
    assignment table.
    """
    names = (wanted or needs_of(job, Traits()).source).users
    people = population(job, read, context, names=frozenset(names))
    dated = with_dates(job, with_assignments(job, people), context)
    of_dates = frozenset(name for _, text in dates_of(job) for name in compile_expression(text).attributes)
    persons = one_each(job, _without_undated(job, dated, of_dates, context), context)
    return without_undecided(persons, clause_attributes(job.users))


def _without_undated(job: Job, source: Snapshot, judged: Collection[str], context: Context) -> Snapshot:
    """Without entries whose dates cannot be judged. An entry that has ended waits for those of the same person: she may
    still be there by one of them."""
    undated = _undecided(source, judged)
    beside = ended_beside(job, source, context, undated)
    waits = {key: f"Whether this person has left depends on {other}. {undated[other]}" for key, other in beside.items()}
    ended = replace(
        source,
        disabled=source.disabled - beside.keys(),
        left=source.left[~is_among(source.left.index, beside)],
    )
    return _holding(ended if beside else source, undated | waits)


def without_undecided(source: Snapshot, judged: Collection[str]) -> Snapshot:
    """Without people about whom scope or dates cannot be judged, because an attribute that is looked at is unknown.

    Their accounts stay as they are; but those whom the source has disabled end all the same.
    """
    return _holding(source, _undecided(source, judged))


def _undecided(source: Snapshot, judged: Collection[str]) -> dict[str, str]:
    """Keys of people for whom one of these attributes is unknown, and why that matters."""
    why: dict[str, str] = {}
    for attribute, keys in sorted(source.unknown.items()):
        for key in keys if attribute in judged else ():
            reason = source.disputes.get(key) or " ".join(source.unsure) or " ".join(source.doubts)
            why.setdefault(
                str(key), f"Whether it has an account depends on {attribute}, which cannot be told now. {reason}"
            )
    return why


def _holding(source: Snapshot, why: Mapping[str, str]) -> Snapshot:
    """The source with these people held, each for a reason."""
    if not why:
        return source
    held = is_among(source.users.index, pd.Index(list(why), dtype="str").array)
    rows = tuple(Unreadable(Kind.USER, str(key), f"user {key}", why[str(key)]) for key in source.users.index[held])
    return replace(source, users=source.users.loc[~np.asarray(held)], unreadable=(*source.unreadable, *rows))
