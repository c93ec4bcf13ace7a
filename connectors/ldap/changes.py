"""What changed since the last read: by Active Directory's numbers, by synchronisation, or by time stamps.

A number or a time stamp tells who changed, never who is gone. Who is gone is told by deleted entries, by
synchronisation, or by a look at the keys of everybody.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.contract import Kind
from connectors.kit import Page, Reread
from connectors.ldap import names, values
from connectors.ldap.controls import (
    Oid,
    SyncMode,
    cookie_of,
    extended_dn,
    paged,
    show_deleted,
    sync_done,
    sync_info,
    sync_request,
    sync_state,
)
from connectors.ldap.entries import decode_key, parse_extended, uuid_of
from connectors.ldap.facts import UsnMark
from connectors.ldap.opened import Directory
from connectors.ldap.requests import Scope, Search
from connectors.ldap.results import Code, meaning
from connectors.ldap.settings import Changes, GroupEntries, UserEntries
from connectors.ldap.wire import Connection, Reply

if TYPE_CHECKING:
    from connectors.ldap.reading import Reader

_WATCHED_CLASSES = (
    "(|(objectCategory=person)(objectClass=group)(objectClass=organizationalUnit)(objectClass=container))"
)

_BEFORE_ALL = "19700101000000Z"
"""The time stamp that a listing without entries begins from: whatever comes to lie there is later."""


@dataclass(slots=True)
class Seen:
    """The latest time stamp of a listing."""

    latest: str = ""

    def add(self, reply: Reply) -> None:
        """Take note of the entries of an answer."""
        for _, attributes in reply.entries:
            for name in ("modifyTimestamp", "modifytimestamp"):
                for stamp in attributes.get(name, ()):
                    self.latest = max(self.latest, stamp.decode())


def begin(directory: Directory, how: Changes) -> str | None:
    """What the next read of changes starts from, asked before anything is read. None where nobody can tell."""
    match how:
        case Changes.USN:
            return _usn_now(directory).encode()
        case Changes.SYNCREPL:
            cookie = _context_number(directory)
            return f"rid=000,csn={cookie}" if cookie else None
    return None


def end(how: Changes, mark: str | None, seen: Seen) -> str | None:
    """The watermark after a listing."""
    return (seen.latest or _BEFORE_ALL) if how is Changes.TIMESTAMP else mark


async def pages(directory: Directory, reader: "Reader", how: Changes, since: str) -> AsyncIterator[Page]:
    """Entries that changed, those that are gone, and the next watermark. Raises: Reread."""
    match how:
        case Changes.USN:
            found = await directory.run(_by_usn, directory, reader, since)
        case Changes.SYNCREPL:
            found = await directory.run(_by_synchronisation, directory, reader, since)
        case Changes.TIMESTAMP:
            found = await directory.run(_by_time, directory, reader, since)
        case _:
            raise Reread("The job does not ask for changes.")
    for number, page in enumerate(found):
        last = number == len(found) - 1
        yield page if last else replace(page, next=f"changes {number}", watermark=None)


@contextmanager
def _one(directory: Directory) -> Iterator[Connection]:
    with directory.lines.connection() as connection:
        yield connection


def _rows(directory: Directory, reader: "Reader", condition: str) -> list[Page]:
    """Entries below the bases that fulfil a condition. Raises: Reread where the listing did not reach its end."""
    with _one(directory) as connection:
        found = [page for _, page in reader.listing(connection, condition)]
    for page in found:
        if page.doubt:
            raise Reread(page.doubt)
    return found


# Active Directory


@dataclass(frozen=True, slots=True)
class _Watched:
    """What happened in the whole domain since a number."""

    changed: frozenset[str]
    """Keys of people and groups that changed, wherever they lie now."""
    deleted: frozenset[str]


def _usn_now(directory: Directory) -> UsnMark:
    facts = directory.lines.facts(anew=True)
    reply = directory.lines.ask(Search(facts.service, attributes=("invocationId",), scope=Scope.BASE))
    invocation = ""
    if reply.entries:
        held = next(iter(reply.entries[0][1].values()), [])
        invocation = values.guid_text(held[0]) if held and len(held[0]) == 16 else ""
    return UsnMark(facts.service, invocation, facts.usn, values.iso(datetime.now(UTC)))


def _by_usn(directory: Directory, reader: "Reader", since: str) -> list[Page]:
    before = UsnMark.decode(since)
    if before is None:
        raise Reread("The watermark could not be understood.")
    watched: _Watched
    if reader.kind is Kind.GROUP and before.usn in directory.watched:
        now, watched = directory.watched.pop(before.usn)
    else:
        now = _usn_now(directory)
        if (now.service, now.invocation) != (before.service, before.invocation):
            raise Reread("Another domain controller answers, or its database was restored.")
        if now.usn < before.usn:
            raise Reread("The domain controller counts fewer changes than before.")
        watched = _watch(directory, before, now)
        directory.watched[before.usn] = (now, watched)
    if not watched.changed and not watched.deleted:
        return [Page(watermark=now.encode())]
    condition = _since(before, now)
    found = _rows(directory, reader, condition) if watched.changed else []
    if reader.kind is Kind.GROUP:
        found += _primary_groups(directory, reader, found)
    there = {str(row["provisor:key"]) for page in found for row in page.rows}
    there |= {key for page in found for key, _ in page.unreadable if key is not None}
    gone = sorted((watched.changed - there) | watched.deleted)
    return [*found, Page(gone=gone, watermark=now.encode())]


def _since(before: UsnMark, now: UsnMark) -> str:
    """Who has a later number, or an account that expired since."""
    start = values.filetime_of_iso(before.read_at)
    stop = values.filetime_of_iso(now.read_at)
    expired = f"(&(accountExpires>={start})(accountExpires<={stop}))"
    return f"(|(uSNChanged>={before.usn + 1}){expired})"


def _watch(directory: Directory, before: UsnMark, now: UsnMark) -> _Watched:
    """Raises: Reread where the domain cannot be watched, or a container changed."""
    root = directory.lines.facts().contexts[0]
    own = [
        one.filter for one in (directory.settings.users, directory.settings.groups) if one is not None and one.filter
    ]
    condition = names.all_of([names.any_of([_WATCHED_CLASSES, *own]), _since(before, now)])
    changed: set[str] = set()
    for dn, held in _all_keys(directory, root, condition, ("objectClass", "uSNCreated")):
        classes = {one.decode().lower() for one in held.get("objectclass", [])}
        key, plain = parse_extended(dn)
        if classes & {"organizationalunit", "container"}:
            created = int(next(iter(held.get("usncreated", [b"0"]))))
            if created <= before.usn and not names.lies_below(plain, f"CN=System,{root}"):
                raise Reread(f"The container {plain} was changed, so that entries below it may have other names.")
        elif key is not None:
            changed.add(key)
    return _Watched(frozenset(changed), _deleted(directory, root, before))


def _deleted(directory: Directory, root: str, before: UsnMark) -> frozenset[str]:
    """Keys of entries deleted since. Raises: Reread where deleted entries may not be seen."""
    container = f"CN=Deleted Objects,{root}"
    wanted = f"(|(&(isDeleted=TRUE)(uSNChanged>={before.usn + 1}))(distinguishedName={names.escape_filter(container)}))"
    found: set[str] = set()
    seen = False
    for dn, _ in _all_keys(directory, container, wanted, ("1.1",), deleted=True):
        key, plain = parse_extended(dn)
        if names.same(plain, container):
            seen = True
        elif key is not None:
            found.add(key)
    if not seen:
        raise Reread(
            f"{container} cannot be read, so deletions are not reported: allow the account to list and read it."
        )
    return frozenset(found)


def _all_keys(
    directory: Directory, base: str, condition: str, attributes: tuple[str, ...], *, deleted: bool = False
) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """Names, with keys in them, and attributes in lower case. Raises: Reread."""
    cookie = b""
    extra = (extended_dn(), show_deleted()) if deleted else (extended_dn(),)
    with _one(directory) as connection:
        while True:
            directory.lines.requests += 1
            reply = connection.ask(Search(base, condition, attributes, controls=(*extra, paged(1000, cookie))))
            if not reply.answer.fine:
                raise Reread(f"The changes below {base} were not reported: {meaning(reply.answer)}.")
            for dn, held in reply.entries:
                yield dn, {label.lower(): found for label, found in held.items()}
            came = reply.control(Oid.PAGED)
            cookie = cookie_of(came) if came is not None else b""
            if not cookie:
                return


def _primary_groups(directory: Directory, reader: "Reader", found: list[Page]) -> list[Page]:
    """Groups that changed users have as their primary group: such a membership moves no number of the group."""
    numbers = [rid for rid in directory.primary if rid > 0]
    if not numbers:
        return []
    read = {str(row["provisor:key"]) for page in found for row in page.rows}
    domain = directory.lines.facts().signed_in_sid.rpartition("-")[0]
    if not domain:
        raise Reread("The domain's identifier is not known, so primary groups have to be read whole.")
    sids = (names.equals("objectSid", values.sid_bytes(f"{domain}-{rid}")) for rid in numbers)
    every = _rows(directory, reader, names.any_of(sids))
    if any(str(row["provisor:key"]) not in read for page in every for row in page.rows):
        raise Reread("A primary group got or lost members, who are only told by the users themselves.")
    return []


# Synchronisation


def _context_number(directory: Directory) -> str:
    for context in directory.lines.contexts():
        reply = directory.lines.ask(Search(context, attributes=("contextCSN",), scope=Scope.BASE))
        for _, held in reply.entries:
            for stamps in held.values():
                return ";".join(sorted(stamp.decode() for stamp in stamps))
    return ""


def _by_synchronisation(directory: Directory, reader: "Reader", since: str) -> list[Page]:
    found: list[Reply] = []
    cookie: bytes | None = None
    gone: set[str] = set()
    present: set[str] = set()
    told = True
    with _one(directory) as connection:
        for base in directory.bases(reader.section):
            directory.lines.requests += 1
            search = Search(base, reader.filter, reader.attributes(), controls=(sync_request(since.encode()),))
            reply = connection.ask(search, entry_controls=True)
            if reply.answer.code == Code.REFRESH_REQUIRED:
                raise Reread("The server no longer knows what changed since the last read.")
            if not reply.answer.fine:
                raise Reread(f"The changes below {base} were not reported: {meaning(reply.answer)}.")
            changed, here, left = _sorted(reply)
            gone |= left
            present |= here
            done = reply.control(Oid.SYNC_DONE)
            ended = sync_done(done) if done is not None else None
            if ended is None:
                raise Reread("The server did not say where its changes end.")
            told = told and ended.deletes
            cookie = ended.cookie or cookie
            if changed:
                directory.learn(_names_of(reader, changed))
                found.append(replace(reply, entries=changed))
        rows = [reader.page(connection, one) for one in found]
    if _needs_names(reader, rows):
        learn_everybody(directory)
        with _one(directory) as connection:
            rows = [reader.page(connection, one) for one in found]
    mark = cookie.decode() if cookie else since
    last = Page(gone=sorted(gone), watermark=mark) if told else Page(watermark=mark, present=_there(rows, present))
    return [*rows, last]


def _there(rows: list[Page], present: set[str]) -> tuple[str, ...]:
    changed = {str(row["provisor:key"]) for page in rows for row in page.rows}
    changed |= {key for page in rows for key, _ in page.unreadable if key is not None}
    return tuple(sorted(changed | present))


def _names_of(reader: "Reader", entries: Any) -> list[tuple[str, str]]:
    found = []
    for name, attributes in entries:
        held = {label.lower(): one for label, one in attributes.items()}
        key = decode_key(reader.decoder.key_attribute, held.get(reader.decoder.key_attribute.lower(), []))
        if key is not None:
            found.append((key, name))
    return found


def _sorted(reply: Reply) -> tuple[list[Any], set[str], set[str]]:
    """Entries that changed, keys of those that are there unchanged, keys of those that are gone."""
    changed: list[Any] = []
    present: set[str] = set()
    gone: set[str] = set()
    for entry, controls in zip(reply.entries, reply.of_entries, strict=True):
        state = next((one for one in controls if one.oid == Oid.SYNC_STATE), None)
        if state is None:
            raise Reread("The server sent an entry without saying what became of it.")
        mode, uuid = sync_state(state)
        match mode:
            case SyncMode.DELETE:
                gone.add(uuid_of(uuid))
            case SyncMode.PRESENT:
                present.add(uuid_of(uuid))
            case _:
                changed.append(entry)
    for name, value in reply.between:
        if name == Oid.SYNC_INFO:
            info = sync_info(value)
            (gone if info.deletes else present).update(uuid_of(uuid) for uuid in info.uuids)
    return changed, present, gone


def _needs_names(reader: "Reader", rows: list[Page]) -> bool:
    """Whether changed entries refer to others that this process has not read."""
    if reader.kind is Kind.GROUP:
        return any(page.rows for page in rows)
    return not all(reader.knows_names(page) for page in rows)


def learn_everybody(directory: Directory) -> None:
    """Learn the names of everybody, so that members of changed groups can be told by their keys."""
    settings = directory.settings
    facts = directory.lines.facts()
    sections: list[UserEntries | GroupEntries] = [settings.users]
    if settings.groups is not None:
        sections.append(settings.groups)
    for section in sections:
        attribute = section.key or facts.user_key
        wanted = (
            (attribute, "uid") if settings.groups is not None and settings.groups.members.by == "uid" else (attribute,)
        )
        for base in directory.bases(section):
            for dn, held in _every_key(directory, base, section.filter or "(objectClass=*)", wanted):
                key = decode_key(attribute, held.get(attribute.lower(), []))
                if key is not None:
                    directory.learn([(key, dn)])
                    for uid in held.get("uid", ()):
                        directory.uids[uid.decode(errors="replace")] = key


def _every_key(
    directory: Directory, base: str, condition: str, attributes: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """Names and keys of all entries below a base. Raises: Reread where not all of them were told."""
    cookie = b""
    with _one(directory) as connection:
        while True:
            directory.lines.requests += 1
            reply = connection.ask(Search(base, condition, attributes, controls=(paged(1000, cookie),)))
            if not reply.answer.fine:
                raise Reread(f"The keys below {base} were not told: {meaning(reply.answer)}.")
            for dn, held in reply.entries:
                yield dn, {label.lower(): found for label, found in held.items()}
            came = reply.control(Oid.PAGED)
            cookie = cookie_of(came) if came is not None else b""
            if not cookie:
                return


# Time stamps


def _by_time(directory: Directory, reader: "Reader", since: str) -> list[Page]:
    """Entries of the very second come again; an entry that is not among all keys is gone."""
    present: set[str] = set()
    attribute = reader.decoder.key_attribute
    for base in directory.bases(reader.section):
        for dn, held in _every_key(directory, base, reader.filter, (attribute,)):
            key = decode_key(attribute, held.get(attribute.lower(), []))
            if key is None:
                raise Reread(f"{dn} shows no {attribute}.")
            directory.learn([(key, dn)])
            present.add(key)
    seen = Seen(latest=since)
    with _one(directory) as connection:
        found = []
        for reply, page in reader.listing(connection, f"(modifyTimestamp>={since})"):
            if page.doubt:
                raise Reread(page.doubt)
            seen.add(reply)
            found.append(page)
    if _needs_names(reader, found):
        learn_everybody(directory)
        found = _rows(directory, reader, f"(modifyTimestamp>={since})")
    return [*found, Page(watermark=seen.latest, present=tuple(sorted(present)))]
