"""The SCIM connector as source and as target."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from connectors.background import BackgroundLoop
from connectors.contract import (
    Action,
    Attribute,
    Change,
    Kind,
    Outcome,
    Pace,
    Snapshot,
    Status,
    Traits,
    Unreadable,
    Wanted,
)
from connectors.errors import HaltedError, fatal_failures
from connectors.scim.applying import Applier
from connectors.scim.bulk import BulkSession
from connectors.scim.delta import marks_of, read_delta, watermark_of, with_moments
from connectors.scim.habits import Habits
from connectors.scim.schema import SchemaAttributes
from connectors.scim.sending import LOOKS_S, Sender
from connectors.scim.service import Content, ScimService, bad_paths_as_settings, for_each
from connectors.scim.settings import ScimSourceSettings, ScimTargetSettings
from connectors.throttle import Clock

ResultT = TypeVar("ResultT")


def _nobody(count: int) -> None:
    """Listens to the progress of a read that nobody watches."""


class _Reader:
    """The synchronous face of a service, shared by source and target."""

    def __init__(self, service: ScimService) -> None:
        self.service = service
        self.loop = BackgroundLoop("scim")

    def run(self, work: Callable[..., Awaitable[ResultT]], *args: Any) -> ResultT:
        """Run on the loop; what leaves a read without a result is fatal."""
        with fatal_failures():
            return self.loop.run(work, *args)

    def attributes(self, kind: Kind) -> Mapping[str, Attribute]:
        return SchemaAttributes(self.run(self.service.schemas)[kind])

    def read(self, wanted: Wanted, progress: Callable[[int], None] | None) -> Content:
        """Read, and tell the progress from the calling thread."""
        with fatal_failures():
            return self.loop.run_telling(progress or _nobody, self.service.read, wanted)

    def system(self) -> str:
        return f"scim {self.service.session.address}"

    def close(self) -> None:
        self.loop.close(self.service.session.close)


class ScimSource:
    """A SCIM service that says who there is."""

    def __init__(self, settings: ScimSourceSettings, *, folder: Path, clock: Clock | None = None) -> None:
        self._key = settings.key
        self._overlap = timedelta(seconds=settings.overlap_s)
        self._reader = _Reader(ScimService(settings, folder=folder, pace=Pace(), clock=clock))

    def check(self) -> str:
        """See :class:`connectors.contract.Source`."""
        return self._reader.run(self._reader.service.check)

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
        """See :class:`connectors.contract.Source`."""
        return self._reader.attributes(kind)

    def read(
        self, wanted: Wanted, *, since: str | None = None, progress: Callable[[int], None] | None = None
    ) -> Snapshot:
        """Everything in the service, or what changed since: see ``connectors.scim.delta``.

        Users known by another attribute than their id are always read whole: who they refer to is known by id.
        """
        asked = Wanted((*wanted.users, "active", *(() if self._key == "id" else (self._key,))), wanted.groups)
        if since is not None and self._key == "id":
            delta = self._reader.run(
                read_delta, self._reader.service, asked, marks_of(since), progress or _nobody, self._overlap
            )
            if delta is not None:
                mark = watermark_of(delta.content, wanted, before=marks_of(since))
                found = self._snapshot(delta.content, wanted, watermark=mark)
                return replace(found, everybody=dict(delta.counts), all_members=wanted.groups is None)
        content = self._reader.read(with_moments(asked), progress)
        mark = watermark_of(content, wanted) if self._key == "id" else None
        if self._key != "id":
            _rekey(content, self._key, references=self._references(wanted.users))
        return self._snapshot(content, wanted, watermark=mark)

    def _snapshot(self, content: Content, wanted: Wanted, *, watermark: str | None) -> Snapshot:
        active = content.users["active"]
        return Snapshot(
            system=self._reader.system(),
            users=content.users[list(dict.fromkeys(wanted.users))],
            groups=content.groups[list(dict.fromkeys(wanted.groups or ()))],
            members=content.members,
            read_at=content.read_at,
            incomplete=tuple(content.doubts),
            unreadable=tuple(content.unreadable),
            disabled=frozenset(content.users.index[(~active).fillna(False).to_numpy(dtype=bool)]),
            watermark=watermark,
            requests=content.requests,
        )

    def _references(self, paths: Sequence[str]) -> list[str]:
        codec = self._reader.run(self._reader.service.codecs)[Kind.USER]
        return [
            path
            for path in dict.fromkeys(paths)
            if codec.slot(path).reference
            or (codec.slot(path).path.sub == "value" and codec.slot(codec.slot(path).path.container).reference)
        ]

    def close(self) -> None:
        """See :class:`connectors.contract.Source`."""
        self._reader.close()


def _rekey(content: Content, key: str, *, references: Sequence[str]) -> None:
    """Put the users' own key in the place of their id: in the index, in memberships and in references.

    Users without the key, or who share it, become unreadable.
    """
    users = content.users
    keys = users[key]
    missing, shared = keys.isna(), keys.duplicated(keep=False) & keys.notna()
    content.unreadable += [
        Unreadable(Kind.USER, None, f"/Users/{entry_id}", f"It has no {key}.") for entry_id in users.index[missing]
    ]
    content.unreadable += [
        Unreadable(Kind.USER, held, f"/Users/{entry_id}", f"Another user has the same {key}.")
        for entry_id, held in keys[shared].items()
    ]
    if missing.any():
        content.doubts.append(f"{int(missing.sum())} users have no {key}.")
    good = ~(missing | shared)
    key_of = keys[good]
    for path in references:
        users[path] = users[path].map(key_of).astype("str")
    members = content.members["member"]
    renamed = members.map(key_of)
    nameless = members.isin(users.index[~good])
    content.members = content.members.assign(member=renamed.where(renamed.notna(), members).astype("str"))[~nameless]
    content.members = content.members.reset_index(drop=True)
    content.users = users[good].set_axis(pd.Index(key_of.array, name="key"), axis=0)


def _unchanged(bulk: BulkSession, operations: int, halted: threading.Event) -> bool:
    """True while writes go as they went, and may go."""
    return not halted.is_set() and bulk.operations == operations


class ScimTarget:
    """A SCIM service whose accounts are kept in step."""

    def __init__(
        self,
        settings: ScimTargetSettings,
        *,
        folder: Path,
        pace: Pace,
        clock: Clock | None = None,
    ) -> None:
        self._pace = pace
        self._habits: Habits | None = None
        self._bulk: BulkSession | None = None
        self._all_begun: asyncio.Event | None = None
        """Of the changes that were handed over last: true when none of them waits any more."""
        self._reader = _Reader(ScimService(settings, folder=folder, pace=pace, clock=clock))

    def check(self) -> str:
        """See :class:`connectors.contract.Source`."""
        return self._reader.run(self._reader.service.check)

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
        """See :class:`connectors.contract.Source`."""
        return self._reader.attributes(kind)

    def read(
        self, wanted: Wanted, *, since: str | None = None, progress: Callable[[int], None] | None = None
    ) -> Snapshot:
        """Everything in the service; ``since`` is not understood, no watermark is ever given out."""
        del since
        return self._snapshot(self._reader.read(wanted, progress))

    def _snapshot(self, content: Content) -> Snapshot:
        return Snapshot(
            system=self._reader.system(),
            users=content.users,
            groups=content.groups,
            members=content.members,
            read_at=content.read_at,
            incomplete=tuple(content.doubts),
            unreadable=tuple(content.unreadable),
            requests=content.requests,
        )

    def traits(self) -> Traits:
        """What the service says of itself; the standard's default where it says nothing."""
        profile = self._reader.run(self._reader.service.profile)
        kinds = self._reader.run(self._reader.service.resource_types)
        schemas = self._reader.run(self._reader.service.schemas)
        deletes = frozenset() if profile.delete else frozenset((kind, Action.DELETE) for kind in Kind)
        return Traits(
            cannot=deletes,
            groups=profile.groups and (not kinds or Kind.GROUP in kinds),
            switch="active" if schemas[Kind.USER].info("active") is not None else None,
            members_per_change=profile.members_per_request,
        )

    def signed_in_as(self) -> str | None:
        """See :class:`connectors.contract.KnowsItself`."""
        return self._reader.run(self._reader.service.me)

    def find(
        self, kind: Kind, attribute: str, values: Sequence[str], wanted: Wanted, *, late: bool = False
    ) -> pd.DataFrame:
        """See :class:`connectors.contract.Target`."""
        paths = wanted.users if kind is Kind.USER else wanted.groups or ()
        return self._reader.run(self._reader.service.find, kind, attribute, values, paths, LOOKS_S if late else (0.0,))

    def fetch(self, kind: Kind, ids: Sequence[str], wanted: Wanted, *, late: bool = False) -> Snapshot:
        """See :class:`connectors.contract.Target`."""
        looks_s = LOOKS_S if late else (0.0,)
        return self._snapshot(self._reader.run(self._reader.service.fetch, kind, ids, wanted.of(kind), looks_s))

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        """See :class:`connectors.contract.Target`.

        After a FatalError, and when the caller is interrupted, nothing more is sent, but what is under way is finished
        and told first.
        """
        if changes:
            halted = threading.Event()
            with fatal_failures():
                self._reader.loop.run_to_its_end(done, self._apply, changes, halted, stop=halted.set)

    def halt(self, *, grace_s: float) -> None:
        """See :class:`connectors.contract.Haltable`."""
        self._reader.loop.start(partial(self._reader.service.session.halt, grace_s=grace_s))

    async def _apply(self, changes: Sequence[Change], halted: threading.Event, tell: Callable[[Outcome], None]) -> None:
        service, waiting = self._reader.service, deque(changes)
        try:
            codecs = await service.codecs()
            if self._habits is None or self._bulk is None:
                self._habits = Habits(await service.profile())
                self._bulk = BulkSession(
                    service.session, service.bulk, width=self._pace.concurrency, clock=service.clock
                )
            self._habits.members.note_list(service.longest_list)
            applier = Applier(Sender(self._bulk, codecs, clock=service.clock), self._habits, self._bulk)

            async def carry_out(change: Change) -> None:
                tell(await applier.carry_out(change))

            with bad_paths_as_settings():
                await self._for_each(waiting, carry_out, self._bulk, halted)
        except HaltedError:
            pass  # before the first of them; later ones are outcomes
        finally:
            for change in waiting:
                tell(Outcome(change.id, Status.NOT_SENT))

    async def _for_each(
        self,
        waiting: deque[Change],
        carry_out: Callable[[Change], Awaitable[None]],
        bulk: BulkSession,
        halted: threading.Event,
    ) -> None:
        """Work on the changes, as many at a time as the requests in flight can hold while writes go as they go.

        What is left when it ends was not begun: it was halted, or a FatalError says that nothing more is to be sent.
        The first caller comes first: the next one begins when the last change of this one has begun. Side by side they
        would all end at the same moment, and nothing be sent while their outcomes are written down.
        """
        before, self._all_begun = self._all_begun, asyncio.Event()
        all_begun = self._all_begun

        def remaining() -> Iterator[Change]:
            while waiting:
                change = waiting.popleft()
                if not waiting:
                    all_begun.set()
                yield change

        try:
            if before is not None:
                await before.wait()
            while waiting and not halted.is_set():
                operations = bulk.operations
                go_on = partial(_unchanged, bulk, operations, halted)
                width = min(self._pace.concurrency * operations, len(waiting))
                await for_each(remaining(), carry_out, width=width, go_on=go_on)
        finally:
            all_begun.set()

    def close(self) -> None:
        """See :class:`connectors.contract.Source`."""
        self._reader.close()
