"""A :class:`System` as the source and the target that stages see."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from connectors.background import BackgroundLoop
from connectors.contract import (
    ACTIVE,
    Action,
    Attribute,
    Change,
    Costs,
    Form,
    Kind,
    Made,
    Outcome,
    Pace,
    Snapshot,
    Status,
    Traits,
    Wanted,
    Write,
    no_entries,
    no_members,
)
from connectors.errors import ErrorCode, fatal_failures
from connectors.kit.chains import KIT, Halt, Kit, Shared
from connectors.kit.reading import (
    Listing,
    asked_paths,
    edges_of,
    envelope,
    look_up,
    read,
)
from connectors.kit.sending import Load
from connectors.kit.system import KEY, Known, Opening, Sought, System
from connectors.kit.values import text_key
from connectors.registry import Connector
from connectors.throttle import Clock, SystemClock

ResultT = TypeVar("ResultT")


def _nobody(count: int) -> None:
    """Listens to the progress of a read that nobody watches."""


class KitSource:
    """A system that says who there is."""

    def __init__(
        self,
        system: System,
        settings: Any,
        *,
        folder: Path,
        pace: Pace | None = None,
        clock: Clock | None = None,
        kit: Kit = KIT,
    ) -> None:
        pace = pace or Pace()
        rates = [rate for rate in (pace.rate_per_s, system.per_s) if rate is not None]
        self._pace = replace(
            pace, concurrency=min(pace.concurrency, system.in_flight), rate_per_s=min(rates) if rates else None
        )
        self._system, self._settings, self._kit = system, settings, kit
        self._clock = clock or SystemClock()
        self._wire = system.open(settings, Opening(folder, self._pace, self._clock))
        self._loop = BackgroundLoop(system.name)
        self._known: Known | None = None
        self._asking: asyncio.Lock | None = None

    # -- what stages ask -----------------------------------------------------------------------------------------------

    def check(self) -> str:
        """See :class:`connectors.contract.Source`."""
        return self._run(self._check)

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
        """See :class:`connectors.contract.Source`."""
        known = self._run(self._traits)
        found = dict(known.attributes(kind))
        switch = known.switch if kind is Kind.USER else None
        if switch is not None and switch.column == ACTIVE:
            if switch.path in found:
                found[switch.path] = replace(found[switch.path], write=Write.NEVER, required=False)
            found[ACTIVE] = Attribute(ACTIVE, form=Form.BOOLEAN)
        return found

    def read(
        self, wanted: Wanted, *, since: str | None = None, progress: Callable[[int], None] | None = None
    ) -> Snapshot:
        """See :class:`connectors.contract.Source`."""
        with fatal_failures():
            return self._loop.run_telling(progress or _nobody, self._read, wanted, since)

    def close(self) -> None:
        """See :class:`connectors.contract.Source`."""
        self._loop.close(self._wire.close)

    # -- on the loop ---------------------------------------------------------------------------------------------------

    def _run(self, work: Callable[..., Awaitable[ResultT]], *args: Any) -> ResultT:
        """Run on the loop; what leaves a read without a result is fatal."""
        with fatal_failures():
            return self._loop.run(work, *args)

    async def _traits(self) -> Known:
        if self._asking is None:
            self._asking = asyncio.Lock()
        async with self._asking:
            if self._known is None:
                known = await self._system.traits(self._wire, self._settings)
                self._known = known if known.settings is not None else replace(known, settings=self._settings)
            return self._known

    async def _check(self) -> str:
        return await self._system.check(self._wire, await self._traits())

    async def _read(self, wanted: Wanted, since: str | None, progress: Callable[[int], None]) -> Snapshot:
        known, before = await self._traits(), self._wire.requests
        asked = self._with_switch(known, wanted)
        content = await read(self._system, self._wire, known, asked, since, progress, self._kit.rules)
        users = content.listings[Kind.USER]
        groups = content.listings.get(Kind.GROUP)
        listings = [users, *([groups] if groups is not None else [])]
        edges = {edge: id_ for listing in listings for edge, id_ in listing.edges.items()}
        snapshot = Snapshot(
            system=self._label(),
            users=self._kit.rules.frame_of(known, users, wanted.users),
            groups=no_entries() if groups is None else self._kit.rules.frame_of(known, groups, wanted.groups or ()),
            members=no_members() if groups is None else edges_of(known, edges),
            read_at=content.read_at,
            incomplete=tuple(doubt for listing in listings for doubt in listing.doubts),
            unreadable=tuple(row for listing in listings for row in listing.unreadable),
            disabled=_disabled(known, users),
            watermark=envelope(self._system, known, asked, content.listings),
            requests=self._wire.requests - before,
            reread=content.reread,
        )
        if content.since:
            snapshot.gone = {kind: frozenset(listing.gone) for kind, listing in content.listings.items()}
            everybody = {kind: listing.everybody for kind, listing in content.listings.items()}
            snapshot.everybody = {kind: who for kind, who in everybody.items() if who is not None}
            snapshot.all_members = groups is None
            snapshot.edges_gone = edges_of(
                known, [(edge.group, edge.member) for listing in listings for edge in listing.edges_gone]
            )
        return snapshot

    @staticmethod
    def _with_switch(known: Known, wanted: Wanted) -> Wanted:
        """What is asked for, and whether users are active."""
        if known.switch is None:
            return wanted
        return replace(wanted, users=tuple(dict.fromkeys((*wanted.users, known.switch.path))))

    def _label(self) -> str:
        address = getattr(self._wire, "address", "")
        return f"{self._system.name} {address}".strip()


class KitTarget(KitSource):
    """A system whose accounts are kept in step."""

    _shared: Shared | None = None
    _grace_s: float = 0.0

    def traits(self) -> Traits:
        """See :class:`connectors.contract.Target`."""
        known = self._run(self._traits)
        cannot = set(known.cannot)
        if not any(family.made is Made.CREATED for family in known.families):
            cannot |= {(Kind.GROUP, Action.CREATE), (Kind.GROUP, Action.DELETE)}
        limits = known.limits
        return Traits(
            switch=known.switch.column if known.switch is not None else None,
            cannot=frozenset(cannot),
            groups=bool(known.families),
            families=known.families,
            members_per_change=min((family.per_call for family in known.families), default=100),
            costs=Costs(find=limits.find, fetch=limits.fetch, page=limits.page),
            signed_in=known.signed_in,
        )

    def find(
        self, kind: Kind, attribute: str, values: Sequence[str], wanted: Wanted, *, late: bool = False
    ) -> pd.DataFrame:
        """See :class:`connectors.contract.Target`."""
        return self._run(self._find, kind, attribute, values, wanted, late)

    def fetch(self, kind: Kind, ids: Sequence[str], wanted: Wanted, *, late: bool = False) -> Snapshot:
        """See :class:`connectors.contract.Target`."""
        return self._run(self._fetch, kind, ids, wanted, late)

    def unwritable(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """See :class:`connectors.contract.KnowsUnwritable`."""
        return self._run(self._unwritable, kind, ids)

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        """See :class:`connectors.contract.Target`.

        After a FatalError, and when the caller is interrupted, nothing more is sent, but what is under way is finished
        and told first.
        """
        if changes:
            with fatal_failures():
                self._loop.run_to_its_end(done, self._apply, changes, stop=lambda: self.halt(grace_s=self._grace_s))

    def halt(self, *, grace_s: float) -> None:
        """See :class:`connectors.contract.Haltable`."""
        self._grace_s = grace_s
        self._loop.start(self._halt)

    # -- on the loop ---------------------------------------------------------------------------------------------------

    async def _share(self) -> Shared:
        known = await self._traits()
        if self._shared is None:
            self._shared = Shared(
                self._system,
                self._wire,
                known,
                Halt(self._clock, self._pace.permit),
                self._pace.concurrency,
                kit=self._kit,
            )
        return self._shared

    async def _apply(self, changes: Sequence[Change], tell: Callable[[Outcome], None]) -> None:
        shared = await self._share()
        unseated: Mapping[str, str] = {}
        if self._system.no_seat is not None and not shared.halt.halted:
            unseated = await self._system.no_seat(self._wire, shared.known, changes)
        for id_, why in unseated.items():
            tell(Outcome(id_, Status.REJECTED, code=ErrorCode.NOT_PERMITTED, message=why))
        seated = [change for change in changes if change.id not in unseated]
        if self._system.learn is not None and not shared.halt.halted:
            shared = replace(shared, known=await self._system.learn(self._wire, shared.known, seated))
        await Load(shared, tell).run(seated, grace_s=lambda: self._grace_s)

    async def _halt(self) -> None:
        (await self._share()).halt.event.set()
        halt = getattr(self._wire, "halt", None)
        if halt is not None:
            await halt(grace_s=self._grace_s)

    async def _unwritable(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        if self._system.never is None or not ids:
            return {}
        return await self._system.never(self._wire, await self._traits(), kind, ids)

    async def _look_up(self, known: Known, sought: Sought) -> Listing:
        return await look_up(self._system, self._wire, known, sought, self._kit.rules)

    async def _find(self, kind: Kind, path: str, values: Sequence[str], wanted: Wanted, late: bool) -> pd.DataFrame:
        known = await self._traits()
        paths = asked_paths(known, kind, wanted.of(kind))
        attribute = known.attribute(kind, path)
        found = Listing(kind)
        missing = tuple(dict.fromkeys(values))
        for wait_s in self._kit.late(known.limits.settles_in_s) if late else (0.0,):
            if not missing:
                break
            if wait_s:
                await self._clock.sleep(wait_s)
            found.rows |= (await self._look_up(known, Sought(kind, path, missing, paths))).rows
            there = {key for row in found.rows.values() for key in _keys(attribute, row.get(path))}
            missing = tuple(value for value in missing if text_key(attribute.same, str(value)) not in there)
        return self._kit.rules.frame_of(known, found, dict.fromkeys((*wanted.of(kind), path)))

    async def _fetch(self, kind: Kind, ids: Sequence[str], wanted: Wanted, late: bool) -> Snapshot:
        from datetime import UTC, datetime

        known, began, before = await self._traits(), datetime.now(UTC), self._wire.requests
        paths = asked_paths(known, kind, wanted.of(kind))
        found = Listing(kind)
        for number, wait_s in enumerate(self._kit.late(known.limits.settles_in_s) if late else (0.0,)):
            missing = tuple(id_ for id_ in dict.fromkeys(ids) if id_ not in found.rows)
            if number and not missing:
                break
            if wait_s:
                await self._clock.sleep(wait_s)
            look = await self._look_up(known, Sought(kind, KEY, missing, paths))
            found.rows |= look.rows
            found.edges |= look.edges
            found.doubts += look.doubts
        frame = self._kit.rules.frame_of(known, found, wanted.of(kind))
        return Snapshot(
            system=self._label(),
            users=frame if kind is Kind.USER else no_entries(),
            groups=frame if kind is Kind.GROUP else no_entries(),
            members=edges_of(known, [edge for edge in found.edges if edge[0] in found.rows]),
            read_at=began,
            incomplete=tuple(found.doubts),
            requests=self._wire.requests - before,
        )


def _disabled(known: Known, users: Listing) -> frozenset[str]:
    switch = known.switch
    if switch is None:
        return frozenset()
    off = frozenset(key for key, row in users.rows.items() if switch.active(row.get(switch.path)) is False)
    return off | users.disabled


def _keys(attribute: Attribute, held: Any) -> Iterable[str]:
    values = held if isinstance(held, list | tuple | set | frozenset) else [held]
    return (text_key(attribute.same, str(value)) for value in values if value is not None)


def connector(system: System, *, title: str, source: bool = True, kit: Kit = KIT) -> Connector:
    """The system for the registry: as a source, and as a target where it can be written."""

    def open_source(settings: Any, *, folder: Path) -> KitSource:
        return KitSource(system, settings, folder=folder, kit=kit)

    def open_target(settings: Any, *, folder: Path, pace: Pace) -> KitTarget:
        return KitTarget(system, settings, folder=folder, pace=pace, kit=kit)

    return Connector(
        name=system.name,
        title=title,
        source_settings=system.settings if source else None,
        open_source=open_source if source else None,
        target_settings=system.settings if system.is_target else None,
        open_target=open_target if system.is_target else None,
    )
