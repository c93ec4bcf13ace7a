"""Pages of a listing as a snapshot: every entry once, in form, with proof that nobody is missing or a sentence why not.

A listing counts as complete only where its last page has no next one, the counts that the system gave agree, no entry
came twice, and no page had a doubt. Everything else makes absence prove nothing.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from connectors.contract import ACTIVE, ADDRESS, FAMILY, STATE, Attribute, Form, Kind, Unreadable, Wanted
from connectors.errors import (
    RejectedError,
    SchemaMismatchError,
)
from connectors.kit.system import KEY, Asked, Edge, Known, Page, Reread, Row, Sought, System
from connectors.kit.values import column, same
from connectors.rows import text_series

Progress = Callable[[int], None]

_OWN = {
    ACTIVE: Attribute(ACTIVE, form=Form.BOOLEAN),
    STATE: Attribute(STATE),
    ADDRESS: Attribute(ADDRESS),
    FAMILY: Attribute(FAMILY),
}


def fits(known: Known, sought: Sought, row: Row) -> bool:
    """Whether a row is one that was looked for; another one means that the system has dropped the condition."""
    if sought.path == KEY:
        return str(row.get(KEY)) in sought.values
    attribute = known.attribute(sought.kind, sought.path)
    return any(_has(attribute, row.get(sought.path), value) for value in sought.values)


@dataclass(slots=True)
class Listing:
    """What one kind's pages have brought so far."""

    kind: Kind
    rows: dict[str, Row] = field(default_factory=dict)
    edges: dict[tuple[str, str], str] = field(default_factory=dict)
    """Memberships and their own ids."""
    gone: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    """Of a listing of changes: users who are off now and are not among the rows."""
    edges_gone: list[Edge] = field(default_factory=list)
    present: set[str] | None = None
    """Of a listing of changes: keys of all entries that are there; None where the system says who is gone."""
    there: int | None = None
    """The same where the system says only how many these are."""
    unreadable: list[Unreadable] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    watermark: str | None = None

    @property
    def everybody(self) -> "pd.Index[str] | int | None":
        """Of a listing of changes: keys of all entries that are there, or how many; None where neither is known."""
        return self.there if self.present is None else pd.Index(sorted(self.present), dtype="str")


@dataclass(slots=True)
class Content:
    """Both kinds of a read."""

    listings: dict[Kind, Listing]
    read_at: datetime
    since: bool = False
    """True where only changes were listed."""
    reread: str = ""


def asked_paths(known: Known, kind: Kind, paths: Iterable[str]) -> tuple[str, ...]:
    """Paths to ask the system for: its switch's own attribute in the place of the computed boolean."""
    switch = known.switch
    asked: dict[str, None] = {}
    for path in paths:
        if path in (ACTIVE, STATE) and kind is Kind.USER:
            if switch is not None:
                asked[switch.path] = None
        elif path not in _OWN:
            asked[path] = None
    return tuple(asked)


async def read(
    system: System,
    wire: Any,
    known: Known,
    wanted: Wanted,
    since: str | None,
    progress: Progress,
    rules: "Rules | None" = None,
) -> Content:
    """Everything, or what changed since the watermarks in ``since``. Raises: FatalError, RetryableError."""
    rules = rules or RULES
    began = datetime.now(UTC)
    marks, reread = rules.read_envelope(system, known, wanted, since)
    if marks is not None:
        try:
            return Content(await _list_all(system, wire, known, wanted, marks, progress, rules), began, since=True)
        except Reread as changed:
            reread = str(changed) or "The system no longer knows the watermark."
    return Content(await _list_all(system, wire, known, wanted, None, progress, rules), began, reread=reread)


async def _list_all(
    system: System,
    wire: Any,
    known: Known,
    wanted: Wanted,
    marks: Mapping[Kind, str] | None,
    progress: Progress,
    rules: "Rules",
) -> dict[Kind, Listing]:
    found: dict[Kind, Listing] = {}
    counted = 0
    for kind in Kind:
        if kind is Kind.GROUP and (wanted.groups is None or not known.families):
            continue
        paths = asked_paths(known, kind, wanted.of(kind))
        since = None if marks is None else marks.get(kind)
        asked = Asked(kind, paths, since=since, members=kind is Kind.GROUP)

        def tell(count: int, before: int = counted) -> None:
            progress(before + count)

        found[kind] = await list_kind(system, wire, known, asked, tell, rules)
        counted += len(found[kind].rows)
    return found


async def list_kind(
    system: System, wire: Any, known: Known, asked: Asked, progress: Progress, rules: "Rules"
) -> Listing:
    """One kind's pages, each taken once. Raises: FatalError, RetryableError, Reread."""
    listing, noun = Listing(asked.kind), f"{asked.kind}s"
    cursors: set[str] = set()
    partial: list[str] = []
    total: int | None = None
    open_end: str | None = None
    pages = system.pages(wire, known, asked)
    try:
        async for page in pages:
            rules.take(listing, page, system.name)
            if page.partial:
                partial += [str(row[KEY]) for row in page.rows]
            total = page.total if page.total is not None else total
            listing.watermark = page.watermark or listing.watermark
            progress(max(len(listing.rows), page.seen))
            open_end = page.next
            if rules.is_circle(page.next, cursors):
                listing.doubts.append(
                    f"The listing of {noun} went round in a circle after {len(listing.rows):,} entries and was stopped."
                )
                open_end = None
                break
            if page.next is not None:
                cursors.add(page.next)
    except RejectedError as error:
        listing.doubts.append(f"The listing of {noun} was refused after {len(listing.rows):,} entries: {error}")
        open_end = None
    finally:
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()
    if open_end is not None:
        listing.doubts.append(f"The listing of {noun} ended although more pages were announced.")
    count = len(listing.rows) + len(listing.unreadable)
    if total is not None and asked.since is None and not rules.agrees(count, total):
        listing.doubts.append(f"The system counts {total:,} {noun} and listed {count:,}.")
    if partial:
        await _complete(system, wire, known, asked, listing, partial)
    return listing


def take_page(listing: Listing, page: Page, where: str) -> None:
    """A page's content. Raises: SchemaMismatchError for rows without a key."""
    noun = f"{listing.kind}s"
    doubled = 0
    for row in page.rows:
        key = row.get(KEY)
        if key is None or key == "":
            raise SchemaMismatchError(f"{where} listed {noun} without a key.")
        key = str(key)
        doubled += key in listing.rows
        listing.rows[key] = row
    if doubled:
        listing.doubts.append(
            f"{doubled:,} {noun} were listed twice: entries moved between pages, so others may have been missed."
        )
    for edge in page.edges:
        listing.edges[edge.group, edge.member] = edge.id
    for key in page.gone:
        listing.gone.add(str(key))
        listing.rows.pop(str(key), None)
    listing.disabled |= {str(key) for key in page.disabled}
    listing.edges_gone += page.edges_gone
    if page.present is not None:
        listing.present = (listing.present or set()) | {str(key) for key in page.present}
    listing.there = page.there if page.there is not None else listing.there
    for held, why in page.unreadable:
        listing.unreadable.append(Unreadable(listing.kind, held, f"{noun} {held or 'without a key'}", why))
        if held is None:
            listing.doubts.append(f"An entry among the {noun} could not be read: {why}")
    if page.doubt and page.doubt not in listing.doubts:
        listing.doubts.append(page.doubt)


async def _complete(
    system: System, wire: Any, known: Known, asked: Asked, listing: Listing, keys: Sequence[str]
) -> None:
    """Rows that hold only what changed, read whole; those that are gone by now are gone."""
    whole = await look_up(system, wire, known, Sought(asked.kind, KEY, tuple(dict.fromkeys(keys)), asked.paths))
    for key in dict.fromkeys(keys):
        row = whole.rows.get(key)
        if row is None:
            listing.rows.pop(key, None)
            listing.gone.add(key)
        else:
            listing.rows[key] = row
    listing.edges |= {edge: id_ for edge, id_ in whole.edges.items() if edge[0] in whole.rows}


async def look_up(system: System, wire: Any, known: Known, sought: Sought, rules: "Rules | None" = None) -> Listing:
    """Entries by value or key, in requests of bounded size. Raises: SchemaMismatchError where the condition is dropped.

    Several entries with the same value are all given.
    """
    assert system.look is not None
    rules = rules or RULES
    found = Listing(sought.kind)
    size = max(1, known.limits.fetch if sought.path == KEY else known.limits.find)
    for start in range(0, len(sought.values), size):
        values = sought.values[start : start + size]
        paths = tuple(dict.fromkeys((*sought.paths, *(() if sought.path == KEY else (sought.path,)))))
        page = await system.look(wire, known, Sought(sought.kind, sought.path, values, paths))
        part = Sought(sought.kind, sought.path, values, paths)
        for row in page.rows:
            if not rules.fits(known, part, row):
                raise SchemaMismatchError(
                    f"{system.name} was queried for {sought.kind}s by {sought.path} and returned others as well: it "
                    "ignores the condition. Nothing was written."
                )
            found.rows[str(row[KEY])] = row
        for edge in page.edges:
            found.edges[edge.group, edge.member] = edge.id
        if page.doubt:
            found.doubts.append(page.doubt)
    return found


def _has(attribute: Attribute, held: Any, value: str) -> bool:
    if isinstance(held, list | tuple | set | frozenset):
        one = Attribute(attribute.path, form=attribute.form, same=attribute.same)
        return any(same(one, item, value) for item in held)
    return same(attribute, held, value)


# Frames


def frame_of(known: Known, listing: Listing, wanted: Iterable[str]) -> pd.DataFrame:
    """Entries as a frame: index key, one column per wanted path, in form."""
    kind, switch = listing.kind, known.switch if listing.kind is Kind.USER else None
    hidden = {family.needs_member for family in known.families} - {None}
    keys = [key for key in listing.rows if key not in hidden]
    rows = [listing.rows[key] for key in keys]
    columns: dict[str, pd.Series[Any]] = {}
    for path in dict.fromkeys(wanted):
        attribute = _OWN.get(path) or known.attribute(kind, path)
        if switch is not None and path == switch.column:
            values: list[Any] = [switch.active(row.get(switch.path)) for row in rows]
            attribute = _OWN[ACTIVE]
        elif switch is not None and path == STATE:
            values = [row.get(STATE, row.get(switch.path)) for row in rows]
        else:
            values = [row.get(path) for row in rows]
        columns[path] = column(attribute, values)
    index = pd.Index(text_series(pa.array(keys, pa.large_string()), keep_empty=True), name="key")
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))
    frame.index = index
    return frame


def edges_of(known: Known, edges: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Memberships as an edge frame, without those of an entry that only stands in."""
    hidden = {family.needs_member for family in known.families} - {None}
    shown = [(group, member) for group, member in edges if member not in hidden]
    return pd.DataFrame(
        {
            "group": pd.Series([group for group, _ in shown], dtype="str"),
            "member": pd.Series([member for _, member in shown], dtype="str"),
        }
    )


# Watermarks


def _digest(system: System, known: Known, wanted: Wanted) -> str:
    settings = known.settings.model_dump_json() if hasattr(known.settings, "model_dump_json") else repr(known.settings)
    text = json.dumps([system.name, settings, sorted(wanted.users), sorted(wanted.groups or ()), wanted.groups is None])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def envelope(system: System, known: Known, wanted: Wanted, listings: Mapping[Kind, Listing]) -> str | None:
    """The watermark to keep: each kind's own, and what it is good for; None where a kind has none."""
    marks = {str(kind): listing.watermark for kind, listing in listings.items()}
    if not marks or None in marks.values():
        return None
    return json.dumps(
        {"v": 1, "generation": system.generation, "for": _digest(system, known, wanted), "marks": marks}, sort_keys=True
    )


def read_envelope(system: System, known: Known, wanted: Wanted, text: str | None) -> tuple[dict[Kind, str] | None, str]:
    """The watermarks by kind where they are good for what is asked now; else None, and why not."""
    if text is None:
        return None, ""
    try:
        held = json.loads(text)
        marks = {Kind(kind): str(mark) for kind, mark in held["marks"].items()}
        version, generation, good_for = held["v"], held["generation"], held["for"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "The watermark could not be understood."
    if version != 1 or generation != system.generation:
        return None, "The watermark is of another version of the connector."
    if good_for != _digest(system, known, wanted):
        return None, "The watermark is of other settings or attributes."
    return marks, ""


# Rules


@dataclass(frozen=True, slots=True)
class Rules:
    """What reading decides by, as parts, so that a test can put a broken one in the place of any."""

    take: Callable[[Listing, Page, str], None] = take_page
    is_circle: Callable[[str | None, set[str]], bool] = lambda cursor, seen: cursor is not None and cursor in seen
    agrees: Callable[[int, int], bool] = lambda count, total: count == total
    fits: Callable[[Known, Sought, Row], bool] = fits
    frame_of: Callable[[Known, Listing, Iterable[str]], pd.DataFrame] = frame_of
    read_envelope: Callable[..., tuple[dict[Kind, str] | None, str]] = read_envelope


RULES = Rules()
