"""The way of a person or a group through jobs that run after others: the account that one job makes is what the next
one reads.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from connectors.contract import Kind
from tasks.job import Job
from tasks.ledger import Ledger

_LONGEST = 20
"""Jobs that are followed in each direction."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The entry as one job knows it."""

    job: str
    anchor: str
    here: bool = False
    """Whether the page is about it."""


Place = tuple[str, str]
"""A job, and a key of its source."""


def way_of(
    ledger: Ledger, files: Mapping[str, Job], may_see: Collection[str], kind: Kind, job: str, anchor: str
) -> list[Stop]:
    """Every job on the way, the first one first; empty where the entry is in no chain.

    ``may_see``: jobs that the reader may know of; the way ends at any other.
    """
    if job not in files:
        return []
    seen = {name: one for name, one in files.items() if name in may_see or name == job}

    def before(place: Place) -> list[Place]:
        name, key = place
        return [
            (one, found)
            for one in seen[name].after
            if one in seen and reads_from(seen[name], seen[one])
            for found in ledger.anchors(one, kind, [key]).values()
        ]

    def after(place: Place) -> list[Place]:
        name, key = place
        ids = ledger.target_ids(name, kind, [key]).values()
        following = [one for one in seen if name in seen[one].after and reads_from(seen[one], seen[name])]
        return [(one, id_) for one in following for id_ in ids if ledger.directory.in_jobs([one], kind, id_)]

    start = (job, anchor)
    way = [*reversed(_followed(start, before)), start, *_followed(start, after)]
    return [Stop(name, key, (name, key) == start) for name, key in way] if len(way) > 1 else []


def reads_from(job: Job, other: Job) -> bool:
    """Whether a job reads its people where another one writes accounts: the same connector, at the same address."""
    if len(job.people) != 1 or job.people[0].connector != other.target.connector:
        return False
    return getattr(job.people[0].settings, "url", None) == getattr(other.target.settings, "url", None)


def _followed(start: Place, next_to: Callable[[Place], list[Place]]) -> list[Place]:
    """Places in one direction, the nearest first."""
    found: list[Place] = []
    look = [start]
    while look and len(found) < _LONGEST:
        look = [one for place in look for one in next_to(place) if one != start and one not in found]
        found += dict.fromkeys(look)
    return found
