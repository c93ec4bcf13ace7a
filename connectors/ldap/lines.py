"""Connections to one server, shared by all that is asked of it, and requests that name entries by their keys.

The first address that answers serves as long as the connector is open: reads and writes, and reading back what was
written, go to the same server, because others may know it later.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from connectors.errors import RetryableError, UnreachableError
from connectors.ldap import names
from connectors.ldap.controls import Oid, cookie_of, modify_password, paged, read_entry
from connectors.ldap.entries import decode_key, encode_key
from connectors.ldap.facts import Facts, answered, read_facts
from connectors.ldap.requests import Add, Delete, Extended, Modify, Op, Rename, Request, Scope, Search
from connectors.ldap.results import Answer, Code, Fault
from connectors.ldap.settings import Flavour, LdapSettings
from connectors.ldap.values import is_protected_sid, sid_text
from connectors.ldap.wire import Connection, Reply, connect

_IDLE_S = 600.0
"""Servers end connections that are idle for long; Active Directory after 900 s."""
_LOOKED_UP_AT_ONCE = 500
_NAMED_BY_PEOPLE = ("manager", "secretary")
"""Attributes by which people name others."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """A value that is another entry, known by its key; written as whatever the server takes."""

    key: str


@dataclass(frozen=True, slots=True)
class Write:
    """A request whose values may be other entries."""

    request: Add | Modify | Rename | Delete
    references: Mapping[int | str, Sequence[ByKey]] = field(default_factory=dict)
    """Of a modification by the number of its part, of a new entry by attribute: entries whose names are the values."""
    key_attribute: str = ""
    """Of a new entry: the attribute that will name it."""
    target: str = ""
    """Of a change of members: the group's key; its name is looked up before it is sent."""
    password: bytes | None = field(default=None, repr=False)
    """Of a new entry, where the directory takes passwords by an operation of their own: set after it is made."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes that do not depend on each other, on their way at the same time over one connection."""

    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write."""

    answer: Answer
    key: str | None = None
    """Of a new entry."""
    dn: str | None = None
    protected: str = ""
    """Why the entry is never written, so that nothing was sent."""
    unresolved: tuple[str, ...] = ()
    """Keys of entries that are not there, so that nothing was sent, or was sent without them."""


class Lines:
    """Connections to one server."""

    def __init__(
        self,
        settings: LdapSettings,
        flavour: Flavour | None,
        *,
        folder: Path,
        moved: Callable[[str], None] = lambda former: None,
    ) -> None:
        """``moved`` is told the former name of every entry that got another one."""
        self._settings, self._flavour, self._folder, self._moved = settings, flavour, folder, moved
        self._free: list[Connection] = []
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(settings.limits.connections)
        self._facts: Facts | None = None
        self._closed = False
        self.requests = 0
        """Requests sent so far."""
        self._harmless: set[str] = set()
        """Keys of groups that were looked at and give no rights over the domain."""
        self._names: dict[str, str] = {}
        """Key to name, as last seen. Names change: every write proves the one it uses."""

    # -- connections ---------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The server that answers, or the first that will be asked."""
        return self._facts.address if self._facts is not None else self._settings.url[0]

    def facts(self, *, anew: bool = False) -> Facts:
        """What the server says of itself; asked once, or ``anew``. Raises: FatalError."""
        if self._facts is None or anew:
            with self.connection() as connection:
                self.requests += 1
                found = read_facts(connection, self._flavour)
                if self._facts is not None:
                    found = replace(found, user_key=self._facts.user_key)
                elif found.flavour is Flavour.DS389:
                    found = replace(found, user_key=_key_of_389(connection, found))
                self._facts = found
        return self._facts

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one thread, given back at the end. Raises: FatalError."""
        with self._room:
            connection = self._fresh()
            try:
                yield connection
            finally:
                with self._lock:
                    if connection.dead or self._closed:
                        connection.close()
                    else:
                        self._free.append(connection)

    def _fresh(self) -> Connection:
        while True:
            with self._lock:
                connection = self._free.pop() if self._free else None
            if connection is None:
                return self._connect()
            if time.monotonic() - connection.used_at < _IDLE_S and not connection.dead:
                return connection
            connection.close()

    def _connect(self) -> Connection:
        addresses = self._settings.url if self._facts is None else (self._facts.address,)
        failures: list[UnreachableError] = []
        for address in addresses:
            try:
                connection = connect(self._settings, address, folder=self._folder)
            except UnreachableError as error:
                failures.append(error)
                continue
            if self._facts is not None and self._facts.service:
                self.requests += 1
                other = read_facts(connection, self._flavour)
                if other.service != self._facts.service:
                    connection.close()
                    raise UnreachableError(
                        f"{address} was {self._facts.host} and is now {other.host}. Reading and writing must go to one "
                        "domain controller: give its own name as url."
                    )
            return connection
        if len(failures) == 1:
            raise failures[0]
        raise UnreachableError(" ".join(str(error) for error in failures))

    def close(self) -> None:
        """Let go of all connections; safe to call twice."""
        self._closed = True
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    # -- reading -------------------------------------------------------------------------------------------------------

    def ask(self, request: Search | Extended, *, entry_controls: bool = False) -> Reply:
        """A read and its answer; repeated once where a connection had ended. Raises: RetryableError, FatalError."""
        for attempt in range(2):
            with self.connection() as connection:
                self.requests += 1
                reply = connection.ask(request, entry_controls=entry_controls)
            if reply.answer.fault is None:
                return reply
            if attempt or reply.answer.fault is Fault.LATE:
                break
        raise RetryableError(f"{self.address} closed the connection or did not respond in time during the read.")

    # -- writing -------------------------------------------------------------------------------------------------------

    def carry_out(self, batch: Batch) -> tuple[Written, ...]:
        """Writes and their answers, in their order; a fault stands in the answer of each. Raises: FatalError.

        Raises RetryableError where nothing was sent: names could not be looked up.
        """
        ready = [self._ready(write) for write in batch.writes]
        if all(isinstance(one, Written) for one in ready):
            return tuple(one for one in ready if isinstance(one, Written))
        with self.connection() as connection:
            sent = [None if isinstance(one, Written) else connection.send(one[1]) for one in ready]
            self.requests += sum(one is not None for one in sent)
            replies = [None if one is None else connection.result(one) for one in sent]
            return tuple(
                one
                if isinstance(one, Written)
                else self._answered(connection, *one, reply or Reply(Answer(0, fault=Fault.NOT_SENT)))
                for one, reply in zip(ready, replies, strict=True)
            )

    def _answered(
        self, connection: Connection, write: Write, request: Request, unresolved: tuple[str, ...], reply: Reply
    ) -> Written:
        if reply.answer.fine and isinstance(request, Add):
            return self._made(connection, write, request, reply)
        if reply.answer.fine and isinstance(request, Rename) and not self.facts().is_active_directory:
            self._follow(connection, request)
        return Written(reply.answer, unresolved=unresolved)

    def _ready(self, write: Write) -> tuple[Write, Request, tuple[str, ...]] | Written:
        """A write as it is sent, and keys of nobody; an answer where nothing is to be sent."""
        if write.target:
            addressed = self._addressed(write)
            if isinstance(addressed, Written):
                return addressed
            write = addressed
        request, unresolved = self._resolved(write)
        if request is None:
            return Written(Answer(Code.NO_SUCH_OBJECT), unresolved=unresolved)
        return write, request, unresolved

    def _made(self, connection: Connection, write: Write, request: Add, reply: Reply) -> Written:
        """The key of a new entry, from its answer or by a look at its name; then its password."""
        key = None
        came = reply.control(Oid.POST_READ)
        if came is not None:
            with suppress(ValueError):
                held = {name.lower(): values for name, values in read_entry(came)[1].items()}
                key = decode_key(write.key_attribute, held.get(write.key_attribute.lower(), []))
        if key is None:
            self.requests += 1
            looked = connection.ask(Search(request.dn, attributes=(write.key_attribute,), scope=Scope.BASE))
            if looked.answer.fine and looked.entries:
                values = next(iter(looked.entries[0][1].values()), [])
                key = decode_key(write.key_attribute, values)
        if key is not None:
            self._names[key] = request.dn
        if write.password is not None:
            self.requests += 1
            connection.ask(Extended(Oid.MODIFY_PASSWORD, modify_password(request.dn, write.password.decode())))
        return Written(reply.answer, key=key, dn=request.dn)

    def _follow(self, connection: Connection, request: Rename) -> None:
        """Groups and people below the job's bases that go on naming an entry by its former name get the new one.

        Servers do it themselves where an administrator has switched it on (refint, Referential Integrity); elsewhere
        the former name would stay a member, and an entry that gets that name next would have its rights.
        """
        new = names.join(request.rdn, request.parent or names.parent_of(request.dn))
        self._moved(request.dn)
        groups = self._settings.groups
        places: list[tuple[str, tuple[str, ...]]] = [(base, _NAMED_BY_PEOPLE) for base in self._settings.users.base]
        if groups is not None and groups.members.by == "dn":
            places += [(base, (groups.members.attribute,)) for base in groups.base]
        for base, attributes in places:
            wanted = names.any_of(names.equals(attribute, request.dn) for attribute in attributes)
            for dn, held in self._all(connection, Search(base, wanted, attributes)):
                changes = [
                    (op, attribute, [name.encode()])
                    for attribute, values in held.items()
                    if any(names.same(value.decode(errors="replace"), request.dn) for value in values)
                    for op, name in ((Op.DELETE, request.dn), (Op.ADD, new))
                ]
                self.requests += 1
                connection.ask(Modify(dn, changes))  # refused where the server was faster

    def _all(self, connection: Connection, search: Search) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
        """Entries of all pages, as far as they come."""
        cookie = b""
        while True:
            self.requests += 1
            controls = (paged(self._settings.limits.page, cookie),)
            reply = connection.ask(replace(search, controls=controls))
            yield from reply.entries
            came = reply.control(Oid.PAGED)
            cookie = cookie_of(came) if came is not None else b""
            if not cookie:
                return

    def _addressed(self, write: Write) -> Write | Written:
        """The write with its entry's name; what answers for it where the entry is gone or never written."""
        facts = self.facts()
        assert isinstance(write.request, Modify)
        if not facts.is_active_directory:
            dn = self.names_of([write.target]).get(write.target)
            if dn is None:
                return Written(Answer(Code.NO_SUCH_OBJECT))
            return replace(write, request=replace(write.request, dn=dn))
        name = f"<GUID={write.target}>"
        if write.target not in self._harmless:
            reply = self.ask(Search(name, attributes=("objectSid", "adminCount"), scope=Scope.BASE))
            if not reply.answer.fine or not reply.entries:
                return Written(Answer(Code.NO_SUCH_OBJECT))
            held = {label.lower(): found for label, found in reply.entries[0][1].items()}
            if held.get("admincount") == [b"1"] or any(
                is_protected_sid(sid_text(one)) for one in held.get("objectsid", ())
            ):
                return Written(
                    Answer(Code.RIGHTS),
                    protected="The group has rights over the domain; Provisor never changes its members.",
                )
            self._harmless.add(write.target)
        return replace(write, request=replace(write.request, dn=name))

    def _resolved(self, write: Write) -> tuple[Request | None, tuple[str, ...]]:
        """The request with names in the place of keys; None where nothing of it is left, and keys of nobody."""
        request = write.request
        if not write.references:
            return request, ()
        keys = [one.key for listed in write.references.values() for one in listed]
        facts = self.facts()
        if facts.is_active_directory and isinstance(request, Modify):
            names_of: Mapping[str, str] = {key: f"<GUID={key}>" for key in keys}
        else:
            names_of = self.names_of(keys)
        unresolved = tuple(key for key in keys if key not in names_of)
        values = {
            place: [names_of[one.key].encode() for one in listed if one.key in names_of]
            for place, listed in write.references.items()
        }
        if isinstance(request, Modify):
            changes = [
                (op, name, [*held, *values.get(number, ())])
                for number, (op, name, held) in enumerate(request.changes)
                if number not in values or values[number] or held
            ]
            return (replace(request, changes=changes) if changes else None), unresolved
        if isinstance(request, Add):
            attributes = dict(request.attributes)
            for name, listed in values.items():
                attributes[str(name)] = [*attributes.get(str(name), ()), *listed]
            return replace(request, attributes=attributes), unresolved
        return request, unresolved

    # -- keys and names ------------------------------------------------------------------------------------------------

    def learn(self, found: Iterable[tuple[str, str]]) -> None:
        """Remember names of entries by their keys."""
        self._names.update(found)

    def names_of(self, keys: Sequence[str]) -> dict[str, str]:
        """Names of entries as they are now; keys of nobody are left out. Raises: RetryableError, FatalError."""
        found = {key: key.removeprefix("dn:") for key in keys if key.startswith("dn:")}
        asked = [key for key in dict.fromkeys(keys) if key not in found]
        facts = self.facts()
        for start in range(0, len(asked), _LOOKED_UP_AT_ONCE):
            some = asked[start : start + _LOOKED_UP_AT_ONCE]
            wanted = names.any_of(names.equals(facts.user_key, encode_key(facts.user_key, key)) for key in some)
            for base in self.contexts():
                reply = self.ask(Search(base, wanted, (facts.user_key,)))
                for dn, held in reply.entries:
                    key = decode_key(facts.user_key, next(iter(held.values()), []))
                    if key is not None:
                        found[key] = dn
        self._names.update(found)
        return found

    def contexts(self) -> tuple[str, ...]:
        """The server's contexts that the job's bases lie in; entries that others refer to may lie anywhere in them."""
        facts = self.facts()
        groups = self._settings.groups.base if self._settings.groups is not None else ()
        bases = tuple(dict.fromkeys((*self._settings.users.base, *groups)))
        found = tuple(one for one in facts.contexts if any(names.lies_below(base, one) for base in bases))
        return found or facts.contexts[:1] or bases

    def name_of(self, key: str) -> str | None:
        """The name that an entry was last seen with."""
        return self._names.get(key)


def _key_of_389(connection: Connection, facts: Facts) -> str:
    """entryUUID where its plug-in runs, otherwise nsUniqueId, which is always there. Raises: UnreachableError."""
    for context in facts.contexts:
        reply = answered(connection, Search(context, attributes=("entryUUID",), scope=Scope.BASE))
        if reply.entries and reply.entries[0][1]:
            return "entryUUID"
    return "nsUniqueId"
