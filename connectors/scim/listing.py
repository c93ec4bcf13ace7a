"""Lists read to their end, and proof that the end is the end.

A list that is read page by page can move under the reader, and services page wrongly in many ways. Whatever does not
add up becomes a sentence of ``Findings.doubts``, and the snapshot is then not complete; a list that cannot be read to
its end at all is a SchemaMismatchError. What no count can show: one entry that vanished from a page already read while
another appeared behind, at the same moment.

Source: RFC 7644 sections 3.4.2.4 (pagination) and 3.4.3 (search), RFC 9865 (cursors).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from connectors.contract import Kind, Unreadable
from connectors.errors import (
    ErrorCode,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    SettingsError,
)
from connectors.http import Call, HttpSession
from connectors.scim.columns import Collector
from connectors.scim.errors import error_of
from connectors.scim.profile import Paging
from connectors.scim.requests import dump, search_request
from connectors.scim.schema import ENDPOINTS

AHEAD = 4
"""Pages that are asked for at the same time."""
SMALL_PAGE = 100
"""Asked for when a service refuses the wanted page size."""
MAX_POISONED = 20
"""Entries that may make their page fail before the list counts as broken."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a list request."""

    entries: list[Any]
    total: int | None
    """What the service says the whole list has; None where it does not say."""
    next_cursor: str | None = None
    """Where the next page begins, in a list that is read by cursor; None on the last one."""

    @property
    def ids(self) -> list[Any]:
        return [entry.get("id") if isinstance(entry, dict) else None for entry in self.entries]

    @property
    def _first_id(self) -> Any:
        return self.entries[0].get("id") if self.entries and isinstance(self.entries[0], dict) else None

    def repeats(self, other: "Page") -> bool:
        """True when it holds the very entries of another page."""
        if len(self.entries) != len(other.entries) or self._first_id != other._first_id:
            return False
        return self.ids == other.ids


@dataclass(slots=True)
class Findings:
    """What was noticed while a list was read."""

    doubts: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


def page_of(body: Any, *, what: str) -> Page:
    """The page that a list response holds. Raises: SchemaMismatchError when it is none."""
    if not isinstance(body, dict):
        raise SchemaMismatchError(f"The list of {what} is not a JSON object: this is not a SCIM service.")
    entries = body.get("Resources")
    total = body.get("totalResults")
    if isinstance(total, str) and total.isdigit():
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        total = None
    if entries is None and total == 0:
        entries = []
    if not isinstance(entries, list):
        raise SchemaMismatchError(
            f"The list of {what} has no Resources although it is not empty: this is not a SCIM list response."
        )
    following = body.get("nextCursor")
    return Page(entries, total, following if isinstance(following, str) and following else None)


class Listing:
    """One list of entries, read into a collector."""

    def __init__(
        self,
        session: HttpSession,
        kind: Kind,
        *,
        page_size: int | None,
        paging: Paging = Paging.AUTO,
        params: dict[str, str | int] | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._kind = kind
        self._what = f"{kind}s"
        self._page_size: int | None = page_size
        self._paging = paging
        self._params = params or {}
        self._progress = progress
        self._totals: set[int] = set()
        self._findings = Findings()
        self._poisoned: dict[int, str] = {}
        """Place in the list of each entry that could not be delivered, and why."""

    async def read_into(self, collector: Collector) -> Findings:
        """Read the whole list. Raises: FatalError, RetryableError."""
        try:
            if self._paging is Paging.CURSOR:
                raise SchemaMismatchError("The profile says so.")
            first = await self._first_page()
        except SchemaMismatchError as error:
            if not await self._read_by_cursor(collector):
                raise error from None
            self._judge(collector)
            return self._findings
        self._take(first, collector)
        if self._paging is Paging.NONE:
            pass
        elif first.total is None:
            await self._read_until_empty(first, collector)
        else:
            length = len(first.entries)
            if length and length < first.total:
                await self._read_rest(first, first.total, collector)
            if first.entries or first.total:
                await self._look_past_the_end(first.total, collector)
        self._judge(collector)
        return self._findings

    # -- one page ------------------------------------------------------------------------------------------------

    async def _page(self, start: int, count: int | None, *, impatient: bool = False) -> Page:
        params: dict[str, str | int] = {**self._params, "startIndex": start}
        if count is not None:
            params["count"] = count
        return await self._ask(params, impatient=impatient)

    async def _ask(self, params: dict[str, str | int], *, impatient: bool = False) -> Page:
        endpoint, purpose = ENDPOINTS[self._kind], f"list the {self._what}"
        if self._paging is Paging.SEARCH:
            body = dump(search_request(params))
            call = Call("POST", f"{endpoint}/.search", purpose, body=body, impatient=impatient)
        else:
            call = Call("GET", endpoint, purpose, params=params, impatient=impatient)
        answer = await self._session.send(call)
        if answer.status != 200:
            raise error_of(answer, call, address=self._session.address)
        return page_of(answer.json(), what=self._what)

    async def _first_page(self) -> Page:
        """The first page, in the largest size that the service grants; without a size where the profile says so.

        Some services refuse large pages, and some fail on any ``count``.
        """
        largest = self._page_size
        smaller = [] if largest is None else [SMALL_PAGE, None] if largest > SMALL_PAGE else [None]
        refused: ProvisorError | None = None
        for size in [largest, *smaller]:
            self._page_size = size
            try:
                return await self._page(1, size)
            except (InvalidValueError, RetryableError) as error:
                if not _may_depend_on_size(error):
                    raise
                refused = refused or error
        assert refused is not None
        if isinstance(refused, RetryableError):
            raise refused
        raise SchemaMismatchError(f"The {self._what} cannot be listed. {refused}") from refused

    def _take(self, page: Page, collector: Collector) -> None:
        if page.total is not None:
            self._totals.add(page.total)
        collector.add(page.entries)
        self._progress(collector.count)

    # -- the rest of the list ------------------------------------------------------------------------------------

    async def _read_rest(self, first: Page, total: int, collector: Collector) -> None:
        length = len(first.entries)
        count = length if self._page_size is not None else None
        starts = range(1 + length, total + 1, length)
        async with aclosing(self._in_order(starts, count)) as pages:
            async for start, page in pages:
                if page.repeats(first):
                    if await self._read_by_search(first, total, collector):
                        return
                    raise SchemaMismatchError(
                        f"The service ignores paging: asked for {self._what} from number {start} on, it gave the first "
                        f"{length} of {total} again. The others cannot be read. Raise page_size above {total} if the "
                        "service allows it."
                    )
                self._take(page, collector)
                wanted = min(length, total + 1 - start)
                await self._fill_gap(start + len(page.entries), wanted - len(page.entries), collector)

    async def _read_by_search(self, first: Page, total: int, collector: Collector) -> bool:
        """Read the rest with the parameters in a body instead; False where that does not help either.

        A failure that may pass is no answer to that. Raises: FatalError, RetryableError.
        """
        if self._paging is not Paging.AUTO:
            return False
        self._paging = Paging.SEARCH
        start = 1 + len(first.entries)
        try:
            page = await self._page(start, self._page_size)
        except (RejectedError, SchemaMismatchError, SettingsError):
            return False
        if not page.entries or page.repeats(first):
            return False
        self._take(page, collector)
        length = len(page.entries)
        async with aclosing(self._in_order(range(start + length, total + 1, length), length)) as pages:
            async for _, following in pages:
                self._take(following, collector)
        return True

    async def _read_by_cursor(self, collector: Collector) -> bool:
        """Read the list from cursor to cursor; False where there are none. Raises: FatalError, RetryableError."""
        size = {} if self._page_size is None else {"count": self._page_size}
        cursors: set[str] = {""}
        cursor: str | None = ""
        while cursor is not None:
            try:
                page = await self._ask({**self._params, "cursor": cursor, **size})
            except InvalidValueError as error:
                if not collector.count:
                    return False
                raise _as_list_error(error, self._what) from error
            self._take(page, collector)
            cursor = page.next_cursor
            if cursor in cursors:
                raise SchemaMismatchError(
                    f"The list of {self._what} goes in a circle: a page names the cursor of an earlier one as the next."
                )
            if cursor is not None:
                cursors.add(cursor)
        return True

    async def _in_order(self, starts: range, count: int | None) -> AsyncGenerator[tuple[int, Page], None]:
        """Pages in the order of the list, a few of them asked for ahead."""
        pending: deque[tuple[int, asyncio.Task[Page]]] = deque()
        remaining = iter(starts)
        try:
            while True:
                while len(pending) < AHEAD and (start := next(remaining, None)) is not None:
                    pending.append((start, asyncio.create_task(self._patiently(start, count))))
                if not pending:
                    return
                start, task = pending.popleft()
                yield start, await task
        finally:
            for _, task in pending:
                task.cancel()
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)

    async def _patiently(self, start: int, count: int | None) -> Page:
        """The page, or what can be saved of it when one odd entry makes it fail.

        Raises: FatalError, RetryableError.
        """
        try:
            return await self._page(start, count)
        except (InvalidValueError, RetryableError) as error:
            if count is None or not _may_depend_on_size(error):
                raise _as_list_error(error, self._what) from error
            return await self._save_parts(start, count, error)

    async def _save_parts(self, start: int, count: int, error: ProvisorError) -> Page:
        """The page put together from ever smaller parts; None stands for an entry that cannot be delivered."""
        if count == 1:
            if len(self._poisoned) >= MAX_POISONED:
                raise _as_list_error(error, self._what) from error
            self._poisoned[start] = str(error)
            return Page([None], None)
        parts: list[Page] = []
        half = count // 2
        for part_start, part_count in ((start, half), (start + half, count - half)):
            try:
                parts.append(await self._page(part_start, part_count, impatient=True))
            except (InvalidValueError, RetryableError) as part_error:
                parts.append(await self._save_parts(part_start, part_count, part_error))
        totals = [part.total for part in parts if part.total is not None]
        return Page([entry for part in parts for entry in part.entries], max(totals, default=None))

    async def _fill_gap(self, start: int, missing: int, collector: Collector) -> None:
        """Read what a page left out: services may give fewer entries than asked for."""
        while missing > 0:
            page = await self._page(start, missing if self._page_size is not None else None)
            if not page.entries:
                return  # the count at the end tells
            self._take(page, collector)
            start += len(page.entries)
            missing -= len(page.entries)

    async def _read_until_empty(self, first: Page, collector: Collector) -> None:
        self._findings.doubts.append(f"The service does not say how many {self._what} there are (no totalResults).")
        start, page = 1, first
        while page.entries:
            start += len(page.entries)
            previous, page = page, await self._page(start, self._page_size)
            if page.entries and (page.repeats(first) or page.repeats(previous)):
                return
            self._take(page, collector)

    async def _look_past_the_end(self, total: int, collector: Collector) -> None:
        """One request behind the last entry: the list may have grown, or the total may be that of one page only."""
        try:
            page = await self._page(total + 1, 1 if self._page_size is not None else None, impatient=True)
        except (RejectedError, RetryableError, SchemaMismatchError):
            return  # some services fail there
        if page.total is not None:
            self._totals.add(page.total)
        ids = [str(entry_id) for entry_id in page.ids if entry_id]
        if collector.unseen(ids):
            self._findings.doubts.append(
                f"The service says that there are {total} {self._what}, but gives more behind the last of them."
            )

    # -- the sum -------------------------------------------------------------------------------------------------

    def _judge(self, collector: Collector) -> None:
        doubts = self._findings.doubts
        if len(self._totals) > 1:
            doubts.append(
                f"The number of {self._what} changed from {min(self._totals)} to {max(self._totals)} while they were "
                "read."
            )
        nameless = [place for place in collector.skipped if place not in self._poisoned]
        lost = {**self._poisoned, **dict.fromkeys(nameless, "It has no id.")}
        self._findings.unreadable += [
            Unreadable(self._kind, None, f"{ENDPOINTS[self._kind]}, number {place} of the list", lost[place])
            for place in sorted(lost)
        ]
        if nameless:
            doubts.append(f"{len(nameless)} of the {self._what} have no id.")
        if self._poisoned:
            doubts.append(f"{len(self._poisoned)} of the {self._what} could not be delivered by the service.")
        given, distinct = collector.count - len(collector.skipped), collector.distinct
        if distinct < given:
            doubts.append(
                f"{given - distinct} of {given} {self._what} came twice: the pages overlap, others may be missing."
            )
        total = max(self._totals, default=None)
        if total is not None and (collector.count < total or (collector.count > total and not doubts)):
            doubts.append(f"The service says that there are {total} {self._what}, but gave {collector.count}.")


def _may_depend_on_size(error: ProvisorError) -> bool:
    """True for a refusal and a failure that another page may not meet; a service that wants peace wants it anyhow."""
    if isinstance(error, RetryableError):
        return error.code is ErrorCode.INTERNAL_SERVER_ERROR and error.retry_after_s is None
    return True


def _as_list_error(error: ProvisorError, what: str) -> ProvisorError:
    if isinstance(error, RejectedError):
        return SchemaMismatchError(f"The {what} cannot be listed to the end. {error}")
    return error
