"""The connector as the kit's value: what is known of a directory once it is open, and how it is checked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.contract import Family, Kind, MemberOrder, Pace
from connectors.errors import SchemaMismatchError, SettingsError
from connectors.kit import KitSource, KitTarget, Known, Limits, Opening, Switch, System
from connectors.ldap import names
from connectors.ldap.controls import Oid
from connectors.ldap.facts import Facts
from connectors.ldap.looking import look
from connectors.ldap.opened import Directory
from connectors.ldap.reading import pages
from connectors.ldap.requests import Scope, Search
from connectors.ldap.schema import attributes_of, mandatory
from connectors.ldap.settings import (
    DirectorySettings,
    DirectoryTargetSettings,
    Flavour,
    LdapSettings,
    SwitchedBy,
    TargetSettings,
)
from connectors.ldap.writing import NEEDS_ROW, pack, steps, unpack, verdict

_PACK = 32
"""Writes on their way over one connection at the same time."""
_PACK_AD = 8
"""Domain controllers work on one request of a connection at a time, so that more connections help more."""
_FILTERS = {
    (True, Kind.USER): "(&(objectCategory=person)(objectClass=user))",
    (True, Kind.GROUP): "(objectClass=group)",
    (False, Kind.USER): "(objectClass=inetOrgPerson)",
    (False, Kind.GROUP): "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
}
_SWITCHES = {
    Flavour.ACTIVE_DIRECTORY: SwitchedBy.ACCOUNT_CONTROL,
    Flavour.OPENLDAP: SwitchedBy.PPOLICY,
    Flavour.DS389: SwitchedBy.ACCOUNT_LOCK,
    Flavour.GENERIC: SwitchedBy.NONE,
}
_SWITCH_ATTRIBUTES = {
    SwitchedBy.ACCOUNT_CONTROL: "useraccountcontrol",
    SwitchedBy.PPOLICY: "pwdaccountlockedtime",
    SwitchedBy.ACCOUNT_LOCK: "nsaccountlock",
}


def open_directory(settings: Any, opening: Opening) -> Directory:
    """See :class:`connectors.kit.System`: touches neither network nor disk."""
    return Directory(settings, opening, getattr(settings, "directory", None))


def open_active_directory(settings: Any, opening: Opening) -> Directory:
    """The same where only Active Directory will do."""
    return Directory(settings, opening, Flavour.ACTIVE_DIRECTORY)


async def traits(directory: Directory, settings: LdapSettings) -> Known:
    """See :class:`connectors.kit.System`."""
    known: Known = await directory.run(_traits, directory, settings)
    return known


def _traits(directory: Directory, settings: LdapSettings) -> Known:
    facts = directory.lines.facts()
    _check_keys(facts, settings)
    definitions, classes = _schema(directory, facts)
    target = settings if isinstance(settings, TargetSettings) else None
    rdn = _rdn(facts, target)
    by = _switched_by(facts, target, definitions)
    member = settings.groups.members.attribute if settings.groups is not None else "member"
    must = {kind: _mandatory(facts, kind, classes) for kind in Kind}
    users, groups = (
        attributes_of(
            kind,
            definitions,
            required=must[kind] | {rdn[kind].lower()},
            rdn=rdn[kind],
            active_directory=facts.is_active_directory,
            member=member,
        )
        for kind in Kind
    )
    sections = {Kind.USER: settings.users, Kind.GROUP: settings.groups}
    bases = {kind: directory.bases(section) for kind, section in sections.items() if section is not None}
    return Known(
        users=users,
        groups=groups,
        switch=Switch.steps() if by is not SwitchedBy.NONE else None,
        families=_families(facts, settings),
        limits=Limits(
            find=200,
            fetch=500,
            page=settings.limits.page,
            pack=_PACK_AD if facts.is_active_directory else _PACK,
            settles_in_s=2.0,
        ),
        signed_in=_signed_in(directory, facts) if target is not None else None,
        settings=settings,
        facts={
            "directory": facts,
            "switch_by": by,
            "is_source": target is None,
            "mandatory": must,
            "changes": facts.best_changes(settings.changes),
            "filters": {kind: _FILTERS[facts.is_active_directory, kind] for kind in Kind},
            "rdn": rdn,
            "bases": bases,
            "containers": _containers(target, bases),
            "placeholder": _placeholder(facts, settings),
        },
    )


def _check_keys(facts: Facts, settings: LdapSettings) -> None:
    """Raises: SettingsError where entries would be known by one key and written by another."""
    keys = [settings.users.key, getattr(settings.groups, "key", None)]
    chosen = next((key for key in keys if key is not None), None)
    if chosen is None or chosen.lower() == facts.user_key.lower():
        return
    if facts.is_active_directory or isinstance(settings, TargetSettings):
        raise SettingsError(
            f"The key is {facts.user_key} here, because entries are written and referred to by it: leave out key."
        )


def _schema(directory: Directory, facts: Facts) -> tuple[list[str], list[str]]:
    reply = directory.lines.ask(
        Search(
            facts.schema_entry,
            "(objectClass=subschema)" if not facts.is_active_directory else "(objectClass=*)",
            ("attributeTypes", "objectClasses"),
            Scope.BASE,
        )
    )
    if not reply.answer.fine or not reply.entries:
        raise SchemaMismatchError(f"{facts.address} does not show its schema ({facts.schema_entry}): grant the right.")
    held = {name.lower(): values for name, values in reply.entries[0][1].items()}

    def texts(name: str) -> list[str]:
        return [value.decode("utf-8", errors="replace") for value in held.get(name, [])]

    return texts("attributetypes"), texts("objectclasses")


def _rdn(facts: Facts, target: TargetSettings | None) -> dict[Kind, str]:
    users = target.users.create.rdn if target is not None else None
    groups = target.groups.create.rdn if target is not None and target.groups is not None else None
    return {Kind.USER: users or ("cn" if facts.is_active_directory else "uid"), Kind.GROUP: groups or "cn"}


def _mandatory(facts: Facts, kind: Kind, classes: list[str]) -> frozenset[str]:
    """Attributes in lower case without which no such entry can be; one that does not show them is hidden in part."""
    if facts.is_active_directory:
        return frozenset({"cn", "samaccountname"})
    first = "inetOrgPerson" if kind is Kind.USER else "groupOfNames"
    return mandatory([first], classes) - {"member", "userpassword"}


def _switched_by(facts: Facts, target: TargetSettings | None, definitions: list[str]) -> SwitchedBy:
    asked = target.users.disable.by if target is not None else None
    by = asked or _SWITCHES[facts.flavour]
    name = _SWITCH_ATTRIBUTES.get(by)
    if name is None or any(f"'{name}'" in text.lower() for text in definitions):
        return by
    if asked is not None:
        raise SettingsError(
            f"users.disable.by is {asked}, and the schema of {facts.address} has no such attribute: load ppolicy, or "
            "choose another way."
        )
    return SwitchedBy.NONE


def _placeholder(facts: Facts, settings: LdapSettings) -> str | None:
    """The member of groups without members: OpenLDAP takes the empty name, others need none unless the job has one."""
    if settings.groups is None or settings.groups.placeholder is not None:
        return settings.groups.placeholder if settings.groups is not None else None
    return "" if facts.flavour is Flavour.OPENLDAP else None


def _families(facts: Facts, settings: LdapSettings) -> tuple[Family, ...]:
    if settings.groups is None:
        return ()
    placeholder = _placeholder(facts, settings)
    return (
        Family(
            holds=frozenset(Kind),
            needs_member=f"dn:{placeholder}" if placeholder is not None else None,
            order=MemberOrder.JOIN_FIRST,
            per_call=settings.limits.members_per_change,
        ),
    )


def _containers(target: TargetSettings | None, bases: Mapping[Kind, tuple[str, ...]]) -> dict[Kind, str]:
    found = {kind: listed[0] for kind, listed in bases.items()}
    if target is not None:
        found[Kind.USER] = target.users.create.container or found[Kind.USER]
        if target.groups is not None:
            found[Kind.GROUP] = target.groups.create.container or found[Kind.GROUP]
    return found


def _signed_in(directory: Directory, facts: Facts) -> str | None:
    dn = directory.signed_in(facts)
    return directory.key_at(dn, facts.user_key) if dn is not None else None


async def check(directory: Directory, known: Known) -> str:
    """See :class:`connectors.kit.System`. Raises: SettingsError, SchemaMismatchError."""
    sentence: str = await directory.run(_check, directory, known)
    return sentence


def _check(directory: Directory, known: Known) -> str:
    facts: Facts = known.facts["directory"]
    settings: LdapSettings = known.settings
    for kind, bases in known.facts["bases"].items():
        for base in bases:
            if not directory.shows(base):
                raise SettingsError(
                    f"The base {base} ({kind}s.base) does not exist, or the account may not read it: correct it, or "
                    "grant the right."
                )
    if settings.proof is not None and not directory.shows(settings.proof):
        raise SettingsError(f"The proof entry {settings.proof} cannot be read: correct proof, or grant the right.")
    told = [f"{facts.title} at {directory.address} can be read", f"changes by {known.facts['changes']}"]
    if facts.is_active_directory:
        if facts.values.get("issynchronized", ("TRUE",))[0] != "TRUE":
            raise SchemaMismatchError(f"{facts.host} is not synchronised yet: use another domain controller.")
        told.append(f"domain controller {facts.host}")
    told.append(f"keys by {facts.user_key}")
    if isinstance(settings, TargetSettings):
        told += _check_target(directory, known, facts, settings)
    extras = [name for name, oid in (("assertions", Oid.ASSERTION), ("post-reads", Oid.POST_READ)) if facts.has(oid)]
    if extras:
        told.append(f"offers {' and '.join(extras)}")
    return f"{'; '.join(told)}."


def _check_target(directory: Directory, known: Known, facts: Facts, settings: TargetSettings) -> list[str]:
    containers = [*known.facts["containers"].values()]
    if settings.users.disable.move_to is not None:
        containers.append(settings.users.disable.move_to)
    for container in dict.fromkeys(containers):
        if not directory.shows(container):
            raise SettingsError(f"The container {container} does not exist, or may not be read.")
    leavers = settings.users.disable.move_to
    if leavers is not None and not any(names.lies_below(leavers, base) for base in known.facts["bases"][Kind.USER]):
        raise SettingsError(f"users.disable.move_to ({leavers}) must be below users.base: leavers must stay visible.")
    told = [f"accounts disabled with {known.facts['switch_by']}"]
    if facts.is_active_directory and settings.users.password is not None:
        least = _least_password(directory, facts)
        if least > settings.users.password.length:
            raise SettingsError(
                f"The domain requires passwords of {least} characters: raise users.password.length "
                f"({settings.users.password.length})."
            )
    return told


def _least_password(directory: Directory, facts: Facts) -> int:
    reply = directory.lines.ask(Search(facts.contexts[0], attributes=("minPwdLength",), scope=Scope.BASE))
    held = next(iter(reply.entries[0][1].values()), []) if reply.entries else []
    return int(held[0]) if held else 0


def source_system(name: str, settings: type[LdapSettings], open_: Any) -> System:
    """A directory that says who there is."""
    return System(name, settings, open_, traits, check, pages)


def target_system(name: str, settings: type[TargetSettings], open_: Any) -> System:
    """A directory that is kept in step."""
    return replace(
        source_system(name, settings, open_),
        look=look,
        steps=steps,
        verdict=verdict,
        pack=pack,
        unpack=unpack,
        needs_row=NEEDS_ROW,
        in_flight=4,
    )


SOURCES = {
    "ldap": source_system("ldap", DirectorySettings, open_directory),
    "active-directory": source_system("active-directory", LdapSettings, open_active_directory),
}
TARGETS = {
    "ldap": target_system("ldap", DirectoryTargetSettings, open_directory),
    "active-directory": target_system("active-directory", TargetSettings, open_active_directory),
}


def open_source(name: str, settings: LdapSettings, *, folder: Path) -> KitSource:
    """A directory as a source."""
    return KitSource(SOURCES[name], settings, folder=folder)


def open_target(name: str, settings: TargetSettings, *, folder: Path, pace: Pace) -> KitTarget:
    """A directory as a target."""
    return KitTarget(TARGETS[name], settings, folder=folder, pace=pace)
