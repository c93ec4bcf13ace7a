"""What the service holds: resources as finished JSON, with the look-ups that keep a million of them quick.

A user is kept as the bytes that are sent for it, so that a page of a list is one join. A group's members are kept apart
from the rest of it, one short piece of JSON each, so that adding one to a hundred thousand touches one.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from tests.servers.scim_service.attributes import GROUP_TYPE, USER_TYPE, ResourceType
from tests.servers.scim_service.filters import Path, parse_path


class Entry:
    """One resource."""

    __slots__ = ("body", "doubles", "id", "members", "position", "removed", "version")

    def __init__(self, id: str, position: int, body: bytes, version: int, members: dict[str, bytes] | None) -> None:
        self.id = id
        self.position = position
        """Order of creation."""
        self.body = body
        """The resource as JSON, without its members."""
        self.version = version
        self.members = members
        """Member id to its JSON; None for users."""
        self.doubles: list[str] = []
        """Ids of members that were added again and are shown again."""
        self.removed = False
        """Softly deleted."""

    def document(self, most: int | None = None) -> bytes:
        """The whole resource as JSON. ``most``: members that are shown at most; None for all."""
        if not self.members:
            return self.body
        if most == 0:
            return b'%b,"members":[]}' % self.body[:-1]
        pieces = list(self.members.values())[:most]
        pieces += [self.members[id] for id in self.doubles if id in self.members]
        return b'%b,"members":[%b]}' % (self.body[:-1], b",".join(pieces))

    def resource(self, most: int | None = None) -> dict[str, Any]:
        """The whole resource as a new dict. ``most``: as ``document``."""
        found: dict[str, Any] = orjson.loads(self.document(most))
        return found


class Index:
    """Entries by the values they hold at one path."""

    __slots__ = ("found", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[Any, Entry | list[Entry]] = {}

    def keys(self, resource: dict[str, Any]) -> set[Any]:
        """What the resource is found by."""
        path = self.path
        if path.urn is None and path.sub is None and isinstance(value := resource.get(path.name), str):
            return {path.normal(value)}
        return {self.path.normal(value) for value in self.path.values(resource) if isinstance(value, str)}

    def add(self, key: Any, entry: Entry) -> None:
        """Make the entry be found by the key."""
        held = self.found.get(key)
        if held is None:
            self.found[key] = entry
        elif isinstance(held, list):
            held.append(entry)
        else:
            self.found[key] = [held, entry]

    def drop(self, key: Any, entry: Entry) -> None:
        """Let the entry no longer be found by the key."""
        held = self.found.get(key)
        if isinstance(held, list):
            held.remove(entry)
            if len(held) == 1:
                self.found[key] = held[0]
        elif held is entry:
            del self.found[key]

    def look_up(self, value: str) -> list[Entry]:
        """Entries that hold the value, in order of creation."""
        held = self.found.get(self.path.normal(value))
        if held is None:
            return []
        return sorted(held, key=_position) if isinstance(held, list) else [held]


def _position(entry: Entry) -> int:
    return entry.position


class Shelf:
    """All resources of one kind."""

    def __init__(self, kind: ResourceType, *indexed: str) -> None:
        self.kind = kind
        self.indexed = indexed
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.entries: dict[str, Entry] = {}
        self.order: list[Entry] = []
        self.next_position = 0
        self.removed = 0
        """How many entries are softly deleted."""
        paths = [parse_path(name, self.kind) for name in self.indexed]
        self.indexes: dict[str, Index] = {path.key: Index(path) for path in paths}

    def index(self, path: Path) -> Index:
        """The index over a path, made when it is first asked for and kept from then on."""
        key = path.key
        if key not in self.indexes:
            index = Index(path)
            for entry in self.order:
                for value in index.keys(orjson.loads(entry.body)):
                    index.add(value, entry)
            self.indexes[key] = index
        return self.indexes[key]

    def add(
        self, id: str, resource: dict[str, Any], body: bytes, *, members: dict[str, bytes] | None, version: int = 1
    ) -> Entry:
        """Put in a new resource; ``body`` is its JSON without members."""
        entry = self.append(id, body, members, version=version)
        for index in self.indexes.values():
            for key in index.keys(resource):
                index.add(key, entry)
        return entry

    def append(self, id: str, body: bytes, members: dict[str, bytes] | None, *, version: int = 1) -> Entry:
        """Put in a new resource that the caller adds to the indexes."""
        entry = Entry(id, self.next_position, body, version, members)
        self.next_position += 1
        self.entries[id] = entry
        self.order.append(entry)
        return entry

    def change(self, entry: Entry, before: dict[str, Any], after: dict[str, Any], body: bytes) -> None:
        """Give an entry new content; ``before`` and ``after`` are its content without members."""
        for index in self.indexes.values():
            old, new = index.keys(before), index.keys(after)
            for key in old - new:
                index.drop(key, entry)
            for key in new - old:
                index.add(key, entry)
        entry.body = body
        entry.version += 1

    def remove(self, entry: Entry) -> None:
        """Take an entry out."""
        resource = orjson.loads(entry.body)
        for index in self.indexes.values():
            for key in index.keys(resource):
                index.drop(key, entry)
        del self.entries[entry.id]
        place = bisect_left(self.order, entry.position, key=_position)
        del self.order[place]


class Store:
    """Users and groups, and who is in which group."""

    def __init__(self) -> None:
        self.users = Shelf(USER_TYPE, "userName", "externalId")
        self.groups = Shelf(GROUP_TYPE, "displayName", "externalId")
        self.groups_of: dict[str, set[str]] = {}
        """Member id to the ids of its groups."""

    def shelf(self, endpoint: str) -> Shelf:
        """The resources behind an endpoint's name."""
        return self.users if endpoint == "Users" else self.groups

    def clear(self) -> None:
        """Forget everything."""
        self.users.clear()
        self.groups.clear()
        self.groups_of.clear()

    def join(self, group: Entry, member: str, piece: bytes) -> None:
        """Put a member into a group; one that is in it already gets the new JSON."""
        assert group.members is not None
        group.members[member] = piece
        self.groups_of.setdefault(member, set()).add(group.id)

    def leave(self, group: Entry, members: Iterable[str]) -> bool:
        """Take members out of a group; True when any was in it."""
        assert group.members is not None
        left = False
        for member in members:
            if group.members.pop(member, None) is not None:
                left = True
                self.groups_of[member].discard(group.id)
        if group.doubles:
            group.doubles = [id for id in group.doubles if id in group.members]
        return left

    def forget(self, shelf: Shelf, entry: Entry, *, keep_memberships: bool = False) -> None:
        """Take an entry out, and out of its groups too."""
        shelf.remove(entry)
        if entry.members:
            self.leave(entry, list(entry.members))
        if not keep_memberships:
            for group_id in list(self.groups_of.pop(entry.id, ())):
                group = self.groups.entries.get(group_id)
                if group is not None and group.members is not None:
                    group.members.pop(entry.id, None)
                    group.doubles = [id for id in group.doubles if id != entry.id]

    def export(self) -> Iterator[bytes]:
        """Every resource as JSON, users first, in order of creation."""
        for shelf in (self.users, self.groups):
            for entry in list(shelf.order):
                yield entry.document()
