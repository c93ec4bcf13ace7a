"""Asks every source of a job on its own: one that cannot be read gives nothing, and takes nothing from the others."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TypeAlias

import pandas as pd

from connectors.contract import Attribute, Kind, Snapshot, Source, Wanted, no_members
from connectors.errors import FatalError, ProvisorError
from connectors.registry import open_source
from tasks.expressions import compile_expression
from tasks.job import AttributeSource, Job, PeopleSource
from tasks.snapshots import merge_delta

Progress = Callable[[int], None]
SOLE = "source"
"""Name of the one source of a job that has one."""


class Sources:
    """Several sources, as one that can be checked, asked for its attributes, and closed."""

    def __init__(self, job: Job, opened: Mapping[str, Source]) -> None:
        self._job = job
        self.opened = opened
        """By name: those of the people first, in the order of the job."""

    def check(self) -> str:
        """Proves that each of them can be read. Raises: FatalError for the first that cannot."""
        return "; ".join(f"{name}: {source.check()}" for name, source in self.opened.items())

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
        """What people have from any of them; None where one of them cannot tell, or cannot be asked now."""
        found: dict[str, Attribute] = {}
        for known in self.of_each(kind).values():
            if known is None:
                return None
            found |= known
        return found

    def of_each(self, kind: Kind) -> dict[str, Mapping[str, Attribute] | None]:
        """By source, what it gives to rules of this kind by the names that they use; None where it cannot tell."""
        return {
            section.name: _given(section, source_attributes(self.opened[section.name], kind), kind)
            for section in _sections(self._job)
        }

    def own_attributes(self) -> dict[str, Mapping[str, Attribute] | None]:
        """By source, what it has for users by its own names; None where it cannot tell."""
        return {name: source_attributes(source, Kind.USER) for name, source in self.opened.items()}

    def close(self) -> None:
        """Closes all of them."""
        with ExitStack() as stack:
            for source in self.opened.values():
                stack.callback(source.close)


def _sections(job: Job) -> tuple[PeopleSource | AttributeSource, ...]:
    return (*job.people, *job.enrich)


AnySource: TypeAlias = Source | Sources
"""What the people of a job come from."""


def open_source_of(job: Job) -> AnySource:
    """The source of a job, or its several sources as one. Raises: SettingsError."""
    if job.source is not None and not job.enrich:
        return open_source(job.source.connector, job.source.settings, folder=job.folder)
    opened: dict[str, Source] = {}
    for section in _sections(job):
        opened[section.name] = open_source(section.connector, section.settings, folder=job.folder)
    return Sources(job, opened)


def source_attributes(source: Source, kind: Kind) -> Mapping[str, Attribute] | None:
    """What one of several sources says that it has; None also where it cannot be asked: reading it will say why."""
    try:
        return source.attributes(kind)
    except FatalError:
        return None


def _given(
    section: PeopleSource | AttributeSource, known: Mapping[str, Attribute] | None, kind: Kind
) -> Mapping[str, Attribute] | None:
    """What a section gives; second sources give what they list, and nothing to groups."""
    gives = {name: Attribute(path=name) for name in section.gives} if kind is Kind.USER else {}
    if isinstance(section, AttributeSource):
        return gives
    return None if known is None else {**known, **gives}


def read_parts(
    job: Job,
    source: AnySource,
    wanted: Wanted,
    *,
    known: Mapping[str, Snapshot] | None = None,
    progress: Progress | None = None,
) -> dict[str, Snapshot]:
    """Every source as it is now, by name, as the system itself names keys and attributes.

    ``wanted``: what rules read, by the names that they use. Where an earlier snapshot is ``known`` and the source can
    tell, only what changed since is read and merged into it. One of several that cannot be read is empty and
    incomplete. Raises: FatalError where there is one source, or where none of those of the people can be read.
    """
    known = known or {}
    if not isinstance(source, Sources):
        return {SOLE: read_whole(source, wanted, known=known.get(SOLE), progress=progress)}
    found: dict[str, Snapshot] = {}
    failures: list[ProvisorError] = []
    for section in _sections(job):
        one = source.opened[section.name]
        own = _own_names(section, wanted, {kind: source_attributes(one, kind) for kind in Kind})
        try:
            found[section.name] = read_whole(one, own, known=known.get(section.name), progress=progress)
        except FatalError as error:
            found[section.name] = _not_read(section.name, own, error)
            if isinstance(section, PeopleSource):
                failures.append(error)
    if len(failures) == len(job.people):
        raise failures[0]
    return found


def read_whole(
    source: Source, wanted: Wanted, *, known: Snapshot | None = None, progress: Progress | None = None
) -> Snapshot:
    """A source as it is now; from what is known of it and what has changed since, where it can tell. Raises:
    FatalError."""
    if known is not None and known.watermark is not None and known.complete:
        delta = source.read(wanted, since=known.watermark, progress=progress)
        merged = merge_delta(known, delta) if delta.everybody or delta.gone else delta
        if merged is not None:
            return merged
    return source.read(wanted, progress=progress)


def _own_names(
    section: PeopleSource | AttributeSource, wanted: Wanted, known: Mapping[Kind, Mapping[str, Attribute] | None]
) -> Wanted:
    """What to ask a source for, by its own names; attributes that it does not have are another one's."""
    users = set(_read_by(section))
    if isinstance(section, AttributeSource):
        return Wanted(users=tuple(sorted(users)))
    users |= _had(set(wanted.users) - section.gives.keys(), known[Kind.USER])
    groups = None if wanted.groups is None else tuple(sorted(_had(set(wanted.groups), known[Kind.GROUP])))
    return Wanted(users=tuple(sorted(users)), groups=groups)


def _had(names: set[str], known: Mapping[str, Attribute] | None) -> set[str]:
    return names if known is None else names & known.keys()


def _read_by(section: PeopleSource | AttributeSource) -> Iterator[str]:
    """Attributes of its own that a section's expressions read."""
    own = [*section.gives.values(), *([section.join.own] if isinstance(section, AttributeSource) else [])]
    for text in own:
        yield from compile_expression(text).attributes


def _not_read(name: str, wanted: Wanted, error: FatalError) -> Snapshot:
    users = pd.DataFrame(
        {path: pd.Series(dtype="str") for path in wanted.users}, index=pd.Index([], name="key", dtype="str")
    )
    groups = pd.DataFrame(
        {path: pd.Series(dtype="str") for path in wanted.groups or ()}, index=pd.Index([], name="key", dtype="str")
    )
    return Snapshot(
        system=f"{name} (not read)",
        users=users,
        groups=groups,
        members=no_members(),
        read_at=datetime.now(UTC),
        incomplete=(f"It could not be read: {error}",),
    )
