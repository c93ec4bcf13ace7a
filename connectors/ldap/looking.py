"""Entries by value or by key, asked in few requests."""

from typing import Any

from connectors.contract import Form, Kind
from connectors.errors import SchemaMismatchError
from connectors.kit import KEY, Known, Page, Sought
from connectors.ldap import names
from connectors.ldap.controls import Oid, cookie_of, paged
from connectors.ldap.entries import encode_key, encode_value
from connectors.ldap.opened import Directory
from connectors.ldap.reading import Reader, reader_of
from connectors.ldap.requests import Search
from connectors.ldap.results import meaning
from connectors.ldap.schema import spelled

_WHOLE_DOMAIN = frozenset({"samaccountname", "userprincipalname"})
"""Unique beyond the bases of a job: a name that is taken elsewhere is taken."""


async def look(directory: Directory, known: Known, sought: Sought) -> Page:
    """See :class:`connectors.kit.System`."""
    page: Page = await directory.run(_look, directory, known, sought)
    return page


def _look(directory: Directory, known: Known, sought: Sought) -> Page:
    reader = reader_of(directory, known, sought.kind, sought.paths, members=sought.path == KEY)
    wanted = names.all_of([reader.filter, _condition(reader, known, sought)])
    bases = directory.bases(reader.section)
    facts = directory.lines.facts()
    if facts.is_active_directory and sought.path.lower() in _WHOLE_DOMAIN:
        bases = facts.contexts[:1]
    rows: list[Any] = []
    edges: list[Any] = []
    unreadable: list[Any] = []
    with directory.lines.connection() as connection:
        for base in bases:
            cookie = b""
            while True:
                directory.lines.requests += 1
                controls = (*reader.controls(), paged(directory.settings.limits.page, cookie))
                reply = connection.ask(Search(base, wanted, reader.attributes(), controls=controls))
                if not reply.answer.fine:
                    raise SchemaMismatchError(
                        f"{directory.address} did not say which {sought.kind}s have a certain "
                        f"{'key' if sought.path == KEY else sought.path}: {meaning(reply.answer)}."
                    )
                if sought.kind is Kind.GROUP and sought.path == KEY:
                    _learn_members(directory, reader, reply)
                page = reader.page(connection, reply)
                rows += page.rows
                edges += page.edges
                unreadable += page.unreadable
                came = reply.control(Oid.PAGED)
                cookie = cookie_of(came) if came is not None else b""
                if not cookie:
                    break
    return Page(rows, edges=edges, unreadable=unreadable)


def _condition(reader: Reader, known: Known, sought: Sought) -> str:
    if sought.path == KEY:
        attribute = reader.decoder.key_attribute
        return names.any_of(names.equals(attribute, encode_key(attribute, value)) for value in sought.values)
    info = spelled(known.attributes(sought.kind), (sought.path,))[sought.path]
    found = []
    for value in sought.values:
        if info.form is Form.REFERENCE and "=" not in value:
            dn = reader.directory.lines.names_of([value]).get(value)
            found += [names.equals(sought.path, dn)] if dn is not None else []
            continue
        try:
            encoded = encode_value(sought.path, info, value, active_directory=reader.decoder.active_directory)
        except ValueError:
            continue  # nobody has a date that is no date
        found.append(
            names.equals(sought.path, encoded.decode(errors="replace") if info.form is not Form.BYTES else encoded)
        )
    return names.any_of(found) if found else "(!(objectClass=*))"


def _learn_members(directory: Directory, reader: Reader, reply: Any) -> None:
    """Keys of members that are only known by name, before the edges are made."""
    if reader.decoder.active_directory:
        return
    section: Any = reader.section
    name = section.members.attribute.lower()
    unknown = [
        value.decode(errors="replace")
        for _, attributes in reply.entries
        for label, held in attributes.items()
        if label.lower() == name
        for value in held
    ]
    unknown = [dn for dn in unknown if dn and directory.resolve(dn) is None]
    attribute = directory.lines.facts().user_key
    for start in range(0, len(unknown), 200):
        for dn in unknown[start : start + 200]:
            key = directory.key_at(dn, attribute)
            if key is not None:
                directory.learn([(key, dn)])
