"""An open directory: the wire that the kit sends over, and what was learnt about names while reading."""

from collections.abc import Callable, Iterable
from typing import Any

from connectors.errors import SettingsError
from connectors.kit import BlockingWire, Opening
from connectors.ldap import names
from connectors.ldap.controls import Oid
from connectors.ldap.entries import decode_key
from connectors.ldap.facts import Facts
from connectors.ldap.lines import Batch, Lines, Written
from connectors.ldap.requests import Extended, Scope, Search
from connectors.ldap.settings import Flavour, GroupEntries, LdapSettings, UserEntries


class Directory:
    """A wire of the kit over connections to one server."""

    def __init__(self, settings: LdapSettings, opening: Opening, flavour: Flavour | None) -> None:
        self.settings = settings
        self.lines = Lines(settings, flavour, folder=opening.folder, moved=self.forget)
        self._blocking = BlockingWire(
            self.lines.carry_out, pace=opening.pace, close=self.lines.close, clock=opening.clock
        )
        self.keys: dict[str, str] = {}
        """Normal name to key, of every entry that was read."""
        self.uids: dict[str, str] = {}
        """uid to key, for groups that name their members by it."""
        self.primary: dict[int, list[str]] = {}
        """Relative identifier of a group to the keys of users whose primary group it is."""
        self.watched: dict[int, Any] = {}
        """What changed in the whole domain since a number, so that it is asked once for users and groups."""

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self.lines.requests

    @property
    def address(self) -> str:
        """The server, for people."""
        return self.lines.address

    async def send(self, request: Batch) -> tuple[Written, ...]:
        """See :class:`connectors.kit.Wire`."""
        answer: tuple[Written, ...] = await self._blocking.send(request)
        return answer

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """A read, in a thread and in turn."""
        return await self._blocking.run(work, *args)

    async def halt(self, *, grace_s: float) -> None:
        """Send nothing more."""
        await self._blocking.halt(grace_s=grace_s)

    async def close(self) -> None:
        """Let go of all connections; safe to call twice."""
        await self._blocking.close()

    def resolve(self, dn: str) -> str | None:
        """The key of an entry that was read, by its name."""
        return self.keys.get(names.normal(dn))

    def learn(self, found: Iterable[tuple[str, str]]) -> None:
        """Remember keys and plain names of entries."""
        pairs = list(found)
        self.keys.update((names.normal(dn), key) for key, dn in pairs)
        self.lines.learn(pairs)

    def forget(self, dn: str) -> None:
        """The name is nobody's any more, or another's."""
        self.keys.pop(names.normal(dn), None)

    def bases(self, section: UserEntries | GroupEntries) -> tuple[str, ...]:
        """Where entries of a section lie. Raises: SettingsError where neither job nor server says it."""
        if section.base:
            return section.base
        contexts = self.lines.facts().contexts
        if not contexts:
            raise SettingsError(
                f"{self.address} does not publish a base for its entries: set users.base in the job file."
            )
        return contexts[:1]

    def shows(self, dn: str) -> bool:
        """Whether an entry can be read."""
        reply = self.lines.ask(Search(dn, attributes=("1.1",), scope=Scope.BASE))
        return reply.answer.fine and bool(reply.entries)

    def key_at(self, dn: str, attribute: str) -> str | None:
        """The key of the entry with this name; None where there is none."""
        reply = self.lines.ask(Search(dn, attributes=(attribute,), scope=Scope.BASE))
        if not reply.answer.fine or not reply.entries:
            return None
        return decode_key(attribute, next(iter(reply.entries[0][1].values()), []))

    def signed_in(self, facts: Facts) -> str | None:
        """The name of the account that is signed in with, where the server tells."""
        if facts.signed_in_sid:
            reply = self.lines.ask(Search(f"<SID={facts.signed_in_sid}>", attributes=("1.1",), scope=Scope.BASE))
            return reply.entries[0][0] if reply.entries else None
        if Oid.WHO_AM_I in facts.extensions:
            told = (self.lines.ask(Extended(Oid.WHO_AM_I)).value or b"").decode("utf-8", errors="replace")
            return told[3:] if told.lower().startswith("dn:") and len(told) > 3 else None
        return None
