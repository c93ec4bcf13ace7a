"""What is sent for a change, and what its answer means. Pure, but for random passwords."""

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.contract import ACTIVE, ADDRESS, Action, Attribute, Change, Form, Kind
from connectors.errors import ErrorCode, FatalError, RejectedError, RetryableError, UnknownOutcomeError
from connectors.kit import (
    ENTRY,
    MEMBERS,
    Again,
    Done,
    Effect,
    Held,
    Known,
    Look,
    Lost,
    Partly,
    Refused,
    Step,
    Stop,
    Verdict,
)
from connectors.ldap import names, values
from connectors.ldap.controls import Control, Oid, assert_equal, permissive_modify, post_read
from connectors.ldap.entries import encode_value
from connectors.ldap.facts import Facts
from connectors.ldap.lines import Batch, ByKey, Write, Written
from connectors.ldap.requests import Add, Delete, Modify, Op, Rename
from connectors.ldap.results import Code, Doing, Win32, error_of
from connectors.ldap.schema import PARENT, spelled
from connectors.ldap.settings import Create, GroupType, SwitchedBy, TargetSettings
from connectors.ldap.values import AccountControl
from connectors.ldap.values import GroupType as Bits

_CLASSES = {
    (True, Kind.USER): ("top", "person", "organizationalPerson", "user"),
    (True, Kind.GROUP): ("top", "group"),
    (False, Kind.USER): ("top", "person", "organizationalPerson", "inetOrgPerson"),
    (False, Kind.GROUP): ("top", "groupOfNames"),
}
_GROUP_TYPES = {
    GroupType.GLOBAL_SECURITY: Bits.SECURITY | Bits.GLOBAL,
    GroupType.UNIVERSAL_SECURITY: Bits.SECURITY | Bits.UNIVERSAL,
    GroupType.LOCAL_SECURITY: Bits.SECURITY | Bits.DOMAIN_LOCAL,
    GroupType.GLOBAL_DISTRIBUTION: Bits.GLOBAL,
    GroupType.UNIVERSAL_DISTRIBUTION: Bits.UNIVERSAL,
}
_LOCKED_FOR_GOOD = b"000001010000Z"
_SYMBOLS = "!#$%&()*+,-./:;=?@[]^_{|}~"
_LANE = "writes"
"""All writes of one server may be on their way over one connection at the same time."""
NEEDS_ROW = frozenset({Action.UPDATE, Action.ENABLE, Action.DISABLE, Action.DELETE, Action.MOVE, Action.RENAME})


@dataclass(frozen=True, slots=True)
class _At:
    """What all steps of one change share."""

    known: Known
    facts: Facts
    settings: TargetSettings
    change: Change
    infos: Mapping[str, Attribute]

    @property
    def active_directory(self) -> bool:
        return self.facts.is_active_directory

    @property
    def create(self) -> Create:
        if self.change.kind is Kind.USER:
            return self.settings.users.create
        assert self.settings.groups is not None
        return self.settings.groups.create

    @property
    def rdn(self) -> str:
        return str(self.known.facts["rdn"][self.change.kind])

    @property
    def container(self) -> str:
        return str(self.known.facts["containers"][self.change.kind])

    @property
    def guard(self) -> tuple[Control, ...]:
        """Proof that the entry is still the one that is meant, where the server can check it."""
        if self.facts.has(Oid.ASSERTION) and self.change.target_id is not None:
            return (assert_equal(self.facts.user_key, self.change.target_id),)
        return ()

    def value(self, path: str, value: Any) -> bytes:
        return encode_value(path, self.infos[path], value, active_directory=self.active_directory)

    def path(self, name: str) -> str | None:
        """The change's own spelling of an attribute's name."""
        return next((path for path in self.change.attributes if path.lower() == name.lower()), None)


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """See :class:`connectors.kit.System`."""
    infos = spelled(known.attributes(change.kind), tuple(change.attributes))
    at = _At(known, known.facts["directory"], known.settings, change, infos)
    if held is not None and (reason := protected(held.row)):
        return Refused(ErrorCode.NOT_PERMITTED, text=reason)
    try:
        match change.action:
            case Action.CREATE:
                return _create(at)
            case Action.DELETE:
                return [_step(Write(Delete(_name(at, held), at.guard)), frozenset({ENTRY}))]
            case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
                return _members(at)
            case _:
                return _update(at, held)
    except ValueError as error:
        return Refused(ErrorCode.UNPROCESSABLE_ENTITY, text=str(error))


def _step(write: Write, does: frozenset[str], effect: Effect = Effect.REPEATABLE, *, serial: str | None = None) -> Step:
    return Step(write, does, effect, serial=serial, lane=_LANE)


def protected(row: Mapping[str, Any]) -> str:
    """Why an entry is never written; empty where it may be."""
    sid = row.get("objectSid")
    if isinstance(sid, str) and values.is_protected_sid(sid):
        return "The entry is one of those that run the domain (well-known identifier); Provisor never changes it."
    if row.get("adminCount") in (1, "1"):
        return (
            "The entry is protected by the domain (adminCount is 1: it is or was an administrator); Provisor never "
            "changes it. Clear adminCount if that is over."
        )
    return ""


def _name(at: _At, held: Held | None) -> str:
    """How the entry is addressed: by its key in Active Directory, so that another entry of its name is never meant."""
    if at.active_directory:
        return f"<GUID={at.change.target_id}>"
    if held is None or not held.row.get(ADDRESS):
        raise ValueError("The entry's name is not known.")
    return str(held.row[ADDRESS])


# Creates


def _create(at: _At) -> Sequence[Step] | Refused:
    change, rdn_path = at.change, at.path(at.rdn)
    rdn_value = change.attributes.get(rdn_path) if rdn_path is not None else None
    if not rdn_value:
        return Refused(ErrorCode.MISSING_VALUES, at.rdn, f"A new entry is named by {at.rdn}: map it.")
    parent_path = at.path(PARENT)
    parent = (change.attributes.get(parent_path) if parent_path is not None else None) or at.container
    if refusal := _outside(at, str(parent)):
        return refusal
    dn = names.join(names.rdn(at.rdn, str(rdn_value)), str(parent))
    classes = at.create.classes or _CLASSES[at.active_directory, change.kind]
    attributes: dict[str, Sequence[bytes]] = {"objectClass": [name.encode() for name in classes]}
    references: dict[int | str, Sequence[ByKey]] = {}
    for path, value in change.attributes.items():
        if path in (PARENT, ACTIVE) or _is_nothing(value):
            continue
        if at.infos[path].form is Form.REFERENCE:
            attributes[path], references[path] = _split(_listed(value))
        else:
            attributes[path] = [at.value(path, one) for one in _listed(value)]
    password = _account(at, attributes) if change.kind is Kind.USER else _group(at, attributes)
    if isinstance(password, Refused):
        return password
    if change.members:
        references["member"] = [ByKey(key) for key in change.members]
    controls = (post_read(at.facts.user_key),) if at.facts.has(Oid.POST_READ) else ()
    write = Write(Add(dn, attributes, controls), references, key_attribute=at.facts.user_key, password=password)
    return [_step(write, frozenset({ENTRY}), Effect.ONCE)]


def _split(listed: Sequence[Any]) -> tuple[list[bytes], list[ByKey]]:
    """Names as they are, and entries known by their keys."""
    return (
        [str(one).encode() for one in listed if "=" in str(one)],
        [ByKey(str(one)) for one in listed if "=" not in str(one)],
    )


def _outside(at: _At, parent: str) -> Refused | None:
    """Entries are made and moved below the job's bases alone."""
    bases = at.known.facts["bases"][at.change.kind]
    if any(names.lies_below(parent, base) for base in bases):
        return None
    return Refused(
        ErrorCode.NOT_PERMITTED,
        PARENT,
        f"The container {parent} does not lie below {' or '.join(bases)}: correct the mapping of {PARENT}, or "
        f"{at.change.kind}s.base.",
    )


def _account(at: _At, attributes: dict[str, Sequence[bytes]]) -> bytes | None:
    """Password and switch of a new account; gives the password where it is set by an operation of its own."""
    active = at.change.attributes.get(ACTIVE) is not False
    chosen = at.settings.users.password
    password = random_password(chosen.length) if chosen is not None else None
    by = at.known.facts["switch_by"]
    if not at.active_directory:
        if not active and by is SwitchedBy.PPOLICY:
            attributes["pwdAccountLockedTime"] = [_LOCKED_FOR_GOOD]
        elif not active and by is SwitchedBy.ACCOUNT_LOCK:
            attributes["nsAccountLock"] = [b"true"]
        return password.encode() if password is not None and at.facts.has(Oid.MODIFY_PASSWORD) else None
    control = AccountControl.NORMAL if active and password else AccountControl.NORMAL | AccountControl.DISABLED
    attributes["userAccountControl"] = [str(int(control)).encode()]
    if password is not None and chosen is not None:
        attributes["unicodePwd"] = [values.password_bytes(password)]
        if chosen.must_change:
            attributes["pwdLastSet"] = [b"0"]
    return None


def _group(at: _At, attributes: dict[str, Sequence[bytes]]) -> Refused | None:
    if not at.active_directory:
        return None
    if at.path("sAMAccountName") is None:
        return Refused(
            ErrorCode.MISSING_VALUES, "sAMAccountName", "A group without sAMAccountName gets a random one: map it."
        )
    attributes.setdefault("groupType", [str(values.signed(int(_GROUP_TYPES[at.create.group_type]))).encode()])
    return None


def random_password(length: int) -> str:
    """A password of four sorts of characters, in an order that nobody knows."""
    sorts = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _SYMBOLS)
    letters = [secrets.choice(sort) for sort in sorts]
    letters += [secrets.choice("".join(sorts)) for _ in range(length - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)


# Updates, moves, the switch


def _update(at: _At, held: Held | None) -> Sequence[Step] | Done | Refused:
    name = _name(at, held)
    changes: list[tuple[Op, str, Sequence[bytes]]] = []
    references: dict[int | str, Sequence[ByKey]] = {}
    paths: set[str] = set()
    rdn_path, parent_path = at.path(at.rdn), at.path(PARENT)
    for path, value in at.change.attributes.items():
        if path in (rdn_path, parent_path):
            continue
        paths.add(path)
        if path == ACTIVE:
            switch = _switch(at, held, active=bool(value))
            if isinstance(switch, Refused):
                return switch
            changes += switch
        elif at.infos[path].form is Form.REFERENCE:
            plain, keys = _split(_listed(value))
            if keys:
                references[len(changes)] = keys
            changes.append((Op.REPLACE, path, plain))
        else:
            changes += _values(at, path, value)
    found = []
    if changes:
        write = Write(Modify(name, changes, at.guard), references)
        found.append(_step(write, frozenset(paths)))
    moved = _move(at, held, name, rdn_path, parent_path)
    if isinstance(moved, Refused):
        return moved
    found += moved
    return found or Done()


def _values(at: _At, path: str, value: Any) -> list[tuple[Op, str, Sequence[bytes]]]:
    """One value replaces; of several only those are sent that come or go."""
    if _is_nothing(value):
        return [(Op.REPLACE, path, ())]
    wanted = [at.value(path, one) for one in _listed(value)]
    before = at.change.before.get(path)
    if not at.infos[path].several or not isinstance(before, list):
        return [(Op.REPLACE, path, wanted)]
    there = [at.value(path, one) for one in before]
    gone = [one for one in there if one not in wanted]
    new = [one for one in wanted if one not in there]
    parts: list[tuple[Op, str, Sequence[bytes]]] = []
    if gone:
        parts.append((Op.DELETE, path, gone))
    if new:
        parts.append((Op.ADD, path, new))
    return parts


def _switch(at: _At, held: Held | None, *, active: bool) -> list[tuple[Op, str, Sequence[bytes]]] | Refused:
    match at.known.facts["switch_by"]:
        case SwitchedBy.ACCOUNT_CONTROL:
            control = held.row.get("userAccountControl") if held is not None else None
            if control is None:
                return Refused(
                    ErrorCode.INSUFFICIENT_RIGHTS,
                    "userAccountControl",
                    "It cannot be read, so its other bits would be lost: grant the right to read it.",
                )
            return _control(at, int(control), active=active)
        case SwitchedBy.PPOLICY:
            return [(Op.REPLACE, "pwdAccountLockedTime", () if active else [_LOCKED_FOR_GOOD])]
        case SwitchedBy.ACCOUNT_LOCK:
            return [(Op.REPLACE, "nsAccountLock", () if active else [b"true"])]
    return Refused(
        ErrorCode.NOT_PERMITTED, text="Accounts in this directory cannot be disabled: users.disable.by is none."
    )


def _control(at: _At, before: int, *, active: bool) -> list[tuple[Op, str, Sequence[bytes]]]:
    """One bit, the others as they are; the value that was there is named, so that nobody's change is lost."""
    after = before & ~AccountControl.DISABLED if active else before | AccountControl.DISABLED
    parts: list[tuple[Op, str, Sequence[bytes]]] = []
    chosen = at.settings.users.password
    if active and before & AccountControl.PASSWORD_NOT_REQUIRED and chosen is not None:
        # Half made, or made without a password: Windows does not switch such an account on.
        after &= ~AccountControl.PASSWORD_NOT_REQUIRED
        parts.append((Op.REPLACE, "unicodePwd", [values.password_bytes(random_password(chosen.length))]))
        if chosen.must_change:
            parts.append((Op.REPLACE, "pwdLastSet", [b"0"]))
    if after != before:
        parts.append((Op.DELETE, "userAccountControl", [str(before).encode()]))
        parts.append((Op.ADD, "userAccountControl", [str(int(after)).encode()]))
    return parts


def _move(at: _At, held: Held | None, name: str, rdn_path: str | None, parent_path: str | None) -> list[Step] | Refused:
    """Another name, another container, or both; nothing where they are as they should be."""
    address = str(held.row.get(ADDRESS) or "") if held is not None else ""
    if not address:
        return []
    own, parent = names.split(address)
    rdn = own
    if rdn_path is not None and at.change.attributes[rdn_path]:
        rdn = names.rdn(at.rdn, str(at.change.attributes[rdn_path]))
    wanted = at.change.attributes.get(parent_path) if parent_path is not None else None
    if at.change.kind is Kind.USER:
        wanted = _leavers(at, parent, wanted)
    target = str(wanted) if wanted else parent
    if names.same(target, parent) and rdn == own:
        return []
    if not names.same(target, parent) and (refusal := _outside(at, target)):
        return refusal
    does = frozenset(path for path in (rdn_path, parent_path) if path is not None) or frozenset({ENTRY})
    # Not guarded by an assertion: OpenLDAP answers that it is false for every new name.
    return [_step(Write(Rename(name, rdn, target)), does)]


def _leavers(at: _At, parent: str, wanted: Any) -> Any:
    """The container for accounts that are switched off, and the way back out of it."""
    leavers = at.settings.users.disable.move_to
    if leavers is None or ACTIVE not in at.change.attributes:
        return wanted
    if at.change.attributes[ACTIVE] is False:
        return leavers
    return wanted or (at.container if names.lies_below(parent, leavers) else None)


def _is_nothing(value: Any) -> bool:
    """Whether it comes to no value: directories have no empty text. Source: RFC 4517 section 3.3.6."""
    return value is None or value == "" or value == []


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


# Members


def _members(at: _At) -> Sequence[Step]:
    change = at.change
    op = Op.ADD if change.action is Action.ADD_MEMBERS else Op.DELETE
    assert at.settings.groups is not None
    assert change.target_id is not None
    attribute = at.settings.groups.members.attribute
    keys = [ByKey(key) for key in change.members]
    controls = (permissive_modify(),) if at.facts.has(Oid.PERMISSIVE_MODIFY) else ()
    write = Write(Modify("", [(op, attribute, ())], (*at.guard, *controls)), {0: keys}, target=change.target_id)
    return [_step(write, frozenset({MEMBERS}), serial=change.target_id)]


# Batches


def pack(known: Known, made: Sequence[Step]) -> Batch:
    """See :class:`connectors.kit.System`."""
    del known
    return Batch(tuple(one.request for one in made))


def unpack(known: Known, made: Sequence[Step], answer: tuple[Written, ...]) -> Sequence[Written]:
    """See :class:`connectors.kit.System`."""
    del known, made
    return answer


# Answers


def doing_of(write: Write) -> Doing:
    """What a write is for."""
    match write.request:
        case Add():
            return Doing.CREATE
        case Delete():
            return Doing.DELETE
        case Rename():
            return Doing.MOVE
    return Doing.MEMBERS if write.target else Doing.UPDATE


def verdict(known: Known, step: Step, answer: Written) -> Verdict:
    """See :class:`connectors.kit.System`."""
    del known
    doing = doing_of(step.request)
    if answer.answer.fault is not None:
        return _failed(answer, doing)
    if answer.protected:
        return Refused(ErrorCode.NOT_PERMITTED, text=answer.protected)
    if doing is Doing.MEMBERS:
        return _about_members(step.request, answer)
    if answer.unresolved:
        return Refused(
            ErrorCode.UNRESOLVED_REFERENCE,
            text=f"{len(answer.unresolved)} entries that it refers to are not in the directory (any more).",
        )
    if answer.answer.fine:
        return Done(answer.key, answer.dn)
    code = answer.answer.code
    if doing is Doing.DELETE and code == Code.NO_SUCH_OBJECT:
        return Done()
    if doing is Doing.UPDATE and code == Code.NO_ATTRIBUTE and answer.answer.win32 != Win32.PARAMETER:
        return Look("What was to be replaced is not there any more.")
    failed = _failed(answer, doing)
    if isinstance(failed, Refused) and not failed.about and code == Code.ALREADY_EXISTS:
        return replace(failed, about=_named_by(step.request))
    return failed


def _named_by(write: Write) -> str:
    """The attribute by whose value a new entry is named; empty for anything but a create."""
    return names.split(write.request.dn)[0].partition("=")[0] if isinstance(write.request, Add) else ""


def _failed(answer: Written, doing: Doing) -> Verdict:
    error = error_of(answer.answer, doing, "")
    text = str(error).removeprefix(": ")
    match error:
        case FatalError():
            return Stop(error)
        case RetryableError():
            return Again(why=text, code=error.code or ErrorCode.TOO_MANY_REQUESTS)
        case UnknownOutcomeError():
            return Lost(text)
        case RejectedError():
            return Refused(error.code or ErrorCode.UNPROCESSABLE_ENTITY, answer.answer.attribute, text)
    raise AssertionError(error)


_MAYBE_SO = {Code.ALREADY_EXISTS, Code.VALUE_EXISTS, Code.NO_ATTRIBUTE}


def _about_members(write: Write, answer: Written) -> Verdict:
    told = answer.answer
    removing = isinstance(write.request, Modify) and write.request.changes[0][0] is Op.DELETE
    if answer.unresolved and not removing:
        gone = Refused(ErrorCode.UNRESOLVED_REFERENCE, text="The member is not in the directory (any more).")
        if told.fine:
            return Partly(dict.fromkeys(answer.unresolved, gone))
        return gone
    if told.fine or (removing and answer.unresolved and told.code == Code.NO_SUCH_OBJECT):
        return Done()
    if told.code in _MAYBE_SO or told.win32 in (Win32.MEMBER_IN_GROUP, Win32.MEMBER_NOT_IN_GROUP):
        return Look("Some are already members.")
    if removing and told.code == Code.UNWILLING:
        return Look("Some of them may not be members.")  # Samba refuses this way; a look tells who is left
    if told.code == Code.ADMIN_LIMIT:
        return Refused(
            ErrorCode.UNPROCESSABLE_ENTITY, text="The change holds more members than the server takes at once."
        )
    return _failed(answer, Doing.MEMBERS)
