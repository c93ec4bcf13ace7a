"""Listings: every entry once, page by page on one connection, or a sentence why somebody may be missing.

Directories are silent about what may not be seen: a search without rights succeeds and finds nobody. So a listing is
believed only when every search ended well, the bases and the proof entry can be read, and somebody was found.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.contract import ACTIVE, ADDRESS, Kind
from connectors.errors import RetryableError, SettingsError
from connectors.kit import KEY, Asked, Edge, Known, Page
from connectors.ldap import changes, names
from connectors.ldap.controls import Control, Oid, cookie_of, domain_scope, extended_dn, paged
from connectors.ldap.entries import Decoder, decode_key, parse_extended, parse_range
from connectors.ldap.opened import Directory
from connectors.ldap.requests import Scope, Search
from connectors.ldap.results import Answer, Code, Fault, meaning
from connectors.ldap.schema import spelled
from connectors.ldap.settings import Changes, GroupEntries, SwitchedBy, UserEntries
from connectors.ldap.values import relative_id, sid_text
from connectors.ldap.wire import Connection, Reply

_GROUPS_A_PAGE = 100
_LIMITS = {Code.SIZE_LIMIT: "size limit", Code.TIME_LIMIT: "time limit", Code.ADMIN_LIMIT: "limit for one request"}


@dataclass(slots=True)
class Reader:
    """One kind's listing."""

    directory: Directory
    known: Known
    kind: Kind
    section: UserEntries | GroupEntries
    decoder: Decoder
    members: bool
    waiting: list[tuple[str, bytes]] = field(default_factory=list)
    """Groups, and members of theirs that were not read before them."""

    @property
    def filter(self) -> str:
        """Which entries are of this kind."""
        return self.section.filter or str(self.known.facts["filters"][self.kind])

    def attributes(self) -> tuple[str, ...]:
        """What is asked of each entry."""
        asked = dict.fromkeys(self.decoder.asked())
        if self.kind is Kind.GROUP and self.members:
            asked[self._member] = None
        if self.known.facts["changes"] is Changes.TIMESTAMP:
            asked["modifyTimestamp"] = None
        if self.kind is Kind.USER and self._primary:
            asked["primaryGroupID"] = None
        if self.kind is Kind.USER and self._by_uid:
            asked["uid"] = None
        return tuple(asked)

    @property
    def _member(self) -> str:
        assert isinstance(self.section, GroupEntries)
        name = self.section.members.attribute
        return f"{name};range=0-*" if self.decoder.active_directory else name

    @property
    def _primary(self) -> bool:
        groups = self.directory.settings.groups
        return self.decoder.active_directory and groups is not None and groups.primary_group

    @property
    def _by_uid(self) -> bool:
        groups = self.directory.settings.groups
        return groups is not None and groups.members.by == "uid"

    def controls(self) -> tuple[Control, ...]:
        """Besides paging."""
        return (extended_dn(), domain_scope()) if self.decoder.active_directory else ()

    # -- entries as rows -----------------------------------------------------------------------------------------------

    def page(self, connection: Connection, reply: Reply) -> Page:
        """The rows and edges of one answer."""
        rows: list[dict[str, Any]] = []
        edges: list[Edge] = []
        unreadable: list[tuple[str | None, str]] = []
        learnt: list[tuple[str, str]] = []
        for name, attributes in reply.entries:
            held = {label.lower(): found for label, found in attributes.items()}
            row = self.decoder.row(name, held, self.directory.resolve)
            if row is None:
                unreadable.append((None, f"{parse_extended(name)[1]} shows no {self.decoder.key_attribute}."))
                continue
            learnt.append((row[KEY], row[ADDRESS]))
            if reason := self._hidden(row):
                unreadable.append((row[KEY], reason))
                continue
            rows.append(row)
            if self.kind is Kind.USER:
                self._note_user(row, held)
            elif self.members:
                edges += self._edges(connection, row, attributes, held)
        self.directory.learn(learnt)
        return Page(rows, edges=edges, unreadable=unreadable)

    def _hidden(self, row: Mapping[str, Any]) -> str:
        """Why an entry cannot be judged; rights can be missing for single attributes."""
        if self.kind is Kind.USER and self.decoder.switch_by == SwitchedBy.ACCOUNT_CONTROL and row.get(ACTIVE) is None:
            return (
                "It does not show userAccountControl, so nobody knows whether the account is active. Grant the right."
            )
        for path in self.decoder.attributes:
            if path.lower() in self.known.facts["mandatory"][self.kind] and row.get(path) is None:
                return f"It does not show {path}, which every such entry has: read access is missing."
        return ""

    def _note_user(self, row: Mapping[str, Any], held: Mapping[str, Sequence[bytes]]) -> None:
        if self._primary and held.get("primarygroupid"):
            self.directory.primary.setdefault(int(held["primarygroupid"][0]), []).append(row[KEY])
        if self._by_uid:
            for uid in held.get("uid", ()):
                self.directory.uids[uid.decode(errors="replace")] = row[KEY]

    def _edges(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        attributes: Mapping[str, list[bytes]],
        held: Mapping[str, Sequence[bytes]],
    ) -> list[Edge]:
        group = str(row[KEY])
        keys: dict[str, None] = {}
        for value in self._all_members(connection, group, attributes):
            key = self._member_key(value)
            if key is None:
                self.waiting.append((group, value))
            else:
                keys[key] = None
        sid = held.get("objectsid")
        if sid and self._primary:
            keys |= dict.fromkeys(self.directory.primary.get(relative_id(sid_text(sid[0])), ()))
        return [Edge(group, key) for key in keys]

    def late_edges(self) -> list[Edge]:
        """Memberships of entries that were read after their groups: groups in groups."""
        found = [(group, self._member_key(value)) for group, value in self.waiting]
        return [Edge(group, key) for group, key in found if key is not None]

    @property
    def references(self) -> list[str]:
        """Attributes whose values are other entries."""
        return [path for path, attribute in self.decoder.attributes.items() if attribute.refers_to]

    def knows_names(self, page: Page) -> bool:
        """Whether every reference of a page is the key of an entry that was read, and none of them a mere name."""
        held = [row.get(path) for row in page.rows for path in self.references]
        return not any("=" in one for value in held for one in ([value] if isinstance(value, str) else value or ()))

    def _member_key(self, value: bytes) -> str | None:
        """The key of a member; None for one that is not among the entries that were read."""
        assert isinstance(self.section, GroupEntries)
        text = value.decode("utf-8", errors="replace")
        if self.section.members.by == "uid":
            return self.directory.uids.get(text)
        key, dn = parse_extended(text)
        if key is not None:
            return key
        placeholder = self.known.facts["placeholder"]
        if placeholder is not None and names.same(dn, placeholder):
            return f"dn:{placeholder}"
        return self.directory.resolve(dn)

    def _all_members(self, connection: Connection, group: str, attributes: Mapping[str, list[bytes]]) -> list[bytes]:
        """Every value, however many answers it takes. Raises: RetryableError where one of them does not come."""
        assert isinstance(self.section, GroupEntries)
        name = self.section.members.attribute.lower()
        found: list[bytes] = []
        part = None
        for label, held in attributes.items():
            if label.lower() == name:
                found += held
            elif (taken := parse_range(label)) is not None and taken.name.lower() == name:
                found += held
                part = taken
        while part is not None and part.end is not None:
            start = part.end + 1
            self.directory.lines.requests += 1
            asked = Search(
                f"<GUID={group}>", attributes=(f"{name};range={start}-*",), scope=Scope.BASE, controls=self.controls()
            )
            reply = connection.ask(asked)
            if not reply.answer.fine or not reply.entries:
                raise RetryableError(f"The members of a group could not be read beyond the first {start:,}.")
            part = None
            for label, held in reply.entries[0][1].items():
                if (taken := parse_range(label)) is not None and taken.name.lower() == name and taken.start == start:
                    found += held
                    part = taken
            if part is None:
                raise RetryableError(f"The members of a group ended after {start:,} although more were announced.")
        return found

    # -- pages ---------------------------------------------------------------------------------------------------------

    def listing(self, connection: Connection, condition: str = "") -> Iterator[tuple[Reply, Page]]:
        """Answers and what they hold, base after base; a page with a doubt ends its base. Raises: SettingsError."""
        for base in self.directory.bases(self.section):
            yield from self._below(connection, base, condition)

    def _below(self, connection: Connection, base: str, condition: str) -> Iterator[tuple[Reply, Page]]:
        limits = self.directory.settings.limits
        size = min(limits.page, _GROUPS_A_PAGE) if self.kind is Kind.GROUP and self.members else limits.page
        wanted = names.all_of([self.filter, condition])

        def ask(cookie: bytes) -> Search:
            self.directory.lines.requests += 1
            return Search(base, wanted, self.attributes(), controls=(*self.controls(), paged(size, cookie)))

        sent = connection.send(ask(b""))
        while True:
            reply = connection.result(sent)
            if reply.answer.fault is not None:
                raise _broken(self.directory.address, reply.answer)
            if not reply.answer.fine:
                yield reply, Page(doubt=self._ended_early(base, reply.answer))
                return
            came = reply.control(Oid.PAGED)
            cookie = cookie_of(came) if came is not None else b""
            if cookie and not self._needs_connection(reply):
                sent = connection.send(ask(cookie))  # on its way while the rows are made
                yield reply, self.page(connection, reply)
                continue
            doubt = ""
            if reply.references and base not in self.directory.lines.facts().contexts:
                doubt = f"{reply.references} parts below {base} are kept by other servers and were not read."
            yield reply, replace(self.page(connection, reply), doubt=doubt)
            if not cookie:
                return
            sent = connection.send(ask(cookie))

    def _needs_connection(self, reply: Reply) -> bool:
        """Whether members have to be asked for before the next page is."""
        return self.kind is Kind.GROUP and any(
            (part := parse_range(label)) is not None and part.end is not None
            for _, attributes in reply.entries
            for label in attributes
        )

    def _ended_early(self, base: str, answer: Answer) -> str:
        """A sentence about a search that did not reach its end. Raises: SettingsError where the base is not there."""
        if answer.code == Code.NO_SUCH_OBJECT:
            raise SettingsError(
                f"{base} does not exist in {self.directory.address}, or may not be seen: correct {self.kind}s.base, or "
                "grant the right to read it."
            )
        limit = _LIMITS.get(Code(answer.code)) if answer.code in _LIMITS else None
        if limit is not None:
            return (
                f"The server's {limit} (result {answer.code}) stopped the listing of {self.kind}s below {base}: "
                "raise it "
                "for the account that Provisor signs in with."
            )
        return f"The listing of {self.kind}s below {base} ended early: {meaning(answer)}."


def _broken(address: str, answer: Answer) -> RetryableError:
    why = "did not answer in time" if answer.fault is Fault.LATE else "ended the connection"
    return RetryableError(f"{address} {why} in the middle of a listing.")


def reader_of(directory: Directory, known: Known, kind: Kind, paths: Sequence[str], *, members: bool) -> Reader:
    """What reads entries of one kind."""
    settings = directory.settings
    section = settings.users if kind is Kind.USER else settings.groups
    assert section is not None
    facts = directory.lines.facts()
    decoder = Decoder(
        kind=kind,
        key_attribute=section.key or facts.user_key,
        attributes=spelled(known.attributes(kind), paths),
        active_directory=facts.is_active_directory,
        switch_by=known.facts["switch_by"],
        expired_is_inactive=bool(known.facts["is_source"]),
    )
    return Reader(directory, known, kind, section, decoder, members)


@contextmanager
def _held(directory: Directory) -> Iterator[Connection]:
    with directory.lines.connection() as connection:
        yield connection


async def pages(directory: Directory, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """See :class:`connectors.kit.System`."""
    reader = reader_of(directory, known, asked.kind, asked.paths, members=asked.members)
    if asked.kind is Kind.USER:
        directory.primary.clear()
        directory.uids.clear()
    how = known.facts["changes"]
    if asked.since is not None:
        async for page in changes.pages(directory, reader, how, asked.since):
            yield page
        return
    mark = await directory.run(changes.begin, directory, how)
    seen = changes.Seen()
    entered = _held(directory)
    connection = await directory.run(entered.__enter__)
    count = 0
    try:
        if doubt := await directory.run(_unproved, directory, reader):
            yield Page(doubt=doubt, next="proof")
        listing = reader.listing(connection)
        late = reader.kind is Kind.USER and not reader.decoder.active_directory and bool(reader.references)
        kept: list[Page] = []
        number = 0
        while (one := await directory.run(next, listing, None)) is not None:
            reply, page = one
            seen.add(reply)
            count += len(page.rows) + len(page.unreadable)
            number += 1
            if late:
                kept.append(page)
            else:
                yield replace(page, next=f"{asked.kind} {number}")
        for number, page in enumerate(kept):
            yield replace(_resolved(reader, page), next=f"kept {number}")
    finally:
        await directory.run(entered.__exit__, None, None, None)
    nobody = ""
    if count == 0 and asked.kind is Kind.USER and known.facts["is_source"]:  # an app may well begin empty
        where = " and ".join(directory.bases(reader.section))
        nobody = f"No user was found below {where}: the right to read them may be missing, so absence proves nothing."
    yield Page(edges=reader.late_edges(), doubt=nobody, watermark=changes.end(how, mark, seen))


def _resolved(reader: Reader, page: Page) -> Page:
    """Names of entries that were read later, as keys."""
    rows = []
    for row in page.rows:
        fixed = dict(row)
        for path in reader.references:
            held = fixed.get(path)
            if isinstance(held, str):
                fixed[path] = reader.directory.resolve(held) or held if "=" in held else held
            elif isinstance(held, list):
                fixed[path] = [reader.directory.resolve(one) or one if "=" in one else one for one in held]
        rows.append(fixed)
    return replace(page, rows=rows)


def _unproved(directory: Directory, reader: Reader) -> str:
    """Why absence would prove nothing although all searches end well; empty where the bases and the proof are seen."""
    proof = directory.settings.proof
    if proof is not None and not directory.shows(proof):
        return f"The proof entry {proof} cannot be read, so rights may be missing and absence proves nothing."
    for base in directory.bases(reader.section):
        if not directory.shows(base):
            return f"The base {base} cannot be read, so rights may be missing and absence proves nothing."
    return ""


def key_of(reader: Reader, name: str, attributes: Mapping[str, list[bytes]]) -> str | None:
    """The key of an entry of which nothing else was asked."""
    extended, _ = parse_extended(name)
    held = {label.lower(): found for label, found in attributes.items()}
    return extended or decode_key(reader.decoder.key_attribute, held.get(reader.decoder.key_attribute.lower(), []))
