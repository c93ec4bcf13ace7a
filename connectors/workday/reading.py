"""Workers of a tenant: everybody, or who has changed, with people who are to come and last days that are to come.

Every page of a read is asked for as of one moment that Workday gave, so that pages do not shift, and its counts are
compared with what came. Workday deletes nobody: a person who leaves stays, as inactive. So somebody who is no longer
listed is mostly somebody whom the integration user may no longer see.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from connectors.errors import SchemaMismatchError
from connectors.kit import KEY, Asked, Known, Page, Reread, Row
from connectors.workday.asking import (
    REFERENCES,
    Answered,
    Question,
    Window,
    end_of,
    ids_of,
    key_of,
    moment,
    page_in,
    start_of,
    timestamp_in,
    timestamp_request,
    workers_request,
)
from connectors.workday.attributes import (
    ACTIVE_PATH,
    ENDS,
    HIRED,
    REFERENCES_ONLY,
    SINCE,
    WorkerPath,
    compile_paths,
    response_group,
)
from connectors.workday.settings import WorkdaySettings
from connectors.workday.soap import WorkdayWire

IN_FLIGHT = 3
"""Pages that are asked for while one is being taken apart."""
LARGEST_PAGE = 999
MOST_PAGES = 100_000
_OWN = (ACTIVE_PATH, "StatusHireRescinded", HIRED, SINCE, *ENDS)
"""Read of everybody, whatever is wanted."""


class WorkerRow(Mapping[str, Any]):
    """One profile of a worker. Rows of a read share the names of their columns, which keeps a large read small."""

    __slots__ = ("_held", "_names", "key", "wid")

    def __init__(self, key: str, wid: str, names: Mapping[str, int], held: list[Any]) -> None:
        self.key, self.wid, self._names, self._held = key, wid, names, held

    def __getitem__(self, path: str) -> Any:
        return self.key if path == KEY else self._held[self._names[path]]

    def __iter__(self) -> Iterator[str]:
        return iter((KEY, *self._names))

    def __len__(self) -> int:
        return len(self._names) + 1

    def put(self, path: str, value: Any) -> None:
        """Another value for a column."""
        self._held[self._names[path]] = value

    @property
    def active(self) -> bool | None:
        """None where Workday did not show it."""
        found: bool | None = self["Active"]
        return found and not self["StatusHireRescinded"]

    @property
    def latest(self) -> str:
        """The newer of two employments has the greater one."""
        return max(self[SINCE] or "", self[HIRED] or "")


@dataclass(slots=True)
class _Profiles:
    """Everything that was read, until it is known which profile of each person counts."""

    rows: dict[str, list[WorkerRow]] = field(default_factory=dict)
    """By key."""
    coming: dict[str, WorkerRow] = field(default_factory=dict)
    """People before their first day, as they will be on it, by key."""
    keys: dict[str, str] = field(default_factory=dict)
    """Key of every WID, also of profiles that do not count."""
    ends: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """Last days that are to come, by WID."""
    doubts: dict[str, None] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    """Keys of workers whose status was not shown."""
    nameless: int = 0

    def add(self, row: WorkerRow) -> None:
        self.keys[row.wid] = row.key
        self.rows.setdefault(row.key, []).append(row)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a read of changes starts from."""

    entry: datetime
    people: int
    """How many workers there were."""

    def text(self) -> str:
        return json.dumps({"entry": moment(self.entry), "people": self.people})

    @classmethod
    def of(cls, text: str) -> "Mark":
        """Raises: Reread."""
        try:
            held = json.loads(text)
            return cls(datetime.fromisoformat(held["entry"]), int(held["people"]))
        except (ValueError, KeyError, TypeError):
            raise Reread("The watermark could not be understood.") from None


async def pages(wire: WorkdayWire, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everybody, or who has changed since. Raises: Reread, FatalError, RetryableError."""
    read = await Reading.begin(wire, known.settings, asked.paths)
    since = None if asked.since is None else Mark.of(asked.since)
    if since is None:
        number = 0
        async for count in read.everybody():
            number += 1
            yield Page(next=f"page {number}", seen=count)
    else:
        await read.changes(since)
    await read.ahead(since=since is not None)
    yield read.finish(since)


class Reading:
    """One read, as of one moment."""

    def __init__(self, wire: WorkdayWire, settings: WorkdaySettings, paths: Sequence[str], entry: datetime) -> None:
        self._wire, self._settings, self._paths, self._entry = wire, settings, paths, entry
        self._today = entry.date()
        wanted = _paths(settings, paths)
        self._reader = compile_paths(wanted)
        self._group = response_group(wanted)
        self._manages = [name for name, one in wanted.items() if one.form == "reference"]
        self._found = _Profiles()
        self._present: dict[str, list[str]] | None = None
        """WIDs of everybody who is there, by key; None where everybody was read."""
        self._total = 0

    @classmethod
    async def begin(cls, wire: WorkdayWire, settings: WorkdaySettings, paths: Sequence[str]) -> "Reading":
        """A read as of now by Workday's clock. Raises: FatalError, RetryableError."""
        return cls(wire, settings, paths, await server_time(wire, settings))

    # -- what is read --------------------------------------------------------------------------------------------------

    async def everybody(self) -> AsyncIterator[int]:
        """Every worker as of today; gives how many have come so far."""
        count = 0
        async for workers in self._listed(self._question(), "list the workers"):
            for worker in workers:
                self._take(worker)
            count += len(workers)
            yield count
        self._total = count

    async def changes(self, since: Mark) -> None:
        """Workers with entries that are new, or have taken effect meanwhile; and who is there at all."""
        back = since.entry - timedelta(minutes=self._settings.overlap_minutes)
        effective = Window(start_of(since.entry.date() - timedelta(days=1)), end_of(self._today), entered=False)
        changed: dict[str, None] = {}
        for window in (Window(back, self._entry), effective):
            question = replace(self._question(), window=window, group=REFERENCES_ONLY, count=LARGEST_PAGE)
            async for workers in self._listed(question, "list what has changed", once=False):
                changed |= dict.fromkeys(wid for worker in workers if (wid := ids_of(worker).get("WID")))
        await self._sweep()
        if self._total < since.people:
            self._doubt(
                f"Workday shows {self._total:,} workers, and showed {since.people:,} before. It deletes nobody, so the "
                "integration user has probably lost the right to see some."
            )
        await self._read(changed)

    async def _sweep(self) -> None:
        """The keys of everybody, so that people who are gone are known to be."""
        question = replace(self._question(), group=REFERENCES_ONLY, count=LARGEST_PAGE)
        self._present = {}
        async for workers in self._listed(question, "list the keys of the workers"):
            for worker in workers:
                ids = ids_of(worker)
                key, wid = key_of(worker, ids, self._settings.key), ids.get("WID")
                if key is None or wid is None:
                    self._found.nameless += 1
                    continue
                self._present.setdefault(key, []).append(wid)
                self._found.keys[wid] = key
            self._total += len(workers)

    async def _read(self, wids: Mapping[str, None]) -> None:
        """These workers as of today, with every other profile of the same people."""
        present = self._present or {}
        keys = {self._found.keys[wid]: None for wid in wids if wid in self._found.keys}
        every = {wid: None for key in keys for wid in present.get(key, ())} | dict(wids)
        every = {wid: None for wid in every if self._found.keys.get(wid) not in self._found.rows}
        async for worker in self._by_reference(tuple(every), self._today, self._group):
            self._take(worker)

    async def ahead(self, *, since: bool) -> None:
        """People whose first day is to come, as of that day, and last days that are to come."""
        if self._settings.ahead_days == 0:
            return
        until = self._today + timedelta(days=self._settings.ahead_days)
        window = Window(start_of(self._today - timedelta(days=1)), end_of(until), entered=False)
        paths = {name: self._settings.catalogue[name] for name in _OWN}
        reader, group = compile_paths(paths), response_group(paths)
        # People who will have left by then are inactive then, and wanted all the same.
        everybody = self._settings.population.model_copy(update={"inactive": True})
        question = replace(self._question(), window=window, effective=until, group=group, population=everybody)
        starts: dict[date, list[str]] = {}
        async for workers in self._listed(question, "list who is to come and to go", once=False):
            for worker in workers:
                wid = ids_of(worker).get("WID")
                held = dict(zip(_OWN, reader.values(worker), strict=True))
                hired = _day(held[HIRED])
                if wid is None:
                    continue
                if hired is not None and self._today < hired <= until:
                    starts.setdefault(hired, []).append(wid)
                elif any(_day(held[path]) for path in ENDS):
                    self._found.ends[wid] = (held[ENDS[0]], held[ENDS[1]])
        for day, wids in sorted(starts.items()):
            async for worker in self._by_reference(tuple(dict.fromkeys(wids)), day, self._group):
                self._take(worker, coming=True)
        if since:
            # A last day that has come near since the last read has no new entry. And what somebody is today counts
            # before what they will be.
            present = self._present or {}
            now = [wid for key in self._found.coming for wid in present.get(key, ())]
            await self._read(dict.fromkeys((*self._found.ends, *now)))

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _question(self) -> Question:
        settings = self._settings
        return Question(
            settings.version, settings.population, self._group, self._entry, self._today, settings.page_size
        )

    async def _listed(self, question: Question, purpose: str, *, once: bool = True) -> AsyncIterator[Sequence[Any]]:
        """The workers of each page. What does not fit together is a doubt. ``once``: nobody may come twice."""
        seen: set[str] = set()
        first = await self._page(question, purpose, 1)
        count = 0
        for number, answered in enumerate([first], 1):
            count += self._judge(answered, first, number, purpose, seen if once else None)
            yield answered.workers
        last = min(first.pages or 1, MOST_PAGES)
        waiting: deque[asyncio.Task[Answered]] = deque()
        try:
            for number in range(2, last + 1):
                while len(waiting) < IN_FLIGHT and number + len(waiting) <= last:
                    ask = self._page(question, purpose, number + len(waiting))
                    waiting.append(asyncio.get_running_loop().create_task(ask))
                answered = await waiting.popleft()
                count += self._judge(answered, first, number, purpose, seen if once else None)
                yield answered.workers
        finally:
            for task in waiting:
                task.cancel()
        if first.total is None or first.pages is None:
            self._doubt(f"Asked to {purpose}, Workday did not say how many there are.")
        elif count != first.total:
            self._doubt(f"Asked to {purpose}, Workday counts {first.total:,} and gave {count:,}.")

    async def _page(self, question: Question, purpose: str, number: int) -> Answered:
        return page_in(await self._wire.ask(purpose, workers_request(question, number)))

    def _judge(self, answered: Answered, first: Answered, number: int, purpose: str, seen: set[str] | None) -> int:
        """Holds a page against what it says of itself; gives how many workers are in it."""
        count = len(answered.workers)
        if answered.said is not None and answered.said != count:
            self._doubt(f"A page says that it has {answered.said:,} workers and has {count:,}.")
        if answered.total is not None and answered.total != first.total:
            self._doubt(f"While Workday was to {purpose}, its count went from {first.total} to {answered.total}.")
        if answered.page is not None and answered.page != number:
            self._doubt(f"Asked for page {number}, Workday gave page {answered.page}.")
        if number > 1 and answered.said is None:
            self._doubt(f"Page {number} came without its counts.")
        if seen is not None:
            wids = [wid for worker in answered.workers if (wid := ids_of(worker).get("WID"))]
            if len(set(wids)) < len(wids) or seen.intersection(wids):
                self._doubt("A worker was listed twice: the pages have shifted, so others may have been missed.")
            seen.update(wids)
        return count

    async def _by_reference(
        self, wids: Sequence[str], effective: date, group: Mapping[str, bool]
    ) -> AsyncIterator[Any]:
        """These workers as of a day; those who are not there then are left out."""
        for start in range(0, len(wids), REFERENCES):
            some = tuple(wids[start : start + REFERENCES])
            question = replace(self._question(), wids=some, effective=effective, group=group, count=REFERENCES)
            async for workers in self._listed(question, "read workers again"):
                for worker in workers:
                    if ids_of(worker).get("WID") not in some:
                        raise SchemaMismatchError(
                            "Workday was queried for some workers and returned others as well: it ignores the "
                            "condition. "
                            "Nothing was written."
                        )
                    yield worker

    def _doubt(self, sentence: str) -> None:
        self._found.doubts[sentence] = None

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _take(self, worker: Any, *, coming: bool = False) -> None:
        ids = ids_of(worker)
        key, wid = key_of(worker, ids, self._settings.key), ids.get("WID")
        if key is None or wid is None:
            self._found.nameless += 1
            return
        row = WorkerRow(key, wid, self._reader.names, self._reader.values(worker))
        if coming:
            if row.active and key not in self._found.coming:
                self._found.coming[key] = row
            self._found.keys[wid] = key
        elif row.active is None:
            self._found.keys[wid] = key
            self._found.hidden.append(key)
        else:
            self._found.add(row)

    def finish(self, since: Mark | None) -> Page:
        """The page with everybody: of each person the profile that counts."""
        found, chosen, unreadable = self._found, [], []
        held = set(found.hidden)
        for key in dict.fromkeys((*found.rows, *found.coming)):
            if key in held:
                continue
            rows = found.rows.get(key, [])
            active = [row for row in rows if row.active]
            if len(active) > 1:
                unreadable.append(
                    (key, f"Workday has {len(active)} active workers with this {self._settings.key}; none is used.")
                )
                continue
            row = active[0] if active else found.coming.get(key) or max(rows, key=lambda one: one.latest)
            self._settle(row)
            chosen.append(row)
        unreadable += [
            (key, "Workday did not show whether the worker is active.") for key in dict.fromkeys(found.hidden)
        ]
        if found.hidden:
            self._doubt(
                f"Workday showed {len(held):,} workers without their status. Give the integration user's security "
                "group Get on the domain Worker Data: Current Staffing Information."
            )
        nameless = [(None, f"A worker has no {self._settings.key} or no WID.")] * found.nameless
        present = None if since is None else tuple(dict.fromkeys((*(self._present or ()), *found.coming)))
        rows_: Sequence[Row] = chosen
        return Page(
            rows_,
            present=present,
            unreadable=(*unreadable, *nameless),
            doubt=" ".join(found.doubts),
            watermark=Mark(self._entry, self._total).text(),
        )

    def _settle(self, row: WorkerRow) -> None:
        """Last days that are to come, whether the worker counts as active, and managers by their keys."""
        if row["StatusHireRescinded"] and row["Active"]:
            row.put("Active", False)
        for path, value in zip(ENDS, self._found.ends.get(row.wid, (None, None)), strict=True):
            if value is not None and row[path] is None and row.active:
                row.put(path, value)
        for path in self._manages:
            wid = row[path]
            if wid is not None:
                row.put(path, self._found.keys.get(wid))


def _paths(settings: WorkdaySettings, wanted: Sequence[str]) -> dict[str, WorkerPath]:
    """The attributes that are read: those that are wanted, and those that every read needs."""
    catalogue = settings.catalogue
    return {name: catalogue[name] for name in dict.fromkeys((*_OWN, *wanted)) if name in catalogue}


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text[:10])
    except ValueError:
        return None


async def server_time(wire: WorkdayWire, settings: WorkdaySettings) -> datetime:
    """Workday's own time, in UTC: a window may not end after it. Raises: SchemaMismatchError."""
    found = timestamp_in(await wire.ask("tell its time", timestamp_request(settings.version)))
    if found is None:
        raise SchemaMismatchError("Workday did not return a readable time.")
    return found.astimezone(UTC)
